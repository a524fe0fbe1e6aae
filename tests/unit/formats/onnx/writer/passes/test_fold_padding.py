"""Padded zeros are the padding of the convolution or the pooling behind them."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.onnx.writer.passes.fold_padding import fold_padding

RNG = np.random.default_rng(0)
KERNEL = {"w": RNG.normal(size=(5, 3, 3, 3)).astype(np.float32)}
WIDTHS = {"e": np.array([0, 0, 0, 1, 0, 0, 2, 1], np.int64)}


def net(layer: str, pad: str = "Pad(x, e)", out: str = "2,5,6,9") -> str:
    return f"net (float[2,3,6,9] x) => (float[{out}] y) {{ p = {pad}  y = {layer} }}"


@pytest.mark.parametrize(
    ("layer", "out"),
    [
        ("Conv(p, w)", "2,5,6,9"),
        ("Conv<pads=[1,0,1,2]>(p, w)", "2,5,8,11"),
        ('Conv<auto_pad="VALID">(p, w)', "2,5,6,9"),
        ("AveragePool<kernel_shape=[3,3]>(p)", "2,3,6,9"),
    ],
)
def test_a_pad_becomes_pads(rewrite, layer, out):
    found = rewrite(fold_padding, net(layer, out=out), {**KERNEL, **WIDTHS})
    assert found.operators == [layer.split("(")[0].split("<")[0]]


@pytest.mark.parametrize(
    ("text", "constants", "reason"),
    [
        (net("Conv(p, w)", "Pad(x, e, one)"), {"one": np.float32(1)}, "constant zeros"),
        (net("Conv(p, w)", 'Pad<mode="edge">(x, e)'), {}, "constant zeros"),
        (
            net("Conv<group=1>(p, v)", out="2,5,5,9"),
            {
                "e": np.array([0, 1, 0, 0, 0, 0, 1, 2], np.int64),
                "v": KERNEL["w"].repeat(2, 1)[:, :4],
            },
            "axes of space alone",
        ),
        (
            net("Conv(p, w)", out="2,5,3,9"),
            {"e": np.array([0, 0, 0, 1, 0, 0, -1, 1], np.int64)},
            "takes away",
        ),
        (
            net("AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(p)", out="2,3,8,11"),
            {},
            "pads by itself",
        ),
        (
            net("AveragePool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(p)", out="2,3,4,5"),
            {},
            "rounds up",
        ),
        (
            "net (float[2,3,6,9] x) => (float[2,5,6,9] y, float[2,3,8,11] z) "
            "{ p = Pad(x, e)  y = Conv(p, w)  z = Neg(p) }",
            {},
            "something else",
        ),
    ],
)
def test_other_pads_stay(decline, text, constants, reason):
    decline(fold_padding, text, {**KERNEL, **WIDTHS, **constants}, reason=reason)
