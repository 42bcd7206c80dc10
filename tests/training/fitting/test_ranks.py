"""Several ranks on one machine (gloo), as real processes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from egg_heads import synthesize
from safetensors.torch import load_file

from facegen_inference.preprocess import PreprocessSpec
from facegen_training.cohort.dataset import read_dataset
from facegen_training.fitting.config import config_from_data, read_config
from facegen_training.fitting.fit import fit
from facegen_training.fitting.stop import Stop
from facegen_training.fitting.training import Aids

SCRIPT = Path(__file__).with_name("one_rank.py")
SETTINGS: dict[str, Any] = {
    "linear": {"copies": 2, "rank": 4, "folds": 2, "latents": 1, "feature_band_mm": 16.0},
    "net": {"width": 8, "levels": 2},
    "pix2pix3d": {"ngf": 4, "ndf": 4, "depth": 2},
    "fit": {
        "steps": 4,
        "batch": 1,
        "checkpoint_every": 100,
        "validate_every": 4,
        "warmup_steps": 1,
        "clip": 0.05,  # so that clipping matters
        "tensorboard": False,
    },
}


def settings(network: str = "sdf", **fit: Any) -> dict[str, Any]:
    data = deepcopy(SETTINGS)
    data["network"] = network
    data["fit"].update(fit)
    return data


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start_ranks(
    manifest: Path, jobs: list[dict[str, Any]], log: Path
) -> list[subprocess.Popen[bytes]]:
    for job in jobs:
        job["port"] = free_port()
    return start([str(SCRIPT), str(manifest), json.dumps(jobs)], log)


def start(program: list[str], log: Path) -> list[subprocess.Popen[bytes]]:
    """Start two ranks of a Python program, as torchrun or srun would."""
    command, port = [sys.executable, *program], free_port()
    ranks = []
    for rank in range(2):
        given = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
        given |= {"NODE_RANK": 0, "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": 1}
        given |= {"GLOO_SOCKET_IFNAME": "lo", "MASTER_PORT": port}
        env = os.environ | {name: str(value) for name, value in given.items()}
        with log.with_name(f"{log.name}.{rank}").open("wb") as file:
            ranks.append(subprocess.Popen(command, env=env, stdout=file, stderr=file))
    return ranks


def end_of(
    ranks: list[subprocess.Popen[bytes]], log: Path, seconds: float
) -> tuple[list[int], str]:
    """Wait for ranks; return their statuses and what they said."""
    try:
        statuses = [rank.wait(timeout=seconds) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    said = [log.with_name(f"{log.name}.{rank}").read_text() for rank in range(len(ranks))]
    return statuses, "\n---\n".join(said)


def digest(run: Path) -> str:
    """Return one hash over weights, average and optimiser of the last step."""
    folder = run / "checkpoint-0000004"
    text = b"".join(
        (folder / f"{name}.safetensors").read_bytes()
        for name in ("weights", "average", "optimizer")
    )
    return hashlib.sha256(text).hexdigest()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of finished runs on two ranks, one for each case."""
    folder = tmp_path_factory.mktemp("ranks")
    spec = PreprocessSpec(shape=(32, 28, 24), spacing_mm=8.0)
    manifest = synthesize(folder / "people", spec, people=10)

    def job(run: str, stop: int | None = None, **given: Any) -> dict[str, Any]:
        return {"run": str(folder / run), "settings": settings(**given), "stop": stop}

    jobs = [
        job("ddp", strategy="ddp"),
        job("fsdp2", strategy="fsdp2"),
        job("ddp-resumed", 1, strategy="ddp"),
        job("ddp-resumed", strategy="ddp"),
        job("fsdp2-resumed", 1, strategy="fsdp2"),
        job("fsdp2-resumed", strategy="fsdp2"),
        job("changed", 1, strategy="ddp"),
        job("changed", strategy="fsdp2"),
        job("left", 1, strategy="fsdp2"),
        job("gan-ddp", network="pix2pix3d", strategy="ddp"),
        job("gan-fsdp2", network="pix2pix3d", strategy="fsdp2"),
    ]
    log = folder / "log"
    statuses, said = end_of(start_ranks(manifest, jobs, log), log, 200)
    assert statuses == [0, 0], said
    return folder


@pytest.mark.parametrize("other", ["fsdp2", "ddp-resumed", "fsdp2-resumed", "changed"])
def test_ranks_give_the_same_weights_however_they_share_them(runs: Path, other: str) -> None:
    assert digest(runs / other) == digest(runs / "ddp")


def test_both_players_of_a_gan_are_the_same_shared_out(runs: Path) -> None:
    assert digest(runs / "gan-fsdp2") == digest(runs / "gan-ddp")
    names = load_file(str(runs / "gan-ddp/checkpoint-0000004/weights.safetensors")).keys()
    assert {name.split(".")[0] for name in names} == {"discriminator", "generator"}


def test_one_step_is_logged_once_for_all_ranks(runs: Path) -> None:
    for run in ("ddp", "fsdp2-resumed"):
        lines = [json.loads(line) for line in (runs / run / "steps.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if "error" in line] == [1, 2, 3, 4]


def test_a_checkpoint_of_two_ranks_goes_on_with_one(runs: Path) -> None:
    data = read_dataset(runs / "people" / "manifest.json")
    assert [p.name for p in sorted((runs / "left").glob("checkpoint-*"))][
        -1
    ] == "checkpoint-0000002"
    last = fit(data, runs / "left", config_from_data(settings()))
    assert last.name == "checkpoint-0000004"


def test_two_ranks_learn_from_what_one_rank_would_learn_from(runs: Path) -> None:
    data = read_dataset(runs / "people" / "manifest.json")
    last = fit(data, runs / "alone", config_from_data(settings(accumulate=2)))
    alone, shared = (
        load_file(str(folder / "weights.safetensors"))
        for folder in (last, runs / "ddp" / last.name)
    )
    for key, values in alone.items():
        assert torch.allclose(values, shared[key], rtol=1e-4, atol=1e-6), key


FIT = ["-c", "from facegen_training.cli import main; main()", "fit"]


def write_settings(path: Path, **fit: Any) -> Path:
    """Write settings as TOML: tables of plain values."""
    data = settings(**fit)
    lines = [f'network = "{data.pop("network")}"']
    for table, values in data.items():
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    path.write_text("\n".join(lines))
    return path


def steps_of(run: Path) -> list[int]:
    path = run / "steps.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return [line["step"] for line in found if "error" in line]


@pytest.fixture
def program(runs: Path, tmp_path: Path) -> list[str]:
    toml = write_settings(tmp_path / "s.toml", steps=200, checkpoint_every=2)
    manifest = str(runs / "people" / "manifest.json")
    return [*FIT, manifest, "--run", str(tmp_path / "run"), "--config", str(toml)]


def wait_for_steps(ranks: list[subprocess.Popen[bytes]], run: Path, count: int) -> None:
    while len(steps_of(run)) < count and all(rank.poll() is None for rank in ranks):
        time.sleep(0.01)


def test_a_lost_rank_is_named_and_the_run_goes_on(
    program: list[str], runs: Path, tmp_path: Path
) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    ranks = start(program, log)
    wait_for_steps(ranks, run, 3)
    ranks[1].kill()
    statuses, said = end_of(ranks, log, 60)
    assert statuses == [75, -9], said
    assert "Another rank of this run was lost. Start it again" in said
    assert "Traceback" not in said
    before = steps_of(run)[-1]
    config = read_config(tmp_path / "s.toml")
    stop = Stop()

    def ask(line: dict[str, Any]) -> None:
        stop.asked = line["step"] >= before + 2

    fit(read_dataset(runs / "people" / "manifest.json"), run, config, Aids(ask, stop))
    assert steps_of(run) == list(range(1, before + 4))


def test_a_signal_to_one_rank_stops_all(program: list[str], tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    ranks = start(program, log)
    wait_for_steps(ranks, run, 3)
    ranks[1].send_signal(signal.SIGUSR1)
    statuses, said = end_of(ranks, log, 60)
    assert statuses == [75, 0], said  # rank 0 speaks for all
    newest = max(path.name for path in run.glob("checkpoint-???????"))
    assert int(newest.split("-")[1]) == steps_of(run)[-1]


def test_fabric_starts_the_other_ranks_itself(runs: Path, tmp_path: Path) -> None:
    toml = write_settings(tmp_path / "s.toml", devices=2)
    manifest = str(runs / "people" / "manifest.json")
    command = [*FIT, manifest, "--run", str(tmp_path / "run"), "--config", str(toml)]
    script = tmp_path / "facegen-train"  # the command is run again for each rank
    script.write_text("import sys\nfrom facegen_training.cli import main\nmain()\n")
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [sys.executable, str(script), *command[2:]], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr
    assert digest(tmp_path / "run") == digest(runs / "ddp")
