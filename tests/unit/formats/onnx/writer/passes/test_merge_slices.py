"""Slices of pads of slices, in the fewest nodes."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.onnx.writer.passes.merge_slices import join_slices, merge_slices


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def test_a_slice_of_a_slice_is_one(rewrite):
    text = """net (float[2,9,8] x) => (float[2,3,2] y) {
        a = Slice(x, a0, a1, a2)  y = Slice(a, b0, b1, b2) }"""
    constants = {
        "a0": whole(1, 2),
        "a1": whole(8, 7),
        "a2": whole(1, 2),
        "b0": whole(2, -3),
        "b1": whole(5, -1),
        "b2": whole(1, 2),
    }
    assert rewrite(merge_slices, text, constants).operators == ["Slice"]


SHIFT = """net (float[n,5,6,8] x) => (float[n,5,6,8] y) {
    moving = Slice(x, zero, four, last)
    rest = Slice(x, four, end, last)
    padded = Pad(moving, pads)
    left = Slice(padded, l0, l1, space)
    up = Slice(padded, u0, u1, space)
    y = Concat<axis=3>(left, up, rest) }"""
CONSTANTS = {
    "zero": whole(0),
    "four": whole(4),
    "end": whole(2**31 - 1),
    "last": whole(3),
    "pads": whole(0, 1, 1, 0, 0, 1, 1, 0),
    "space": whole(1, 2, 3),
    "l0": whole(1, 2, 0),
    "l1": whole(6, 8, 2),
    "u0": whole(2, 1, 2),
    "u1": whole(7, 7, 4),
}


def test_a_shift_is_one_split_one_pad_a_group_and_one_concat(rewrite):
    found = rewrite((merge_slices, join_slices), SHIFT, CONSTANTS)
    assert found.operators == ["Split", "Pad", "Pad", "Concat"]


def test_a_pad_of_another_mode_stays(decline):
    text = SHIFT.replace("Pad(moving", 'Pad<mode="edge">(moving')
    decline(merge_slices, text, CONSTANTS, reason="not of a constant")


def test_a_slice_of_padding_alone_stays(decline):
    constants = {**CONSTANTS, "pads": whole(0, 1, 6, 0, 0, 1, 1, 0), "l1": whole(6, 6, 2)}
    constants["l0"] = whole(1, 0, 0)
    decline(
        merge_slices,
        SHIFT.replace("Slice(padded, u0, u1, space)", "Slice(padded, l0, l1, space)"),
        constants,
        reason="nothing but padding",
    )


def test_steps_stay(decline):
    text = """net (float[2,9] x) => (float[2,3] y) {
        a = Slice(x, zero, nine, one)  y = Slice(a, zero, nine, one, three) }"""
    constants = {"zero": whole(0), "nine": whole(9), "one": whole(1), "three": whole(3)}
    decline(merge_slices, text, constants, reason="takes steps")


@pytest.mark.parametrize("last_start", [3, 5])
def test_parts_with_gaps_or_overlaps_are_no_split(decline, last_start):
    text = f"""net (float[2,8] x) => (float[2,4] a, float[2,{8 - last_start}] b) {{
        a = Slice(x, zero, four, one)  b = Slice(x, start, eight, one) }}"""
    constants = {
        "zero": whole(0),
        "four": whole(4),
        "one": whole(1),
        "start": whole(last_start),
        "eight": whole(8),
    }
    decline(join_slices, text, constants, reason="do not add up")
