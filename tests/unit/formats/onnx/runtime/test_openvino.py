"""Which files OpenVINO may not make integers of: it would end the process."""

from __future__ import annotations

import pytest

onnx = pytest.importorskip("onnx")

from edgevit.formats.onnx.runtime.openvino import gathers_rounded_values  # noqa: E402


def graph(*nodes: tuple[str, list[str], str]):
    make = onnx.helper.make_node
    made = [make(op, inputs, [output]) for op, inputs, output in nodes]
    return onnx.helper.make_graph(made, "net", [], [])


ROUNDED = ("QuantizeLinear", ["images", "scale", "zero"], "levels")
GATHERED = ("Gather", ["levels", "places"], "moved")


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ((ROUNDED, GATHERED), True),
        ((ROUNDED,), False),
        ((("Relu", ["images"], "levels"), GATHERED), False),  # a float file
        ((ROUNDED, ("Gather", ["table", "levels"], "moved")), False),  # rows of a constant
    ],
)
def test_only_a_gather_of_computed_values_in_a_rounded_file_counts(nodes, expected):
    assert gathers_rounded_values(graph(*nodes)) is expected
