"""Wide 3 x 3 convolutions by minimal filtering."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from edgevit.formats.onnx.writer.passes.cancel_transposes import cancel_transposes
from edgevit.formats.onnx.writer.passes.winograd_convolution import (
    pixel_rows,
    tile_rows,
    winograd_convolution,
)

CHANNELS, WIDTH = 128, 160
TEXT = """net (float[n,{h},{w},128] x) => (float[n,{h},{w},160] y) {{
    a = Transpose<perm=[0,3,1,2]>(x)
    b = Conv<strides=[1,1], dilations=[1,1], pads=[1,1,1,1], group=1>(a, kernel{bias})
    y = Transpose<perm=[0,2,3,1]>(b) }}"""


def constants_of(bias: bool = True, channels: int = CHANNELS) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    kernel = rng.normal(0, 0.03, (WIDTH, channels, 3, 3)).astype(np.float32)
    found = {"kernel": kernel}
    return {**found, "bias": rng.normal(size=WIDTH).astype(np.float32)} if bias else found


@pytest.mark.parametrize(("h", "w"), [(4, 6), (5, 3), (1, 2), (1, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_sixteen_products(rewrite, h, w, bias):
    text = TEXT.format(h=h, w=w, bias=", bias" if bias else "")
    found = rewrite((winograd_convolution, cancel_transposes), text, constants_of(bias), atol=2e-5)
    kinds = Counter(found.operators)
    assert kinds["MatMul"] == 16 + 2
    assert kinds["Add"] == bias
    assert not {"Conv", "Transpose"} & set(kinds)


def test_channels_first_around_it_cost_a_transpose_each(rewrite):
    text = """net (float[n,128,4,6] x) => (float[n,160,4,6] y) {
        y = Conv<strides=[1,1], dilations=[1,1], pads=[1,1,1,1]>(x, kernel) }"""
    found = rewrite((winograd_convolution, cancel_transposes), text, constants_of(False), atol=2e-5)
    assert Counter(found.operators)["Transpose"] == 2


def test_a_fixed_batch_stays_fixed(rewrite):
    text = TEXT.format(h=4, w=4, bias=", bias").replace("[n,", "[2,")
    assert rewrite(winograd_convolution, text, constants_of(), atol=2e-5).report.count == 1


def test_tiles_overlap_by_two_and_every_pixel_has_its_place():
    rows = tile_rows(4, 4).reshape(4, 4, 2, 2)
    assert rows[0, 0, 0, 0] == 16  # above and left of the image: zero
    assert rows[1, 1, 0, 0] == 0
    assert rows[1, 3, 0, 0] == rows[1, 1, 0, 1] == 2
    assert sorted(pixel_rows(4, 6)) == list(range(24))
    assert len(set(pixel_rows(5, 3))) == 15


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("strides=[1,1]", "strides=[2,2]", "of another kind"),
        ("dilations=[1,1]", "dilations=[2,2]", "of another kind"),
        ("pads=[1,1,1,1]", "pads=[0,0,1,1]", "of another kind"),
    ],
)
def test_other_convolutions_stay(decline, old, new, reason):
    text = TEXT.format(h=4, w=4, bias="").replace(old, new)
    shape = text.partition("=> (float[n,")[2].partition("]")[0]
    decline(winograd_convolution, text.replace(f"[n,{shape}] y", "[n,a,b,c] y"),
            constants_of(False), reason)  # fmt: skip


def test_narrow_convolutions_stay(decline):
    text = TEXT.format(h=4, w=4, bias="").replace("w,128]", "w,96]").replace("4,128]", "4,96]")
    decline(winograd_convolution, text, constants_of(False, 96), "few channels")


def test_groups_and_other_kernels_are_none_of_its_business(decline):
    text = TEXT.format(h=4, w=4, bias="").replace("group=1", "group=2").replace("4,128]", "4,256]")
    decline(winograd_convolution, text, constants_of(False), None)


def test_an_image_of_free_size_stays(decline):
    text = TEXT.format(h="h", w="w", bias="").replace("[n,", "[2,")
    decline(winograd_convolution, text, constants_of(False), "is not fixed")
