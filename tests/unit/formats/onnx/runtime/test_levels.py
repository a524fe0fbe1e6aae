"""Which values of an .onnx graph lie on levels."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from edgevit.formats.onnx.runtime.levels import find_levels  # noqa: E402

STEPS = np.array([0.1, 0.2, 0.5], np.float32)
ZEROS = np.array([0, 128, 255], np.uint8)


def levels_behind(*nodes: tuple[str, list[str]], steps=STEPS, zeros=ZEROS, **constants):
    """Of the last node's output: each reads the output before it, and constants by name."""
    made, before = [], "x"
    for place, (kind, names) in enumerate((("DequantizeLinear", ["steps", "zeros"]), *nodes)):
        made.append(helper.make_node(kind, [before, *names], [f"t{place}"]))
        before = f"t{place}"
    stored = {"steps": steps, "zeros": zeros, **constants}
    return find_levels(
        helper.make_graph(
            made,
            "graph",
            [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 3, 2])],
            [helper.make_tensor_value_info(before, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
        )
    ).get(before)


def test_channels_keep_their_levels_while_they_move():
    found = levels_behind(("Transpose", []), ("Squeeze", []))
    np.testing.assert_allclose(found.step, STEPS)
    np.testing.assert_allclose(found.low, [0.0, -25.6, -127.5], rtol=1e-6)
    np.testing.assert_allclose(found.high, [25.5, 25.4, 0.0], rtol=1e-6)


def test_a_factor_of_each_channel_scales_its_levels():
    factors = np.array([[2.0], [-1.0], [4.0]], np.float32)  # along the second axis
    found = levels_behind(("Mul", ["factors"]), factors=factors)
    np.testing.assert_allclose(found.step, [0.2, 0.2, 2.0], rtol=1e-6)
    np.testing.assert_allclose(found.low, [0.0, -25.4, -510.0], rtol=1e-6)
    np.testing.assert_allclose(found.high, [51.0, 25.6, 0.0], rtol=1e-6)


def test_one_grid_becomes_one_for_each_channel():
    found = levels_behind(
        ("Mul", ["factors"]),
        ("Add", ["offset"]),
        steps=np.float32(0.5),
        zeros=np.uint8(0),
        factors=STEPS,
        offset=np.float32(1.0),
    )
    np.testing.assert_allclose(found.step, 0.5 * STEPS)
    np.testing.assert_allclose(found.low, np.ones(3))


@pytest.mark.parametrize(
    ("kind", "ends", "low", "high"),
    [("Relu", {}, [0, 0, 0], [25.5, 25.4, 0]), ("Clip", {"a": 0, "b": 6}, [0, 0, 0], [6, 6, 0])],
)
def test_what_an_activation_cuts_off_is_no_level(kind, ends, low, high):
    stored = {name: np.float32(value) for name, value in ends.items()}
    found = levels_behind((kind, list(stored)), **stored)
    np.testing.assert_allclose((found.low, found.high), (low, high), rtol=1e-6)


@pytest.mark.parametrize("kind", ["Sigmoid", "Exp"])
def test_behind_anything_else_there_are_no_levels(kind):
    assert levels_behind((kind, [])) is None


def test_a_factor_that_is_no_channels_own_ends_them():
    factors = np.ones((3, 2), np.float32)
    assert levels_behind(("Mul", ["factors"]), factors=factors) is None


def test_where_channels_are_others_one_grid_covers_all():
    found = levels_behind().match(2)
    assert (found.step, found.low, found.high) == pytest.approx((0.5, -127.5, 25.5))
