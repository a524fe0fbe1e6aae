"""The layout of a scatter plot, in pixels; templates/scatter.svg.j2 draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FONT = 13  # pixels
LETTER = 0.58  # width of a letter, in units of the font's size
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 58, 22, 16, 52
RADII = (6.0, 17.0)  # of the smallest and the largest file, pixels
LOG_FROM = 5.0  # largest over smallest value from which an axis is logarithmic
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Point:
    """One file in the plot.

    Attributes:
        label: beside the point.
        x: right is worse (time, size).
        y: up is better (accuracy).
        size: what the area stands for; 0 for all alike.
        x_range: interval in x, if known.
        y_range: interval in y, if known.
    """

    label: str
    x: float
    y: float
    size: float = 0.0
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)


@dataclass(frozen=True)
class Axis:
    """Values to pixels along one axis.

    Attributes:
        low: first value.
        high: last value.
        ticks: values with a line.
        log: whether equal ratios are equal lengths.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Share of the way from low to high."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def linear_axis(values: Sequence[float], wanted: int = 5) -> Axis:
    """An axis around values, with round ticks."""
    low, high = min(values), max(values)
    room = (high - low) * 0.12 or max(abs(high) * 0.02, 0.5)
    low, high = low - room, high + room
    raw = (high - low) / wanted
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(scale * step for step in STEPS if scale * step >= raw)
    first = math.ceil(low / step)
    ticks = [number * step for number in range(first, math.floor(high / step) + 1)]
    return Axis(low, high, tuple(ticks))


def log_axis(values: Sequence[float]) -> Axis:
    """A logarithmic axis around positive values, with ticks at 1, 2 and 5 times powers of ten."""
    low, high = min(values) / 1.35, max(values) * 1.35
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return Axis(low, high, tuple(tick for tick in ticks if low <= tick <= high), log=True)


def find_frontier(points: Sequence[Point]) -> list[Point]:
    """Points that no other beats both ways: at most as far right and at least as high."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -point.y)):
        if not best or point.y > best[-1].y:
            best.append(point)
    return best


def place_labels(
    centres: Sequence[tuple[float, float, float]], labels: Sequence[str], frame: Box
) -> list[Box]:
    """A box for each label, beside its point, where it covers least of the others.

    Args:
        centres: (x, y, radius) of each point, pixels.
        labels: their texts.
        frame: that the labels must stay in.
    """
    discs = [Box(x - r, y - r, x + r, y + r) for x, y, r in centres]
    placed: list[Box] = []
    for (x, y, radius), label in zip(centres, labels, strict=True):
        width, height = len(label) * FONT * LETTER, FONT * 1.25
        best, best_cost = None, math.inf
        for ring in range(6):
            gap = radius + 5 + ring * 14
            for down, (left, top) in enumerate(
                (
                    (x + gap, y - height / 2),
                    (x - gap - width, y - height / 2),
                    (x - width / 2, y - gap - height),
                    (x - width / 2, y + gap),
                    (x + gap * 0.7, y - gap * 0.7 - height),
                    (x + gap * 0.7, y + gap * 0.7),
                    (x - gap * 0.7 - width, y - gap * 0.7 - height),
                    (x - gap * 0.7 - width, y + gap * 0.7),
                )
            ):
                box = Box(left, top, left + width, top + height)
                covered = sum(box.overlap(other) for other in (*placed, *discs))
                outside = width * height - box.overlap(frame)
                cost = 4 * covered + 8 * outside + ring * 9 + down
                if cost < best_cost:
                    best, best_cost = box, cost
        assert best is not None
        placed.append(best)
    return placed


def place_scatter(points: Sequence[Point], width: int, height: int) -> dict[str, Any]:
    """What the template needs, in pixels.

    Args:
        points: at least one.
        width: of the drawing.
        height: likewise.

    Returns:
        width, height and frame; ticks of both axes as (position, text), an empty text where there
        is no room; the frontier's corners; "marks", one for each point.
    """
    xs = [end for point in points for end in (point.x, *(point.x_range or ()))]
    ys = [end for point in points for end in (point.y, *(point.y_range or ()))]
    wide_range = min(xs) > 0 and max(xs) / min(xs) > LOG_FROM
    x_axis = log_axis(xs) if wide_range else linear_axis(xs)
    y_axis = linear_axis(ys)
    frame = Box(MARGIN_LEFT, MARGIN_TOP, width - MARGIN_RIGHT, height - MARGIN_BOTTOM)

    def at_x(value: float) -> float:
        return frame.left + x_axis.place(value) * (frame.right - frame.left)

    def at_y(value: float) -> float:
        return frame.bottom - y_axis.place(value) * (frame.bottom - frame.top)

    largest = max(point.size for point in points)
    centres = []
    for point in points:
        share = math.sqrt(point.size / largest) if largest else 0.0
        centres.append((at_x(point.x), at_y(point.y), RADII[0] + share * (RADII[1] - RADII[0])))
    inner = Box(frame.left + 2, frame.top, frame.right + MARGIN_RIGHT - 4, frame.bottom - 2)
    boxes = place_labels(centres, [point.label for point in points], inner)
    marks = []
    for point, (x, y, radius), box in zip(points, centres, boxes, strict=True):
        end = min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
        marks.append(
            {
                "point": point,
                "centre": (x, y),
                "radius": radius,
                "across": [at_x(value) for value in point.x_range or ()],
                "upright": [at_y(value) for value in point.y_range or ()],
                "box": box,
                "lead": end if math.hypot(end[0] - x, end[1] - y) > radius + 8 else None,
            }
        )
    return {
        "width": width,
        "height": height,
        "frame": frame,
        "x_ticks": _thin_out([(at_x(tick), f"{tick:g}") for tick in x_axis.ticks]),
        "y_ticks": [(at_y(tick), f"{tick:g}") for tick in y_axis.ticks],
        "frontier": [(at_x(point.x), at_y(point.y)) for point in find_frontier(points)],
        "marks": marks,
    }


def _thin_out(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Ticks from left to right without the texts that would touch the one before."""
    thinned, room = [], -math.inf
    for x, text in ticks:
        half = len(text) * FONT * LETTER / 2
        fits = x - half > room
        thinned.append((x, text if fits else ""))
        room = x + half + 8 if fits else room
    return thinned
