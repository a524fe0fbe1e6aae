"""Shifted groups of channels as one Gather of rows."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.onnx.writer.passes.gather_shift import gather_shift


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


# Five parts: left by two, right by one, up by one, diagonally, and the rest, which stays.
SHIFT = """net (float[n,5,6,12] x) => (float[n,5,6,12] y) {
    p0, p1, p2, p3, rest = Split<axis=3>(x, lengths)
    left = Pad(p0, pads0)
    right = Pad(p1, pads1, zero)
    up = Pad(p2, pads2)
    both = Pad(p3, pads3)
    y = Concat<axis=3>(left, right, up, both, rest) }"""
CONSTANTS = {
    "lengths": whole(2, 2, 2, 2, 4),
    "pads0": whole(0, 0, -2, 0, 0, 0, 2, 0),
    "pads1": whole(0, 0, 1, 0, 0, 0, -1, 0),
    "pads2": whole(0, -1, 0, 0, 0, 1, 0, 0),
    "pads3": whole(0, 3, -1, 0, 0, -3, 1, 0),
    "zero": np.zeros((), np.float32),
}


@pytest.mark.parametrize("batch", ["n", "1", "4"])
def test_a_shift_is_one_gather_of_rows(rewrite, batch):
    text = SHIFT.replace("[n,", f"[{batch},")
    found = rewrite(gather_shift, text, CONSTANTS)
    assert found.operators == ["Reshape", "Pad", "Gather", "Reshape"]
    rows = next(t for t in found.model.graph.initializer if t.name.endswith("/rows"))
    assert list(rows.dims) == [5 * 6 * 6]  # groups of two channels


def test_parts_in_another_order_arrive_in_that_order(rewrite):
    text = SHIFT.replace("(left, right, up, both, rest)", "(rest, both, left, up, right)")
    assert "Gather" in rewrite(gather_shift, text, CONSTANTS).operators


def test_a_sequence_of_one_axis_is_shifted_as_well(rewrite):
    text = """net (float[n,7,6] x) => (float[n,7,6] y) {
        a, b = Split<axis=2>(x, lengths)
        later = Pad(b, pads)
        y = Concat<axis=-1>(a, later) }"""
    constants = {"lengths": whole(3, 3), "pads": whole(0, 2, 0, 0, -2, 0)}
    assert "Gather" in rewrite(gather_shift, text, constants).operators


def test_a_part_that_moves_out_altogether_is_zeros(rewrite):
    constants = {**CONSTANTS, "pads0": whole(0, 0, -6, 0, 0, 0, 6, 0)}
    assert "Gather" in rewrite(gather_shift, SHIFT, constants).operators


def test_the_split_stays_if_others_read_it(rewrite):
    text = SHIFT.replace("=> (", "=> (float[n,5,6,2] p0, ")
    assert "Split" in rewrite(gather_shift, text, CONSTANTS).operators


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"zero": np.ones((), np.float32)}, "other than zeros"),
        (
            {f"pads{number}": whole(0, 0, 1, 0, 0, 0, 0, 0) for number in range(4)},
            "changes its size",
        ),
    ],
)
def test_what_is_no_shift_stays(decline, changed, reason):
    text = SHIFT
    if "pads0" in changed:
        text = text.replace("5,6,12] y", "5,7,12] y").replace("rest) }", "more) }")
        text = text.replace("y = Concat", "more = Pad(rest, pads0)\n    y = Concat")
    decline(gather_shift, text, {**CONSTANTS, **changed}, reason)


def test_edges_that_are_repeated_stay(decline):
    text = SHIFT.replace("Pad(p0", 'Pad<mode="edge">(p0').replace("left = ", "left = ")
    constants = {**CONSTANTS, "pads0": whole(0, 0, 0, 0, 0, 0, 0, 0)}
    decline(gather_shift, text, constants, "other than zeros")


def test_channels_that_move_stay(decline):
    constants = {**CONSTANTS, "pads0": whole(0, 0, 0, 1, 0, 0, 0, -1)}
    decline(gather_shift, SHIFT, constants, "the batch or the channels")


def test_lengths_that_are_not_fixed_stay(decline):
    text = SHIFT.replace("[n,5,6,", "[2,m,6,")
    decline(gather_shift, text, CONSTANTS, "is not fixed")


def test_parts_of_two_values_are_no_shift(decline):
    text = """net (float[n,5,4] x, float[n,5,4] z) => (float[n,5,8] y) {
        a, b = Split<axis=2>(x, lengths)
        c, d = Split<axis=2>(z, lengths)
        e = Pad(d, pads)
        y = Concat<axis=2>(a, b, c, e) }"""
    constants = {"lengths": whole(2, 2), "pads": whole(0, 1, 0, 0, -1, 0)}
    decline(gather_shift, text, constants, None)


def test_parts_joined_without_a_shift_stay(decline):
    text = """net (float[n,5,4] x) => (float[n,5,4] y) {
        a, b = Split<axis=2>(x, lengths)
        y = Concat<axis=2>(b, a) }"""
    decline(gather_shift, text, {"lengths": whole(2, 2)}, None)


def test_parts_that_are_missing_are_no_shift(decline):
    text = SHIFT.replace("12] y", "8] y").replace("both, rest)", "both)")
    decline(gather_shift, text, CONSTANTS, None)
