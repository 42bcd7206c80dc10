"""``facegen models``: which model files are there, and what they say of themselves."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facegen_app.commands.console import say, say_data, table
from facegen_inference.errors import ModelError, UserError

if TYPE_CHECKING:
    from facegen_inference.network import Model

NAME = "models"


def command(
    verify: Annotated[
        bool, typer.Option("--verify", help="Run each once on an empty head, on the CPU.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as data.")] = False,
) -> None:
    """List the model files found, with their cards; damaged or foreign ones are refused."""
    from facegen_inference.network import find_models, model_folders

    rows = [_row(path, verify=verify) for path in find_models()]
    if as_json:
        say_data({"folders": [str(folder) for folder in model_folders()], "models": rows})
    else:
        for row in rows:
            _show(row)
        if not rows:
            say("No model file was found in " + " or ".join(map(str, model_folders())) + ".")
    if any("error" in row for row in rows) or (verify and not rows):
        raise typer.Exit(UserError.exit_status)


def _row(path: Path, *, verify: bool) -> dict[str, object]:
    """Return what is known of one model file, or why it is refused."""
    from facegen_inference.network import open_model

    try:
        model = open_model(path)
        row: dict[str, object] = {
            "path": str(path),
            "sha256": model.sha256,
            "card": model.card.as_data(),
            "training_skulls": _skulls(model),
        }
        if verify:
            row["seconds"] = _seconds_on_empty_head(model)
    except ModelError as error:
        return {"path": str(path), "error": error.as_data()}
    return row


def _skulls(model: Model) -> dict[str, object] | None:
    """Return what the file knows of its training people's skulls, but for the skulls."""
    if model.familiarity is None:
        return None
    return model.familiarity.model_dump(mode="json", include={"people", "youngest", "limits"})


def _seconds_on_empty_head(model: Model) -> float:
    """Run a model where there is no bone at all and return how long it took."""
    import numpy as np

    spec = model.spec
    skull = np.zeros((len(spec.channels), *spec.shape), dtype=np.float32)
    skull[0] = spec.clip_mm
    skull[1:] = 1.0
    start = time.perf_counter()
    model.run(skull)
    return round(time.perf_counter() - start, 3)


def _show(row: dict[str, object]) -> None:
    say(str(row["path"]))
    error, card = row.get("error"), row.get("card")
    if isinstance(error, dict):
        say(f"  refused: {error['message']} {error['advice']}")
        return
    assert isinstance(card, dict)
    say(f"  {card['name']} {card['version']}: {card['predicts']}")
    say(f"  SHA-256 {row['sha256']}")
    say(f"  {card['training_population']['description']}")
    head = ("people left out", "n", "mean mm", "median mm", "P95 mm", "< 2 mm %", "< 2.5 mm %")
    keys = ("method", "people", "mean_mm", "median_mm", "p95_mm", "below_2mm_percent",
            "below_2_5mm_percent")  # fmt: skip
    if card["held_out"]:
        say(table([head, *(tuple(str(line[key]) for key in keys) for line in card["held_out"])]))
    skulls = row.get("training_skulls")
    if isinstance(skulls, dict):
        say(f"  Refuses or warns of skulls unlike those of its {skulls['people']} training people.")
    else:
        say("  Does not hold its training people's skulls: cannot tell a strange one.")
    say(f"  {card['intended_use']}")
    if "seconds" in row:
        say(f"  ran on the CPU in {row['seconds']} s")
