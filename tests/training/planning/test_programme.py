"""Plans: the historical one's figures, and that every figure follows its inputs."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from facegen_inference.errors import UserError
from facegen_training.planning.advice import Budget, stated_memory, tension, what_does_not_fit
from facegen_training.planning.calibration import Calibration, Measured, read_calibration
from facegen_training.planning.machines import Machine, known_machines, read_machine
from facegen_training.planning.programme import Outlook, Programme, look_ahead
from facegen_training.planning.queue import plan_queue
from facegen_training.planning.read_programme import known_presets, programme_of_run, read_preset
from facegen_training.planning.tables import figures

WIDE = Budget(32000, 2000)


@pytest.fixture(scope="module")
def deck() -> Programme:
    return read_preset("deck")


@pytest.fixture(scope="module")
def mn5() -> Machine:
    return read_machine("mn5")


def test_the_deck_reproduces_the_four_numbers(deck: Programme) -> None:
    assert deck.passes == 230_000_000
    assert deck.passes_a_job == 2_500_000
    assert round(deck.tflop) == 21_307_200_000
    assert f"{deck.reference_years:.2f}" == "4.33"


MOVES = {
    "jobs": "passes tflop reference_years gpu_hours node_hours elapsed_days disk_bytes",
    "volumes": "passes_a_job passes tflop reference_years gpu_hours node_hours hours_a_job"
    " starts_a_job elapsed_days data_bytes disk_bytes",
    "epochs": "passes_a_job passes tflop reference_years gpu_hours node_hours hours_a_job"
    " starts_a_job elapsed_days",
    "tflop_a_pass": "tflop_a_pass tflop reference_years gpu_hours node_hours hours_a_job"
    " starts_a_job elapsed_days",
    "reference_tflop_per_s": "reference_years",
    "volume_slices": "data_bytes disk_bytes",
    "batch": "memory",
}


@pytest.mark.parametrize("name", list(MOVES))
def test_doubling_an_input_moves_every_figure_that_depends_on_it(
    deck: Programme, mn5: Machine, name: str
) -> None:
    before = _flat(look_ahead(deck, mn5, 4))
    after = _flat(look_ahead(replace(deck, **{name: 2 * getattr(deck, name)}), mn5, 4))
    moved = {figure for figure in before if before[figure] != after[figure]}
    expected = set(MOVES[name].split())
    assert moved - {"jobs", "memory"} == expected - {"memory"}
    assert ("memory" in moved) == ("memory" in expected)
    for figure in expected & {"passes", "passes_a_job", "tflop", "gpu_hours", "node_hours"}:
        assert after[figure] == pytest.approx(2 * before[figure])


def _flat(outlook: Outlook) -> dict[str, Any]:
    data = figures(outlook)
    memory = data.pop("memory_bytes")
    # Of a wait there is one for each start.
    del data["wait_hours_a_job"]
    return {**data, "memory": memory["live"]}


@pytest.mark.parametrize("name", ["stated_memory_gb", "stated_longest_job_hours"])
def test_what_was_stated_is_said_beside_what_was_computed(
    deck: Programme, mn5: Machine, name: str
) -> None:
    outlook = look_ahead(deck, mn5, 4)
    said = {
        plan: stated_memory(plan, outlook) + tension(plan, outlook)
        for plan in (deck, replace(deck, **{name: 2 * getattr(deck, name)}))
    }
    assert len(set(said.values())) == 2
    assert "would need 1,892 TFLOP/s" in said[deck]


def test_gpu_hours_follow_rate_and_gpus_only_share_the_time(deck: Programme, mn5: Machine) -> None:
    one, four = look_ahead(deck, mn5, 1), look_ahead(deck, mn5, 4)
    assert one.gpu_hours == pytest.approx(four.gpu_hours)
    assert one.queue.hours_a_job == pytest.approx(4 * four.queue.hours_a_job)
    # By hand: 21,307,200,000 TFLOP at 40 % of 494.7 TFLOP/s.
    assert one.gpu_hours == pytest.approx(21_307_200_000 / (0.4 * 494.7) / 3600)
    with pytest.raises(UserError, match="6 GPUs"):
        look_ahead(deck, mn5, 6)


def test_short_pieces_beat_long_waits(mn5: Machine) -> None:
    plan = plan_queue(100.0, 92, 4, mn5)
    # 9 starts of 12 h wait 36 min; 3 of 48 h would wait 25.8 h.
    assert (plan.limit_hours, plan.starts) == (12, 9)
    assert plan.wait_hours == pytest.approx(0.6)
    assert plan.elapsed_hours == pytest.approx(100.6)
    assert plan.at_once == 100
    slow = replace(mn5, waits=(replace(mn5.waits[0], minutes=600), mn5.waits[1]))
    assert plan_queue(100.0, 92, 4, slow).limit_hours == 48
    assert plan_queue(100.0, 201, 4, mn5).elapsed_hours == pytest.approx(3 * 100.6)
    unknown = plan_queue(100.0, 1, 1, read_machine("generic"))
    assert (unknown.wait_hours, unknown.starts) == (None, 5)


def test_what_does_not_fit_is_said_with_what_would(deck: Programme, mn5: Machine) -> None:
    assert what_does_not_fit(look_ahead(deck, mn5, 4), WIDE) == []
    twice = look_ahead(replace(deck, epochs=2 * deck.epochs), mn5, 4)
    (hours,) = what_does_not_fit(twice, WIDE)
    assert hours.startswith("Hours: 59,821 gpu-hours of 32,000.")
    assert "with 267 epochs instead of 500" in hours
    assert "sdf network" in hours
    assert what_does_not_fit(twice, replace(WIDE, unit="node")) == []
    fewer = look_ahead(replace(deck, epochs=267), mn5, 4)
    assert what_does_not_fit(fewer, WIDE) == []
    (starts,) = what_does_not_fit(look_ahead(deck, mn5, 4), replace(WIDE, jobs=600))
    assert "644 starts of 600. At most 85 jobs" in starts
    (memory,) = what_does_not_fit(look_ahead(deck, read_machine("generic"), 1), Budget(1e9, 10**6))
    assert "of the 24 GB" in memory
    assert "In bf16 with checkpointed activations: 20." in memory


@pytest.mark.parametrize("name", known_machines())
def test_every_figure_of_a_machine_has_a_source(name: str, tmp_path: Path) -> None:
    machine = read_machine(name)
    text = Path(machine_file(name)).read_text(encoding="utf-8")
    for figure in machine.sources:
        lines = text.splitlines()
        at = max(n for n, line in enumerate(lines) if line.startswith(f"{figure} ="))
        (tmp_path / "m.toml").write_text("\n".join(lines[:at] + lines[at + 1 :]))
        with pytest.raises(UserError, match="no source is given"):
            read_machine(str(tmp_path / "m.toml"))


def machine_file(name: str) -> str:
    from facegen_training import planning

    return str(Path(planning.__file__).parent / "machine_files" / f"{name}.toml")


def test_unknown_machines_and_plans_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no machine 'cray'"):
        read_machine("cray")
    with pytest.raises(UserError, match="neither a preset nor a file"):
        read_preset("dock")
    (tmp_path / "p.toml").write_text('title="t"\nnetwork="sdf"\nsize=[64,64,64]\nheads=3\n')
    with pytest.raises(UserError, match="unknown input heads"):
        read_preset(str(tmp_path / "p.toml"))
    with pytest.raises(UserError, match="at least 1"):
        Programme("t", "sdf", (64, 64, 64), jobs=0)
    assert known_presets() == ["deck", "shipped"]


def test_a_run_is_planned_from_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('[fit]\nsteps = 500\nbatch = 4\naccumulate = 2\nprecision = "bf16"\n')
    plan = programme_of_run(path, people=300, jobs=20, gpus=4)
    assert plan.passes_a_job == 500 * 4 * 2 * 4
    assert (plan.network, plan.precision, plan.batch, plan.jobs) == ("sdf", "bf16", 4, 20)
    assert plan.data_bytes == pytest.approx(300 * 128 * 104 * 96 * 4 * 2 / 2.65)


def test_the_preset_of_the_shipped_model_counts_its_recipe() -> None:
    recipe = Path(str(files("facegen_training") / "runs" / "face.toml"))
    run, preset = programme_of_run(recipe, people=80, jobs=1, gpus=1), read_preset("shipped")
    assert (preset.network, preset.size, preset.precision) == (run.network, run.size, run.precision)
    assert preset.passes_a_job == run.passes_a_job


def test_a_calibration_replaces_the_assumed_rate(
    deck: Programme, mn5: Machine, tmp_path: Path
) -> None:
    row = Measured("pix2pix3d", "tf32", "104x512x512", "eager", 92.74, 0.5, 10**10, 11 * 10**9)
    file = tmp_path / "calibration.json"
    Calibration("a GPU", True, (row,)).write(file)
    read = read_calibration(file)
    assumed, measured = look_ahead(deck, mn5, 4), look_ahead(deck, mn5, 4, read)
    assert measured.rate.tflop_per_s == pytest.approx(185.48)
    assert "measured at 104x512x512" in measured.rate.known
    assert measured.gpu_hours == pytest.approx(deck.tflop / 185.48 / 3600)
    assert measured.memory_bytes == pytest.approx(1.1 * assumed.memory_bytes)
    file.write_text(file.read_text().replace("92.74", "0"))
    with pytest.raises(UserError, match="not a calibration"):
        read_calibration(file)
