#!/usr/bin/env bash
# One training run on MareNostrum 5, as this line writes it (with --dry-run it only shows it):
#   facegen-train submit --machine mn5 --gpus 4 --hours 12 --image facegen.sif -- fit prepared/manifest.json --run runs/face --config face.toml
# Put your project's account for ehpcNNN, then: mkdir -p runs/face && sbatch marenostrum5.sh
#SBATCH --job-name=facegen-fit
#SBATCH --account=ehpcNNN
#SBATCH --partition=acc
#SBATCH --qos=acc_ehpc
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gres=gpu:4
#SBATCH --cpus-per-task=20
#SBATCH --time=0-12:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --output=runs/face/slurm-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue

set -uo pipefail

# The time limit is near: the ranks are told as soon as they run.
told=0
repeat=
step=
tell_the_ranks() {
    told=$((told + 1))
    if [ -n "$step" ] && [ -z "$repeat" ]; then
        (while kill -USR1 "$step" 2>/dev/null; do sleep 5; done) &
        repeat=$!
    fi
}
trap tell_the_ranks USR1

# srun does not take this over from sbatch.
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
# Where the ranks meet.
if [ "$SLURM_JOB_NUM_NODES" -eq 1 ]; then
    MASTER_ADDR=127.0.0.1
else
    MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
fi
export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
# The compute nodes have no internet: whoever tries it fails at once.
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 WANDB_MODE=offline PIP_NO_INDEX=1
export SLURM_CPU_BIND=none
# What programs in the image see of the machine; add other folders to APPTAINER_BIND.
export APPTAINER_BIND="${APPTAINER_BIND:+$APPTAINER_BIND,}$PWD,${TMPDIR:-/tmp}"

# Copy the prepared people to the node's own disk; wipe them at the end, whatever the end is.
staged="${TMPDIR:-/tmp}/facegen-$SLURM_JOB_ID"
on_each_node() {
    local everywhere=()
    if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then # else without srun: it works in a cancelled job too
        everywhere=(srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --gres=none)
    fi
    "${everywhere[@]}" apptainer exec --nv facegen.sif python -m facegen_training.cluster.staging "$@" --record runs/face/staging
}
wipe() { on_each_node wipe "$staged"; }
trap wipe EXIT
on_each_node copy prepared "$staged" || exit $?

# The processes.  SIGUSR1 is ignored until fit listens, so that it cannot kill a rank that
# is still importing; therefore it is sent again until the ranks have ended.
srun --kill-on-bad-exit=0 bash -c '
    trap "" USR1
    export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
    export LOCAL_WORLD_SIZE=$((SLURM_NTASKS / SLURM_JOB_NUM_NODES)) NODE_RANK=$SLURM_NODEID
    exec "$@"' rank apptainer exec --nv facegen.sif facegen-train fit "$staged"/manifest.json --run runs/face --config face.toml &
step=$!
[ "$told" -eq 0 ] || tell_the_ranks
while :; do
    before=$told
    wait "$step"
    status=$?
    [ "$told" -ne "$before" ] || break # else the signal ended the wait, not the ranks
done
[ -z "$repeat" ] || kill "$repeat" 2>/dev/null

if [ "$status" -eq 0 ]; then
    echo "Finished."
    exit 0
fi
if [ "$status" -ne 75 ] && [ "$told" -eq 0 ]; then
    echo "Failed with status $status."
    exit "$status"
fi
if [ "${SLURM_RESTART_COUNT:-0}" -ge 200 ]; then
    echo "Not finished after 200 restarts: giving up."
    exit 1
fi
echo "Stopped before its end; queued again."
if declare -F wipe >/dev/null; then
    trap - EXIT
    wipe
fi
scontrol requeue "$SLURM_JOB_ID"
sleep 60 # Slurm ends this script here
exit "$status"
