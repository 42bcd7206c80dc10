"""What is scored: built-in methods and model files, with the files each was fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from facegen_inference.atlas import load_atlas
from facegen_inference.errors import UserError
from facegen_inference.face_region import region_definition
from facegen_inference.methods import METHODS
from facegen_inference.network import DEFAULT_NAME, model_folders
from facegen_inference.provenance import sha256_of
from facegen_inference.reconstruct import Request
from facegen_training.evaluation.protocol import PROTOCOL

LEARNED = "neural"
"""The method of `facegen_inference.methods` that every model file is run by."""
USES_ATLAS = ("mean-face", "tissue-depth")
TEMPLATE = "template"
LADDER = ("mean-face", "tissue-depth", "template", "depthmap-cgan", "pix2pix3d")
"""Order of tables and plots, simplest first; other names follow, and ``neural`` is last."""


@dataclass(frozen=True)
class Contender:
    """One method to score.

    Attributes
    ----------
    name
        In tables and plots.
    method
        Of `facegen_inference.methods.METHODS`.
    model
        Model file of a learned method.
    atlas
        Mean skin that a built-in method reads; the shipped one when None.
    template
        File of the method ``template``; the shipped one when None.
    """

    name: str
    method: str
    model: Path | None = None
    atlas: Path | None = None
    template: Path | None = None

    @cached_property
    def key(self) -> dict[str, Any]:
        """What a score of this contender depends on, besides the scan."""
        depends: dict[str, Any] = {
            "protocol": PROTOCOL,
            "region": region_definition().version,
            "atlas_people": load_atlas().people,
            "method": self.method,
        }
        if self.method == LEARNED:
            depends["model"] = sha256_of(self.model or shipped_model())
        if self.method in USES_ATLAS:
            depends["atlas"] = sha256_of(self.atlas or _shipped("atlas.npz"))
        if self.method == TEMPLATE:
            depends["template"] = sha256_of(self.template or _shipped("template.npz"))
        return depends

    def request(self) -> Request:
        """Return what the method is asked for: one face, no variants, on the CPU."""
        return Request(
            method=self.method,
            variants=0,
            device="cpu",
            model=self.model,
            atlas=self.atlas,
            template=self.template,
            purpose="validation",
        )


def in_order(names: Sequence[str]) -> list[str]:
    """Return names of methods, simplest first and ``neural`` last."""
    place = {name: n for n, name in enumerate(LADDER)}
    return sorted(names, key=lambda name: (name == LEARNED, place.get(name, len(place))))


def _shipped(name: str) -> Path:
    return Path(str(files("facegen_resources") / name))


def shipped_model() -> Path:
    """Return the model that ships, whatever the user has put before it."""
    return model_folders()[0] / DEFAULT_NAME


def check_methods(methods: Sequence[str]) -> None:
    """Refuse names of built-in methods that are not known.

    Raises
    ------
    UserError
        For the first of them.
    """
    for method in methods:
        if method not in METHODS:
            raise UserError(f"There is no method {method}.", f"Methods: {', '.join(METHODS)}.")


def contenders(methods: Sequence[str], models: Sequence[str]) -> tuple[Contender, ...]:
    """Return what is to be scored with the files that ship, simplest first.

    Parameters
    ----------
    methods
        Names of built-in methods.
    models
        ``FILE`` or ``NAME=FILE`` of model files; the first without a name is ``neural``.

    Raises
    ------
    UserError
        For an unknown method, a missing file or a name given twice.
    """
    check_methods(methods)
    found = [
        Contender(method, method, shipped_model() if method == LEARNED else None)
        for method in methods
    ]
    for number, text in enumerate(models):
        name, _, file = text.rpartition("=")
        path = Path(file)
        if not path.is_file():
            raise UserError(f"There is no model file {file}.", "Give FILE or NAME=FILE.")
        named = name or (LEARNED if number == 0 else path.stem)
        found = [one for one in found if one.name != named or one.model != shipped_model()]
        found.append(Contender(named, LEARNED, path))
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"Two models are called {twice[0]}.", "Name them: --model NAME=FILE.")
    return tuple(found)
