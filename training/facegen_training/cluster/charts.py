"""Two charts as plain SVG text: parallel coordinates and curves.  No library, nothing fetched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 960, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 60, 34, 40
# Stops of a scale from good to bad that is told apart in grey and by the colour-blind (viridis).
_STOPS = ((253, 231, 37), (94, 201, 98), (33, 145, 140), (59, 82, 139), (68, 1, 84))


@dataclass(frozen=True)
class Axis:
    """One axis of the parallel coordinates.

    Attributes
    ----------
    name
        Written above it.
    choices
        Texts of a choice, in order; empty for numbers.
    low, high
        Ends for numbers.
    log
        Whether the numbers are spread by their logarithms.
    """

    name: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    def place(self, value: object) -> float:
        """Return where a value lies, 0 (bottom) to 1 (top)."""
        if self.choices:
            return self.choices.index(str(value)) / max(len(self.choices) - 1, 1)
        low, high, number = self.low, self.high, float(str(value))
        if self.log:
            low, high, number = math.log(low), math.log(high), math.log(number)
        return 0.5 if high == low else (number - low) / (high - low)

    def ticks(self) -> list[tuple[float, str]]:
        """Return (place, text) of the marks along the axis."""
        if self.choices:
            return [(self.place(text), text) for text in self.choices]
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return [(self.place(v), f"{v:.3g}") for v in (self.low, middle, self.high)]


@dataclass(frozen=True)
class Line:
    """One trial in a chart: its text, its goodness (0 best, 1 worst, None unknown), its points."""

    text: str
    goodness: float | None
    points: tuple[tuple[float, float], ...]


def colour(goodness: float | None) -> str:
    """Return a colour of the scale; grey where the goodness is unknown."""
    if goodness is None:
        return "#bbbbbb"
    # Yellow on white is hard to see: the scale runs from dark (best) to light, less its end.
    place = (1 - 0.85 * min(max(goodness, 0.0), 1.0)) * (len(_STOPS) - 1)
    index = min(int(place), len(_STOPS) - 2)
    part = place - index
    mixed = (
        round(a + (b - a) * part) for a, b in zip(_STOPS[index], _STOPS[index + 1], strict=True)
    )
    return "#" + "".join(f"{value:02x}" for value in mixed)


def parallel(axes: Sequence[Axis], trials: Sequence[tuple[Line, Sequence[object]]]) -> str:
    """Return parallel coordinates: one line a trial, one value on each axis.

    Parameters
    ----------
    axes
        At least two.
    trials
        A line (its points are ignored) and its values, one for each axis.
    """
    step = (WIDTH - _LEFT - _RIGHT) / (len(axes) - 1)
    body = []
    for line, values in trials:
        points = [
            (_LEFT + step * n, _height(axis.place(value)))
            for n, (axis, value) in enumerate(zip(axes, values, strict=True))
        ]
        body.append(_polyline(Line(line.text, line.goodness, tuple(points))))
    for n, axis in enumerate(axes):
        x = _LEFT + step * n
        body.append(f'<line class="axis" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_foot()}"/>')
        body.append(_text(x, _TOP - 14, axis.name, "middle", "name"))
        for place, text in axis.ticks():
            body.append(_text(x + 5, _height(place) + 4, text, "start", "tick"))
    return _svg(body, "Parallel coordinates: one line a trial")


def curves(lines: Sequence[Line], x_name: str, y_name: str) -> str:
    """Return curves over common axes; lines without points are left out.

    Parameters
    ----------
    lines
        Points are (x, y) in data units; those that are not finite are left out.
    x_name, y_name
        Names of the axes.
    """
    drawn = []
    for line in lines:
        points = tuple(p for p in line.points if math.isfinite(p[1]))
        if points:
            drawn.append(Line(line.text, line.goodness, points))
    if not drawn:
        return "<p>No trial has reported a value yet.</p>"
    every = [point for line in drawn for point in line.points]
    x_axis = Axis(x_name, low=min(0.0, *(p[0] for p in every)), high=max(p[0] for p in every))
    # A curve that leaps up at the start would press all others flat: cut at the 98th percentile.
    heights = sorted(p[1] for p in every)
    y_axis = Axis(y_name, low=heights[0], high=heights[int(0.98 * (len(heights) - 1))])
    body = [
        f'<line class="axis" x1="{_LEFT}" y1="{_foot()}" x2="{WIDTH - _RIGHT}" y2="{_foot()}"/>',
        f'<line class="axis" x1="{_LEFT}" y1="{_TOP}" x2="{_LEFT}" y2="{_foot()}"/>',
    ]
    width = WIDTH - _LEFT - _RIGHT
    for line in drawn:
        points = tuple(
            (_LEFT + width * x_axis.place(x), _height(min(y_axis.place(y), 1.03)))
            for x, y in line.points
        )
        body.append(_polyline(Line(line.text, line.goodness, points)))
    for place, text in x_axis.ticks():
        body.append(_text(_LEFT + width * place, _foot() + 16, text, "middle", "tick"))
    for place, text in y_axis.ticks():
        body.append(_text(_LEFT - 6, _height(place) + 4, text, "end", "tick"))
    body.append(_text(WIDTH / 2, HEIGHT - 6, x_name, "middle", "name"))
    body.append(_text(_LEFT, _TOP - 14, y_name, "middle", "name"))
    return _svg(body, f"{y_name} over {x_name}")


def _foot() -> int:
    return HEIGHT - _BOTTOM


def _height(place: float) -> float:
    return _foot() - place * (_foot() - _TOP)


def _polyline(line: Line) -> str:
    stroke, title = colour(line.goodness), f"<title>{escape(line.text)}</title>"
    if len(line.points) == 1:
        (x, y), *_ = line.points
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{stroke}">{title}</circle>'
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line.points)
    return f'<polyline points="{points}" stroke="{stroke}">{title}</polyline>'


def _text(x: float, y: float, text: str, anchor: str, kind: str) -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _svg(body: Sequence[str], label: str) -> str:
    inside = "\n".join(body)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">\n'
        f"{inside}\n</svg>"
    )
