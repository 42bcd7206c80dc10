"""The windowed ridge as a part of a network's graph, and on disk; see `windowed`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from facegen_training.networks.windowed import BLOCK, WindowedFit, window_matrix

WINDOWED = "windowed.safetensors"
"""Name of the file in a run's folder."""


class WindowedPart(nn.Module):
    """What `facegen_training.networks.windowed.fit_windowed` found, as tensors.

    Parameters
    ----------
    fit
        What was found.
    shape
        (Z, Y, X) of the coarse grid.
    widths
        Of the windows, in blocks.
    share
        Of this prediction in the network's.
    """

    mean_bone: Tensor
    mean_skin: Tensor
    looked_at: Tensor
    components: Tensor
    loudness: Tensor
    write: Tensor
    places: Tensor
    place_of: Tensor

    def __init__(
        self, fit: WindowedFit, shape: tuple[int, ...], widths: tuple[float, ...], share: float
    ) -> None:
        super().__init__()
        z, _, x = (n // BLOCK for n in shape)
        self.shape = shape
        self.blocks = (z, fit.components.shape[1] // (z * x), x)
        self.influence_mm = fit.influence_mm
        self.share = share
        half = torch.float16
        for name in ("mean_bone", "mean_skin", "looked_at", "components", "loudness", "write"):
            self.register_buffer(name, torch.from_numpy(getattr(fit, name)).to(half))
        self.register_buffer("places", torch.from_numpy(fit.places))
        # Blocks that are not predicted read the row of zeros behind the last place.
        place_of = np.full(int(np.prod(self.blocks)), len(fit.places), dtype=np.int64)
        place_of[fit.places] = np.arange(len(fit.places))
        self.register_buffer("place_of", torch.from_numpy(place_of))
        self.windows = len(widths)
        for n, width in enumerate(widths):
            for axis, count in zip("zyx", self.blocks, strict=True):
                matrix = torch.from_numpy(window_matrix(count, width))
                self.register_buffer(f"blur_{n}{axis}", matrix, persistent=False)

    def forward(self, bone: Tensor, observed: Tensor) -> Tensor:
        """Return the predicted distance (n, 1, Z, Y, X) mm of tensors of that shape."""
        difference = bone - self.mean_bone.float().reshape(1, 1, *self.shape)
        counted = observed * self.looked_at.float().reshape(1, 1, *self.shape)
        x = difference * torch.exp(-((difference / self.influence_mm) ** 2)) * counted
        x = functional.avg_pool3d(x[:, :, :, : BLOCK * self.blocks[1]], BLOCK)
        local = x * self.components.float().reshape(1, -1, *self.blocks)
        loudness = self.loudness.float()
        heard = local.mean(dim=(2, 3, 4))[:, :, None] * loudness[-1]
        for n in range(self.windows):
            heard = heard + self._blurred(local, n).flatten(2)[:, :, self.places] * loudness[n]
        change = heard.permute(2, 0, 1) @ self.write.float()  # (P, n, 8)
        change = functional.pad(change, (0, 0, 0, 0, 0, 1))[self.place_of]
        return self._placed(change) + self.mean_skin.float().reshape(1, 1, *self.shape)

    def _blurred(self, fields: Tensor, window: int) -> Tensor:
        """Return (n, r, Zb, Yb, Xb) under one window, axis by axis."""
        z, y, x = (getattr(self, f"blur_{window}{axis}") for axis in "zyx")
        fields = y @ (fields @ x.T)
        blurred: Tensor = z @ fields.flatten(3)
        return blurred.reshape(fields.shape)

    def _placed(self, blocks: Tensor) -> Tensor:
        """Return (n, 1, Z, Y, X) from (blocks, n, 8), zero behind them."""
        z, y, x = self.blocks
        n = blocks.shape[1]
        parts = blocks.permute(1, 0, 2).reshape(n, z, y, x, 2, 2, 2).permute(0, 1, 4, 2, 5, 3, 6)
        grid = parts.reshape(n, 1, BLOCK * z, BLOCK * y, BLOCK * x)
        return functional.pad(grid, (0, 0, 0, self.shape[1] - BLOCK * y))


_ARRAYS = (
    "mean_bone", "mean_skin", "looked_at", "components", "places", "loudness", "write",
)  # fmt: skip


def save_windowed(path: Path, fit: WindowedFit) -> None:
    """Write a fit; the arrays appear last, so that whoever sees them finds all."""
    arrays = {name: np.ascontiguousarray(getattr(fit, name)) for name in _ARRAYS}
    for row, field in fit.unseen.items():
        arrays[f"unseen.{row}"] = field.astype(np.float16)
    notes = {"influence_mm": fit.influence_mm, "ridge": fit.ridge, "error_mm": fit.error_mm}
    path.with_suffix(".json").write_text(json.dumps(notes, indent=1), encoding="utf-8")
    temporary = path.with_name(path.name + ".part")
    save_file(arrays, str(temporary))
    temporary.replace(path)


def read_windowed(arrays: Mapping[str, Any], influence_mm: float) -> WindowedFit:
    """Return the fit in a graph's buffers; it left out nobody: it saw none of these people."""
    own: dict[str, Any] = {name: np.asarray(arrays[f"windowed.{name}"]) for name in _ARRAYS}
    single = {n: a if n == "places" else a.astype(np.float32) for n, a in own.items()}
    return WindowedFit(**single, influence_mm=influence_mm, unseen={}, ridge=0.0, error_mm={})


def load_windowed(path: Path) -> WindowedFit:
    """Read what `save_windowed` wrote."""
    arrays = load_file(str(path))
    notes = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    unseen = {
        int(name.removeprefix("unseen.")): field.astype(np.float32)
        for name, field in arrays.items()
        if name.startswith("unseen.")
    }
    return WindowedFit(
        **{name: arrays[name] for name in _ARRAYS},
        influence_mm=notes["influence_mm"],
        unseen=unseen,
        ridge=notes["ridge"],
        error_mm={float(key): value for key, value in notes["error_mm"].items()},
    )
