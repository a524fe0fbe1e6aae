"""A large kernel is read by a convolution where few rows ask for it."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.onnx.writer.passes import convolve_few_rows as module
from edgevit.formats.onnx.writer.passes.convolve_few_rows import convolve_few_rows
from edgevit.formats.onnx.writer.passes.table import FLOAT_PASSES

# The package calls the pass as its module is called.

RNG = np.random.default_rng(0)
CHANNELS, WIDTH = 16, 24


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Kernels of 16 x 24 count as large."""
    monkeypatch.setattr(module, "FEWEST_WEIGHTS", CHANNELS * WIDTH)


def write(rows: int | str, bias: str = ", b", outputs: str = "") -> str:
    return f"""net (float[{rows},{CHANNELS}] x) => (float[{rows},{WIDTH}] y{outputs}) {{
        y = Gemm(x, w{bias}) }}"""


CONSTANTS = {
    "w": RNG.normal(size=(CHANNELS, WIDTH)).astype(np.float32),
    "b": RNG.normal(size=WIDTH).astype(np.float32),
}


@pytest.mark.parametrize("bias", [", b", ""])
def test_one_row_needs_no_transposes(rewrite, bias):
    found = rewrite(convolve_few_rows, write(1, bias), CONSTANTS)
    assert found.operators == ["Reshape", "Conv", "Reshape"]


@pytest.mark.parametrize("bias", [", b", ""])
def test_a_few_rows_are_pixels_of_a_line(rewrite, bias):
    found = rewrite(convolve_few_rows, write(9, bias), CONSTANTS)
    assert found.operators == ["Reshape", "Transpose", "Conv", "Transpose", "Reshape"]


def test_a_row_of_biases_is_one_number_a_column(rewrite):
    table = {**CONSTANTS, "b": CONSTANTS["b"].reshape(1, WIDTH)}
    assert rewrite(convolve_few_rows, write(9), table).report.count == 1


def test_layers_that_follow_each_other_stay_channels_first(rewrite):
    text = f"""net (float[9,{CHANNELS}] x) => (float[9,{CHANNELS}] y) {{
        h = Gemm(x, w, b) g = Gelu(h) y = Gemm(g, v) }}"""
    table = {**CONSTANTS, "v": RNG.normal(size=(WIDTH, CHANNELS)).astype(np.float32)}
    found = rewrite(FLOAT_PASSES, text, table, atol=1e-4)
    assert found.operators.count("Conv") == 2
    assert found.operators.count("Transpose") == 2


def test_many_rows_stay(decline):
    decline(convolve_few_rows, write(module.MOST_ROWS + 1), CONSTANTS)


def test_small_kernels_stay(decline, monkeypatch):
    monkeypatch.setattr(module, "FEWEST_WEIGHTS", CHANNELS * WIDTH + 1)
    decline(convolve_few_rows, write(1), CONSTANTS)


def test_a_free_batch_stays(decline):
    decline(convolve_few_rows, write("n"), CONSTANTS, "number of rows")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("Gemm(", "Gemm<alpha=0.5>("), "scales or transposes"),
        (("x, w, b", "x, w, r"), "more than one number a column"),
    ],
    ids=str,
)
def test_what_a_convolution_cannot_say_stays(decline, change, reason):
    table = {**CONSTANTS, "r": RNG.normal(size=(9, WIDTH)).astype(np.float32)}
    decline(convolve_few_rows, write(9).replace(*change), table, reason)
