"""The methods that make a face, by name, behind one small interface.

Each is imported when it is first asked for, so that a mean face needs no ONNX runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from facegen_inference.face import Face
from facegen_inference.frame import Frame
from facegen_inference.landmarks import Landmarks
from facegen_inference.progress import Progress
from facegen_inference.skull import Skull

if TYPE_CHECKING:
    from facegen_inference.reconstruct import Request

Predict = Callable[[Skull, Frame, Landmarks, "Request", Progress], Face]
"""``predict_face(skull, frame, landmarks, request, progress)``: all in the scan's LPS mm."""


def _from_module(name: str) -> Predict:
    """Return a method that imports ``facegen_inference.<name>`` when it is called."""

    def predict(
        skull: Skull, frame: Frame, landmarks: Landmarks, request: Request, progress: Progress
    ) -> Face:
        module = import_module(f"facegen_inference.{name}")
        face: Face = module.predict_face(skull, frame, landmarks, request, progress)
        return face

    return predict


METHODS: dict[str, Predict] = {
    "mean-face": _from_module("mean_face"),
    "tissue-depth": _from_module("tissue_depth"),
    "template": _from_module("template"),
    "neural": _from_module("neural"),
}
