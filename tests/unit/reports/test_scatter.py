"""The scatter plot: where points, ticks and labels go."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from edgevit.reports.page import draw_scatter
from edgevit.reports.scatter import (
    Box,
    Point,
    find_frontier,
    linear_axis,
    log_axis,
    place_labels,
)
from edgevit.reports.view import Plot


def test_the_frontier_holds_what_nothing_beats():
    points = [Point("a", 1, 80), Point("b", 2, 84), Point("c", 3, 83), Point("d", 4, 85)]
    assert [point.label for point in find_frontier(points)] == ["a", "b", "d"]
    same = [Point("a", 1, 80), Point("b", 1, 82)]
    assert [point.label for point in find_frontier(same)] == ["b"]


@pytest.mark.parametrize("values", [(84.2, 84.25), (10.0,), (0.0, 100.0), (83.49, 84.95, 84.2)])
def test_a_linear_axis_has_round_ticks_around_its_values(values):
    axis = linear_axis(values)
    assert axis.low < min(values)
    assert axis.high > max(values)
    assert 2 <= len(axis.ticks) <= 7
    assert all(0 <= axis.place(tick) <= 1 for tick in axis.ticks)
    assert all(len(f"{tick:g}") <= 6 for tick in axis.ticks)


def test_equal_ratios_are_equal_lengths_on_a_logarithmic_axis():
    axis = log_axis([0.8, 40.0])
    assert axis.place(2) - axis.place(1) == pytest.approx(axis.place(20) - axis.place(10))
    assert {1, 2, 5, 10, 20} <= set(axis.ticks)


def test_labels_cover_neither_each_other_nor_leave_the_frame():
    frame = Box(58, 16, 1000, 400)
    rng = np.random.default_rng(0)
    for _ in range(20):
        centres = [
            (float(x), float(y), 10.0) for x, y in rng.uniform((150, 60), (900, 340), (8, 2))
        ]
        boxes = place_labels(centres, [f"tflite-int8-{n}" for n in range(8)], frame)
        for number, box in enumerate(boxes):
            assert frame.left <= box.left
            assert box.right <= frame.right
            assert all(box.overlap(other) == 0 for other in boxes[number + 1 :])


def test_points_on_top_of_each_other_still_have_readable_labels():
    boxes = place_labels([(300.0, 200.0, 12.0)] * 5, ["one", "two", "three", "four", "five"], FRAME)
    for number, box in enumerate(boxes):
        assert all(box.overlap(other) == 0 for other in boxes[number + 1 :])


FRAME = Box(58, 16, 700, 400)


@pytest.mark.parametrize("width", [340, 1020])
def test_the_drawing_is_whole_xml_and_stays_inside(width):
    points = (
        Point("a & <b>", 2.8, 84.2, 46.9, (2.7, 2.9), (83.5, 84.9)),
        Point('int8 "x"', 0.84, 84.25, 12.3, (0.8, 0.9), (83.5, 85.0)),
        Point("huge", 30.0, 80.0, 100.0),
    )
    text = draw_scatter(Plot("", "", points, "ms", "%"), width, 400)
    root = ElementTree.fromstring(text)
    circles = [node for node in root if node.get("class") == "point"]
    assert len(circles) == 3
    radii = [float(node.get("r", 0)) for node in circles]
    assert radii[1] < radii[0] < radii[2]
    for node in circles:
        assert 0 < float(node.get("cx", -1)) < width
        assert 0 < float(node.get("cy", -1)) < 400
    assert [node.text for node in root if node.get("class") == "label"] == [p.label for p in points]
    assert float(circles[1].get("cx", 0)) < float(circles[0].get("cx", 0))  # faster: further left
    assert float(circles[2].get("cy", 0)) > float(circles[0].get("cy", 0))  # worse: further down
    assert not re.search("nan|inf", text)


def test_one_point_is_drawn_as_well():
    ElementTree.fromstring(
        draw_scatter(Plot("", "", (Point("only", 5.0, 50.0),), "ms", "%"), 340, 300)
    )
