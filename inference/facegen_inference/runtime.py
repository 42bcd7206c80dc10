"""Which ONNX Runtime is installed and on which device a network runs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from facegen_inference.errors import UserError

DeviceWish = Literal["auto", "cuda", "cpu"]


@dataclass(frozen=True)
class Device:
    """Where a network runs.

    Attributes
    ----------
    provider
        ONNX Runtime's execution provider.
    label
        Words for window, result and report.
    """

    provider: str
    label: str


CPU = Device("CPUExecutionProvider", "CPU (ONNX Runtime, fp32)")
CUDA = Device("CUDAExecutionProvider", "CUDA (ONNX Runtime, fp32)")


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def check_runtime() -> None:
    """Make sure that exactly one ONNX Runtime is installed.

    Raises
    ------
    UserError
        With the line to type when there is none, or when both are there: they own the same
        files, and which of the two answers is then a matter of chance.
    """
    cpu, gpu = _installed("onnxruntime"), _installed("onnxruntime-gpu")
    if cpu and gpu:
        raise UserError(
            "Both onnxruntime and onnxruntime-gpu are installed; they overwrite each other.",
            "Type: pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime "
            "(or onnxruntime-gpu for an NVIDIA GPU).",
        )
    if not cpu and not gpu:
        raise UserError(
            "No ONNX Runtime is installed, so no model can run.",
            'Type: pip install "facegen[cpu]" (or "facegen[gpu]" for an NVIDIA GPU).',
        )


def choose_device(wish: DeviceWish = "auto") -> Device:
    """Return where to run: CUDA where it is there, else ONNX Runtime on the CPU.

    Parameters
    ----------
    wish
        ``cuda`` insists on a GPU, ``cpu`` is the evidence mode (fp32, the same bytes each time).

    Raises
    ------
    UserError
        When CUDA is insisted on and not there, or no runtime is installed.

    Notes
    -----
    OpenVINO is left out on purpose: at this network's size ONNX Runtime answers in well under a
    second, and a second engine would make the same case differ between two machines.
    """
    check_runtime()
    if wish == "cpu":
        return CPU
    import onnxruntime

    if CUDA.provider in onnxruntime.get_available_providers():
        return CUDA
    if wish == "cuda":
        raise UserError(
            "CUDA was asked for, and this ONNX Runtime cannot use it.",
            'Choose --device cpu, or type: pip install "facegen[gpu]" on a machine with an '
            "NVIDIA GPU and its driver.",
        )
    return CPU
