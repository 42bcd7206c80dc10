"""Depth maps: a surface round the face as a picture of radii, and the way back to a distance field.

Rays leave the face's axis, a vertical segment inside the head: level along the segment, and fanning
out from its ends, so that the underside of the chin and the forehead are looked at squarely too.
A pixel holds how far along its ray the outermost crossing of a surface lies.  Rows go from above
to below and columns from the examinee's right to the left, as one sees a person face to face.

Everything is a fixed sampling of tensors, and leaves for ONNX as ``GridSample`` and ``ArgMax``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from facegen_inference.preprocess import PreprocessSpec
from facegen_training.networks.baseline_config import FAN_MM, MapGeometry

LEAST_RADIUS_MM = 1.0


def grid_points(spec: PreprocessSpec) -> Tensor:
    """Return the frame coordinates of the input grid's voxels, (Z, Y, X, 3) x, y, z mm."""
    axes = [
        spec.origin_mm[2 - axis] + spec.spacing_mm * torch.arange(count, dtype=torch.float64)
        for axis, count in enumerate(spec.shape)
    ]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x, y, z], dim=-1)


def rays(geometry: MapGeometry) -> tuple[Tensor, Tensor]:
    """Return where each ray starts and its unit direction, (rows, columns, 3) x, y, z each."""
    low, high = geometry.arc_mm
    arc = torch.linspace(high, low, geometry.rows, dtype=torch.float64)
    turn = math.radians(geometry.turn_deg)
    azimuth = torch.linspace(-turn, turn, geometry.columns, dtype=torch.float64)
    arc, azimuth = torch.meshgrid(arc, azimuth, indexing="ij")
    foot = arc.clamp(*geometry.axis_z_mm)
    rise = (arc - foot) / FAN_MM
    start = torch.stack(
        [torch.zeros_like(foot), torch.full_like(foot, geometry.axis_y_mm), foot], dim=-1
    )
    level = torch.cos(rise)
    direction = torch.stack(
        [level * torch.sin(azimuth), -level * torch.cos(azimuth), torch.sin(rise)], dim=-1
    )
    return start.float(), direction.float()


def on_map(points: Tensor, geometry: MapGeometry) -> tuple[Tensor, Tensor]:
    """Return which ray points lie on, and how far from the axis.

    Parameters
    ----------
    points
        (..., 3) frame mm.

    Returns
    -------
    Place on the map, (..., 2): column and row from -1 to 1 as ``grid_sample`` with
    ``align_corners`` takes them, beyond ±1 outside the map; and distance from the axis, (...) mm.
    """
    x, y, z = points.double().unbind(-1)
    foot = z.clamp(*geometry.axis_z_mm)
    ahead = geometry.axis_y_mm - y
    level = torch.hypot(x, ahead)
    rise = torch.atan2(z - foot, level)
    low, high = geometry.arc_mm
    row = 2 * (high - (foot + FAN_MM * rise)) / (high - low) - 1
    column = torch.atan2(x, ahead) / math.radians(geometry.turn_deg)
    radius = torch.hypot(level, z - foot)
    return torch.stack([column, row], dim=-1).float(), radius.float()


class DepthMap(nn.Module):
    """From a distance field to the depth map of one of its levels.

    Parameters
    ----------
    geometry
        The rays.
    spec
        Gives origin and extent of the grid that fields lie on.
    pool
        Fields are sampled on blocks of this many voxels of `spec` an axis.
    """

    start: Tensor
    direction: Tensor
    order: Tensor
    places: Tensor

    def __init__(self, geometry: MapGeometry, spec: PreprocessSpec, pool: int = 1) -> None:
        super().__init__()
        inner, self.outer_mm = geometry.radii_mm
        self.count = round((self.outer_mm - inner) / geometry.step_mm) + 1
        self.step_mm = (self.outer_mm - inner) / (self.count - 1)
        start, direction = rays(geometry)
        origin = torch.tensor(spec.origin_mm) + spec.spacing_mm * (pool - 1) / 2
        size = torch.tensor([float(n // pool) for n in spec.shape[::-1]])
        scale = 2 / (spec.spacing_mm * pool) / (size - 1)
        self.register_buffer("start", (start - origin) * scale - 1, persistent=False)
        self.register_buffer("direction", direction * scale, persistent=False)
        order = torch.arange(self.count, 0, -1.0).reshape(1, 1, -1, 1, 1)
        self.register_buffer("order", order, persistent=False)
        radii = (inner + self.step_mm * (order.reshape(-1, 1, 1, 1) - 1)).float()
        self.register_buffer("places", self.start + radii * self.direction, persistent=False)

    def along(self, field: Tensor, radius: Tensor) -> Tensor:
        """Return a field's values, (n, c, rows, columns), where rays have a length.

        Parameters
        ----------
        field
            (n, c, Z, Y, X); beyond the grid its border is repeated.
        radius
            (n or 1, 1, rows, columns) mm from the axis.
        """
        places = self.start + radius.movedim(1, -1) * self.direction
        return _sampled(field, places[:, None].expand(len(field), -1, -1, -1, -1))[:, :, 0]

    def forward(self, distance: Tensor, level_mm: float = 0.0) -> tuple[Tensor, Tensor]:
        """Return the depth map of where a field first falls below a level.

        Parameters
        ----------
        distance
            (n, 1, Z, Y, X) signed distance in mm, negative inside.
        level_mm
            Of the surface wanted.

        Returns
        -------
        Distance from the axis, (n, 1, rows, columns) mm, the innermost sample's where nothing was
        found; and found, 0 or 1, same shape.

        Notes
        -----
        The crossing lies between two samples and is placed by linear interpolation.
        """
        values = _sampled(distance, self.places.expand(len(distance), -1, -1, -1, -1))
        inside = (values < level_mm).float()
        found = inside.amax(dim=2)
        first = (inside * self.order).argmax(dim=2, keepdim=True)
        first = torch.where(found[:, :, None] > 0, first, self.count - 1)
        here = torch.gather(values, 2, first)[:, :, 0]
        outside = torch.gather(values, 2, (first - 1).clamp_min(0))[:, :, 0]
        back = ((level_mm - here) / (outside - here).clamp_min(1e-3)).clamp(0, 1) * found
        return self.outer_mm - self.step_mm * (first[:, :, 0] - back), found


def _sampled(field: Tensor, places: Tensor) -> Tensor:
    return functional.grid_sample(
        field, places, mode="bilinear", padding_mode="border", align_corners=True
    )


class Facing(nn.Module):
    """From a depth map to the cosine between each ray and the surface's normal.

    For a surface r(row, column) whose pixels are a and b mm high and wide at the surface the
    normal leans from the ray by the arc tangent of the gradient (dr/a, dr/b).  Central
    differences; the border repeats.
    """

    height: Tensor
    fan: Tensor
    width: Tensor

    def __init__(self, geometry: MapGeometry) -> None:
        super().__init__()
        low, high = geometry.arc_mm
        _, direction = rays(geometry)
        turn = 2 * math.radians(geometry.turn_deg) / (geometry.columns - 1)
        level = torch.sqrt(direction[..., 0] ** 2 + direction[..., 1] ** 2)
        fan = (direction[..., 2] != 0).float() * (high - low) / (geometry.rows - 1) / FAN_MM
        height = torch.full_like(fan, (high - low) / (geometry.rows - 1)) * (fan == 0)
        # A pixel's size at radius r: height + fan * r by width * r.
        for name, size in (("height", height), ("fan", fan), ("width", turn * level)):
            self.register_buffer(name, size[None, None], persistent=False)

    def forward(self, radius: Tensor) -> Tensor:
        """Return the cosine, (n, 1, rows, columns), of radii in mm, same shape."""
        padded = functional.pad(radius, (1, 1, 1, 1), mode="replicate")
        down = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
        across = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
        radius = radius.clamp_min(LEAST_RADIUS_MM)
        height, width = self.height + self.fan * radius, self.width * radius
        return torch.rsqrt(1 + (down / height) ** 2 + (across / width) ** 2)


class DistanceField(nn.Module):
    """From a depth map to the signed distance field of its surface.

    The value is how far a point lies beyond the surface along its ray, times the cosine between ray
    and normal: near the surface, a distance.  Beyond the map's border the border repeats.

    Parameters
    ----------
    geometry
        Of the map.
    points
        (Z, Y, X, 3) frame mm, where the field is wanted.
    """

    places: Tensor
    radius: Tensor

    def __init__(self, geometry: MapGeometry, points: Tensor) -> None:
        super().__init__()
        self.facing = Facing(geometry)
        self.shape = tuple(points.shape[:3])
        places, radius = on_map(points, geometry)
        z, y, x = self.shape
        self.register_buffer("places", places.reshape(1, z * y, x, 2), persistent=False)
        self.register_buffer("radius", radius.reshape(1, 1, z, y, x), persistent=False)

    def spread_out(self, maps: Tensor) -> Tensor:
        """Return (n, c, Z, Y, X): for each point its ray's pixel, of (n, c, rows, columns)."""
        n, c = maps.shape[:2]
        values = _sampled(maps, self.places.expand(n, -1, -1, -1))
        return values.reshape(n, c, *self.shape)

    def forward(self, radius: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Return the signed distance, (n, 1, Z, Y, X) mm, of a depth map, and its companions.

        Parameters
        ----------
        radius
            (n, 1, rows, columns) mm.
        others
            (n, c, rows, columns) lengths along the rays; come back as lengths along the normals,
            (n, c, Z, Y, X).
        """
        cosine = self.facing(radius)
        values = self.spread_out(torch.cat([radius, cosine, others * cosine], dim=1))
        return (self.radius - values[:, :1]) * values[:, 1:2], values[:, 2:]
