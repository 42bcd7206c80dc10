"""A strip of pictures of one prepared scan, for the contact sheet: skull, face, three slices.

Surfaces are drawn from the very fields that are trained on, without a screen; slices come from
the scan, with the fields' skin and bone drawn over them.  All stand in the Frankfurt frame.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import map_coordinates

from facegen_inference.frame import Frame
from facegen_inference.preprocess import PreprocessSpec
from facegen_inference.volume import AIR_HU, Grid, Volume

PICTURE = ".jpg"
TILES = (
    "skull, front",
    "skull, left side",
    "face, front",
    "face, left side",
    "midline",
    "axial, mouth",
    "coronal, eyes",
)
_TALL = 256
_GAP = 4
_SPACE = 5
_MOUTH_Z, _EYES_Y = -45.0, -72.0
_LIGHT = np.array([-0.35, 0.45, 0.82])
"""Towards the light: from the viewer's left, above, in front."""
_BONE, _SKIN = np.array([232, 222, 196]), np.array([222, 184, 160])
_NOTHING = (24, 26, 30)
_BONE_LINE, _SKIN_LINE = (255, 176, 0), (0, 200, 255)

Fields = NDArray[np.float32]
Colours = NDArray[np.uint8]


def strip_of(
    volume: Volume, stored: NDArray[np.int16], frame: Frame, spec: PreprocessSpec
) -> bytes:
    """Return a JPEG of all of `TILES` side by side, `_TALL` pixels high.

    Parameters
    ----------
    volume
        The scan.
    stored
        (4, Z, Y, X) as `facegen_training.cohort.prepare.fields_of` returns.
    frame
        Where the head lies.
    spec
        The grid of the fields.
    """
    bone, skin = (stored[channel].astype(np.float32) / 100 for channel in (0, 2))
    skin = np.where(stored[3] > 0, skin, np.float32(spec.clip_mm))
    tiles = [
        surface_front(bone, _BONE),
        surface_left(bone, _BONE),
        surface_front(skin, _SKIN),
        surface_left(skin, _SKIN),
        *_slices(volume, bone, skin, frame, spec),
    ]
    marks = ("R      L", "left side", "R      L", "left side", "midline", "R      L", "R      L")
    pictures = [_tile(tile, mark) for tile, mark in zip(tiles, marks, strict=True)]
    width = sum(picture.width for picture in pictures) + _GAP * (len(pictures) - 1)
    strip = Image.new("RGB", (width, _TALL), _NOTHING)
    at = 0
    for picture in pictures:
        strip.paste(picture, (at, 0))
        at += picture.width + _GAP
    out = io.BytesIO()
    strip.save(out, "JPEG", quality=82, optimize=True)
    return out.getvalue()


def surface_front(field: Fields, colour: NDArray[np.int_]) -> Colours:
    """Return the zero level of a (Z, Y, X) distance seen from in front, (Z, X, 3), top first."""
    return _shaded(field.transpose(0, 2, 1), colour)


def surface_left(field: Fields, colour: NDArray[np.int_]) -> Colours:
    """Return the zero level seen from the examinee's left, (Z, Y, 3), top first, face leftwards."""
    return _shaded(field[:, :, ::-1], colour)


def _shaded(field: Fields, colour: NDArray[np.int_]) -> Colours:
    """Return the zero level of a field (up, right, away) as the viewer sees it, top row first."""
    inside = field < 0
    hit = inside.any(axis=2)
    up, right = np.nonzero(hit)
    first = inside.argmax(axis=2)[hit]
    before = np.maximum(first - 1, 0)
    ahead, behind = field[up, right, before], field[up, right, first]
    share = np.where(first > 0, ahead / np.maximum(ahead - behind, 1e-3), 0.0)
    place = np.stack([up, right, before + share])
    normal = []
    for axis in (1, 0, 2):  # right, up, away
        step = np.zeros((3, 1))
        step[axis] = 1.0
        there = map_coordinates(field, place + step, order=1, mode="nearest")
        here = map_coordinates(field, place - step, order=1, mode="nearest")
        normal.append(there - here)
    towards = np.stack([normal[0], normal[1], -normal[2]], axis=1)
    towards /= np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-6)
    light = 0.18 + 0.82 * np.clip(towards @ _LIGHT, 0, 1)
    depth = 1.0 - 0.35 * (before + share) / field.shape[2]
    picture = np.empty((*hit.shape, 3), dtype=np.uint8)
    picture[:] = _NOTHING
    picture[hit] = np.clip((light * depth)[:, None] * colour, 0, 255).astype(np.uint8)
    return picture[::-1]


def _slices(
    volume: Volume, bone: Fields, skin: Fields, frame: Frame, spec: PreprocessSpec
) -> list[Colours]:
    """Return midline (Z, Y), axial (Y, X) and coronal (Z, X) slices at 1 mm."""
    low = np.array(spec.origin_mm)
    high = low + spec.spacing_mm * (np.array(spec.shape[::-1]) - 1)
    x, y, z = (np.arange(a, b + 0.5) for a, b in zip(low, high, strict=True))
    down = z[::-1]
    planes = (
        np.stack(np.broadcast_arrays(0.0, y[None, :], down[:, None]), axis=-1),
        np.stack(np.broadcast_arrays(x[None, :], y[:, None], _MOUTH_Z), axis=-1),
        np.stack(np.broadcast_arrays(x[None, :], _EYES_Y, down[:, None]), axis=-1),
    )
    return [_slice(volume, bone, skin, frame, spec.grid, plane) for plane in planes]


def _slice(
    volume: Volume, bone: Fields, skin: Fields, frame: Frame, grid: Grid, plane: NDArray[np.float64]
) -> Colours:
    """Return one slice: grey values of the scan, skin and bone as lines; `plane` in frame mm."""
    points = plane.reshape(-1, 3)
    turn = frame.patient_from_frame
    voxel = volume.grid.voxel_points(points @ turn[:3, :3].T + turn[:3, 3]).T
    hu = map_coordinates(volume.array, voxel, order=1, cval=AIR_HU, output=np.float32)
    grey = np.interp(hu, (-1000, -300, 250, 1800), (0, 70, 165, 255)).reshape(plane.shape[:2])
    picture = np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    for field, colour in ((skin, _SKIN_LINE), (bone, _BONE_LINE)):
        value = map_coordinates(field, grid.voxel_points(points).T, order=1, mode="nearest")
        picture[_edge(value.reshape(plane.shape[:2]) < 0)] = colour
    return picture


def _edge(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels outside a region that touch it from below or from the right."""
    edge = np.zeros_like(inside)
    edge[1:] |= inside[1:] != inside[:-1]
    edge[:, 1:] |= inside[:, 1:] != inside[:, :-1]
    return edge


def _tile(pixels: Colours, mark: str) -> Image.Image:
    """Return a picture at the strip's height with a mark of its sides."""
    tall, wide = pixels.shape[:2]
    picture = Image.fromarray(np.ascontiguousarray(pixels)).resize(
        (round(wide * _TALL / tall), _TALL), Image.Resampling.BICUBIC
    )
    draw = ImageDraw.Draw(picture)
    # The built-in font's space is too narrow to be seen: words are set apart by hand.
    at = 4.0
    for word in mark.split("  ")[0].split():
        draw.text((at, 2), word, fill=(200, 205, 210))
        at += draw.textlength(word) + _SPACE
    if mark.startswith("R"):
        draw.text((picture.width - 11, 2), "L", fill=(200, 205, 210))
    return picture
