"""A one-node Slurm for the session, started when the first test asks for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from egg_heads import synthesize
from one_node_slurm import OneNodeSlurm, missing_programs

from facegen_inference.preprocess import PreprocessSpec
from facegen_training.planning.machines import Machine, known_machines, read_machine


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


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = PreprocessSpec(shape=(32, 28, 24), spacing_mm=8.0)
    return synthesize(tmp_path_factory.mktemp("people"), spec, people=10)


@pytest.fixture(scope="session")
def machine_file(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pretend node as a laboratory would describe its own: a copy of a file, changed."""
    import facegen_training.planning as planning

    assert "generic" in known_machines()
    source = Path(planning.__file__).parent / "machine_files" / "generic.toml"
    text = source.read_text(encoding="utf-8")
    for name, value in (
        ("partition", machine.partition),
        ("gres", machine.gres),
        ("cpus_per_gpu", machine.cpus_per_gpu),
        ("internet", machine.internet),
        ("setup", list(machine.setup)),
    ):
        before = next(line for line in text.splitlines() if line.startswith(f"{name} = "))
        text = text.replace(before, f"{name} = {json.dumps(value)}", 1)
    words = "\n".join(f"{name} = {json.dumps(v)}" for name, v in machine.environment.items())
    text = text.replace("[queue.environment]", f"[queue.environment]\n{words}")
    path = tmp_path_factory.mktemp("machine") / "one-node.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def program() -> Callable[..., str]:
    """Run ``facegen`` or ``facegen-train`` as a user does; return what it prints."""

    def call(*words: object) -> str:
        command = [
            str(Path(sys.executable).with_name(str(words[0]))),
            *(str(word) for word in words[1:]),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=200, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call
