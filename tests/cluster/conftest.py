"""A one-node Slurm for the session, started when the first test asks for it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from one_node_slurm import OneNodeSlurm, missing_programs

from facegen_training.planning.machines import Machine, read_machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "slurm" in getattr(item, "fixturenames", ()):
            item.add_marker("slurm")


@dataclass(frozen=True)
class Cluster:
    """The running cluster, as tests use it."""

    slurm: OneNodeSlurm

    def state(self, job: int | str) -> str:
        """Return a job's state, for example ``RUNNING`` (every task's, of an array)."""
        text = self.slurm.call("squeue", "-h", "-t", "all", "-o", "%T", "-j", str(job))
        return " ".join(text.split())

    def wait(self, job: int | str, *states: str, seconds: float = 120) -> str:
        """Wait until every task of a job is in one of the states; return them."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            now = self.state(job)
            if now and set(now.split()) <= set(states):
                return now
            time.sleep(0.2)
        logs = sorted(self.slurm.folder.glob("log/*.log"))
        tails = "\n".join(path.read_text()[-1500:] for path in logs)
        pytest.fail(f"Job {job} is {self.state(job)}, not {states}.\n{tails}")

    def until(self, done: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.1)

    def signal(self, job: int | str, *words: str) -> None:
        """Send what the time limit sends: ``cluster.signal(job, "--signal=USR1", "--batch")``."""
        self.slurm.call("scancel", *words, str(job))


@pytest.fixture(scope="session")
def one_node() -> Iterator[OneNodeSlurm]:
    missing = missing_programs()
    if missing:
        pytest.skip(f"Slurm is not installed here ({missing[0]} was not found)")
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:  # short: sockets lie in it
        cluster = OneNodeSlurm(Path(folder))
        try:
            cluster.start()
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"Slurm does not start here: {error}")
        yield cluster
        cluster.stop()


@pytest.fixture
def slurm(one_node: OneNodeSlurm, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The cluster; Slurm's programs called in the test talk to it."""
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, one_node.environment[name])
    return Cluster(one_node)


@pytest.fixture(scope="session")
def machine() -> Machine:
    """The pretend node as a machine; offline, with two minutes' warning."""
    return replace(
        read_machine("generic"),
        partition="acc",
        gres="gpu:h100",
        cpus_per_gpu=1,
        internet=False,
        setup=(f'export PATH={Path(sys.executable).parent}:"$PATH"',),
        environment={"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
    )
