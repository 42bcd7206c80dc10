"""A real Slurm on this machine alone: one node on loopback with four pretend GPUs, no systemd.

Everything lies in one folder; nothing outside it is written and nothing survives `stop`.  A GPU
here is a name that the scheduler hands out, with the null device behind it.

By hand: ``python tests/one_node_slurm.py start DIR`` and ``... stop DIR``; between them
``export SLURM_CONF=DIR/slurm.conf``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "squeue")
GPUS = 4
# CPUs of the pretend node: more than this machine may have, so that jobs never wait for cores.
CPUS = 8

SLURM_CONF = """\
ClusterName=facegentest
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/run/munge.sock,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,requeue_delay=1
SlurmdParameters=config_overrides
ReturnToService=2
GresTypes=gpu
KillWait=10
MinJobAge=3600
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=2000 Gres=gpu:h100:{gpus} State=UNKNOWN
PartitionName=acc Nodes={host} Default=YES MaxTime=72:00:00 State=UP
"""


def missing_programs() -> list[str]:
    """Return which of Slurm's programs this machine lacks."""
    places = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin"
    return [name for name in PROGRAMS if not shutil.which(name, path=places)]


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@dataclass(frozen=True)
class OneNodeSlurm:
    """The cluster in `folder` (keep its path short: a socket's may have 107 characters)."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs in its environment to talk to this cluster."""
        path = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin"
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def call(self, *words: str | Path) -> str:
        """Run one of Slurm's programs; return what it prints.

        Raises
        ------
        RuntimeError
            With its messages, when it fails.
        """
        command = [str(word) for word in words]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self, seconds: float = 30) -> None:
        """Start munge, the controller and the node; return when the node is idle.

        Raises
        ------
        RuntimeError
            When it is not idle in time, with the ends of the logs.
        """
        for name in ("state", "spool", "log", "run"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for place in (self.folder, self.folder / "run"):
            place.chmod(0o755)
        self._configure()
        run, log = self.folder / "run", self.folder / "log"
        self.call("munged", "--force", f"--key-file={self.folder}/munge.key",
                  f"--socket={run}/munge.sock", f"--pid-file={run}/munged.pid",
                  f"--log-file={log}/munged.log", f"--seed-file={run}/munge.seed")  # fmt: skip
        self.call("slurmctld", "-f", self.folder / "slurm.conf")
        self.call("slurmd", "-f", self.folder / "slurm.conf")
        deadline = time.monotonic() + seconds
        state = ""
        while time.monotonic() < deadline:
            try:
                state = self.call("sinfo", "-h", "-o", "%T").strip()
            except RuntimeError as error:  # the controller does not listen yet
                state = str(error)
            if state == "idle":
                return
            time.sleep(0.2)
        logs = "\n".join(path.read_text()[-2000:] for path in sorted(log.glob("*.log")))
        self.stop()
        raise RuntimeError(f"The node is not idle but {state!r}.\n{logs}")

    def _configure(self) -> None:
        key = self.folder / "munge.key"
        if not key.exists():
            key.write_bytes(os.urandom(128))
            key.chmod(0o400)
        host = socket.gethostname().partition(".")[0]
        ctld_port, slurmd_port = free_ports(2)
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True)
        (self.folder / "slurm.conf").write_text(
            SLURM_CONF.format(
                host=host,
                folder=self.folder,
                ctld_port=ctld_port,
                slurmd_port=slurmd_port,
                user=user.stdout.strip(),
                cpus=CPUS,
                gpus=GPUS,
            )
        )
        for number in range(GPUS):
            device = self.folder / "run" / f"gpu{number}"
            if not device.is_symlink():
                device.symlink_to(os.devnull)
        (self.folder / "gres.conf").write_text(
            f"NodeName={host} Name=gpu Type=h100 File={self.folder}/run/gpu[0-{GPUS - 1}]\n"
        )

    def stop(self, seconds: float = 15) -> None:
        """Cancel every job, stop the three programs and wait until they are gone."""
        subprocess.run(
            ["scancel", "--state=RUNNING", "--state=PENDING", f"--user={os.geteuid()}", "--quiet"],
            env=self.environment, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        deadline = time.monotonic() + seconds
        for name in ("slurmd", "slurmctld", "munged"):
            path = self.folder / "run" / f"{name}.pid"
            if not path.exists():
                continue
            pid = int(path.read_text())
            if not _alive(pid):
                continue
            os.kill(pid, signal.SIGTERM)
            while _alive(pid) and time.monotonic() < deadline:
                time.sleep(0.05)
            if _alive(pid):
                os.kill(pid, signal.SIGKILL)


def _alive(pid: int) -> bool:
    """Tell whether a process runs (one that ended and waits to be reaped does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


if __name__ == "__main__":
    cluster = OneNodeSlurm(Path(sys.argv[2]).absolute())
    getattr(cluster, {"start": "start", "stop": "stop"}[sys.argv[1]])()
