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
# {node} becomes the node's name there: where the scratch is a shared disk each has its own copy.
staged="${TMPDIR:-/tmp}/facegen-$SLURM_JOB_ID-{node}"
on_each_node() {
    local everywhere=()
    if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then # else without srun: it works in a cancelled job too
        everywhere=(srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --gres=none)
    fi
    "${everywhere[@]}" bash -c 'exec "${@//\{node\}/$SLURMD_NODENAME}"' node \
        apptainer exec --nv facegen.sif python -m facegen_training.cluster.staging "$@" --record runs/face/staging
}
wipe() { on_each_node wipe "$staged"; }
trap wipe EXIT
on_each_node copy prepared "$staged" || exit $?

# Whether a start adds a checkpoint: what never does is not queued again for ever.
stuck=runs/face/no-newer-checkpoint-$SLURM_JOB_ID
newest() {
    local found=(runs/face/checkpoint-???????)
    echo "${found[-1]##*/}"
}
had=$(newest)
gets_on() {
    if [ "$(newest)" != "$had" ]; then
        rm -f "$stuck"
    elif [ "$(cat "$stuck" 2>/dev/null)" != "$had" ]; then
        echo "$had" >"$stuck" # once may be bad luck
    else
        rm -f "$stuck"
        return 1
    fi
}

# The processes.  SIGUSR1 is ignored until fit listens, so that it cannot kill a rank that
# is still importing; therefore it is sent again until the ranks have ended.
# srun returns the highest status of its ranks: what failed by itself gets 200 more, so that it
# is not hidden by the ranks that were killed (128 and more) or lost the others (75).
srun --kill-on-bad-exit=0 bash -c '
    trap "" USR1
    trap : TERM # reaches the command as well, which may still write a checkpoint
    export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
    export LOCAL_WORLD_SIZE=$((SLURM_NTASKS / SLURM_JOB_NUM_NODES)) NODE_RANK=$SLURM_NODEID
    "${@//\{node\}/$SLURMD_NODENAME}"
    status=$?
    case $status in
    0 | 75 | 129 | 1[3-8]? | 19[0-2]) exit "$status" ;;
    esac
    echo "Rank $RANK failed with status $status." >&2
    exit $((status < 52 ? 200 + status : 252))' rank apptainer exec --nv facegen.sif facegen-train fit "$staged"/manifest.json --run runs/face --config face.toml &
step=$!
[ "$told" -eq 0 ] || tell_the_ranks
while :; do
    before=$told
    wait "$step"
    status=$?
    [ "$told" -ne "$before" ] || break # else the signal ended the wait, not the ranks
done
[ -z "$repeat" ] || kill "$repeat" 2>/dev/null

again=
case $status in
0)
    echo "Finished."
    rm -f ${stuck:+"$stuck"}
    exit 0
    ;;
75) again=yes ;; # stopped with a checkpoint, or lost another rank
129 | 1[3-8]? | 19[0-2] | 253) again=yes ;; # a rank was killed
20[1-9] | 2[1-4]? | 25[0-2]) # a rank failed, whoever else was told to stop
    status=$((status < 252 ? status - 200 : 1))
    told=0
    ;;
esac
if [ -z "$again" ] && [ "$told" -eq 0 ]; then
    echo "Failed with status $status."
    exit "$status"
fi
if [ "${SLURM_RESTART_COUNT:-0}" -ge 200 ]; then
    echo "Not finished after 200 restarts: giving up."
    exit 1
fi
if declare -F gets_on >/dev/null && ! gets_on; then
    echo "Two starts in a row added no newer checkpoint: giving up."
    exit 1
fi
echo "Stopped before its end; queued again."
if declare -F wipe >/dev/null; then
    # First the wipe: after the requeue Slurm ends this script within seconds, and starts no srun.
    # But a long wipe must not cost the requeue: from 20 s before the limit on it goes on without
    # being waited for, and once more at the exit, in the time that Slurm leaves.
    latest=$((${SLURM_JOB_END_TIME:-$(($(date +%s) + 80))} - 20))
    wipe &
    wiping=$!
    while kill -0 "$wiping" 2>/dev/null && [ "$(date +%s)" -lt "$latest" ]; do sleep 0.2; done
    kill -0 "$wiping" 2>/dev/null || trap - EXIT
fi
scontrol requeue "$SLURM_JOB_ID"
sleep 60 & # Slurm ends this script here
wait $!
exit "$status"
