"""XNNPACK's kernels put to the operators of the file."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.tflite.runtime.kernel_times import name_kernels
from edgevit.formats.tflite.runtime.nodes import FileNode
from edgevit.formats.tflite.runtime.profiler import (
    DELEGATED,
    EVENT_SIZES,
    OPERATOR,
    CallError,
    KernelTime,
    read_events,
)
from edgevit.formats.tflite.runtime.xnnpack_kernels import assign_kernels, fits


def test_what_fits_goes_one_to_one():
    kernels = ["Mean (ND) Reduce", "Subtract (ND)", "Fully Connected (NC, F32) GEMM", "Add (ND)"]
    assert assign_kernels(kernels, ["MEAN", "SUB", "FULLY_CONNECTED", "ADD"]) == [0, 1, 2, 3]


def test_a_conversion_is_counted_with_the_product_that_asks_for_it():
    kernels = ["Convert (NC, F32, QD8)", "Fully Connected (NC, QD8, F32, QC8W) GEMM", "GELU (NC)"]
    assert assign_kernels(kernels, ["FULLY_CONNECTED", "GELU"]) == [0, 0, 1]


def test_a_second_copy_stays_with_its_concatenation():
    kernels = ["Copy (NC, X32)", "Copy (NC, X32)", "Add (ND)"]
    assert assign_kernels(kernels, ["CONCATENATION", "ADD"]) == [0, 0, 1]


def test_an_operator_that_vanished_takes_no_time():
    kernels = ["Multiply (ND)", "Fully Connected (NC, F32) GEMM"]
    assert assign_kernels(kernels, ["MUL", "RESHAPE", "MUL", "FULLY_CONNECTED"])[1] == 3


def test_products_are_never_given_up_for_small_operators():
    """Five additions would outnumber one product; the product's kernel goes where it belongs."""
    kernels = ["Fully Connected (NC, F32) GEMM", *["Add (ND)"] * 5]
    found = assign_kernels(kernels, [*["ADD"] * 5, "FULLY_CONNECTED"])
    assert found[0] == 5


def test_a_pointwise_convolution_runs_as_a_product():
    kernels = ["Multiply (ND)", "Fully Connected (NC, F32) GEMM", "Add (ND)"]
    assert assign_kernels(kernels, ["MUL", "CONV_2D", "ADD"]) == [0, 1, 2]


def test_nothing_fits_nothing():
    assert assign_kernels(["Frobnicate (NC)"], ["ADD"]) == [None]
    assert assign_kernels(["Add (ND)"], []) == [None]
    assert assign_kernels([], ["ADD"]) == []


def test_an_unknown_kernel_fits_the_operator_of_its_name():
    assert fits("Floor (NC)", "FLOOR")
    assert fits("Reduce Max (ND)", "REDUCE_MAX")
    assert not fits("Floor (NC)", "CEIL")


NODES = [
    FileNode("in", "QUANTIZE", ""),
    FileNode("a/dense/MatMul", "FULLY_CONNECTED", "a/dense"),
    FileNode("a/act/Gelu", "GELU", "a/act"),
    FileNode("b/dense/MatMul", "FULLY_CONNECTED", "b/dense"),
]
PRODUCT = "Fully Connected (NC, QS8, QC8W) GEMM"
KERNELS = [
    KernelTime("QUANTIZE", False, 0, (1,)),
    KernelTime(PRODUCT, True, 0, (20,)),
    KernelTime("GELU", False, 2, (3,)),
    KernelTime(PRODUCT, True, 0, (40,)),
]


def test_each_part_of_the_graph_is_aligned_with_its_own_operators():
    found = name_kernels(KERNELS, NODES, [[1], [3]])
    assert [(node.op, node.layer, node.time_us) for node in found] == [
        ("QUANTIZE", "", (1,)),
        ("FULLY_CONNECTED", "a/dense", (20,)),
        ("GELU", "a/act", (3,)),
        ("FULLY_CONNECTED", "b/dense", (40,)),
    ]
    assert found[1].kernel == PRODUCT


def test_parts_of_equal_kernels_and_equal_times_are_told_apart():
    equal = [
        KernelTime(kernel.name, kernel.delegated, kernel.index, (5,))
        if kernel.delegated
        else kernel
        for kernel in KERNELS
    ]
    found = name_kernels(equal, NODES, [[1], [3]])
    assert [node.layer for node in found] == ["", "a/dense", "a/act", "b/dense"]


def test_parts_that_do_not_match_leave_the_kernels_without_a_layer():
    found = name_kernels(KERNELS, NODES, [[1, 3]])
    assert [node.layer for node in found] == ["", "", "a/act", ""]
    assert found[1].op == PRODUCT


def write_events(size: int, events: list[tuple[int, int, int]]) -> tuple[bytes, list]:
    """Events of a library whose structs have this size: (bytes, what must stay alive)."""
    import ctypes

    kept, data = [], bytearray(size * len(events))
    for number, (kind, index, elapsed) in enumerate(events):
        name = ctypes.create_string_buffer(f"kernel{number}".encode())
        kept.append(name)
        start = number * size
        fields = np.array([ctypes.addressof(name), kind, 77, elapsed], dtype="<u8").tobytes()
        data[start : start + 32] = fields
        data[start + size - 24 : start + size - 16] = index.to_bytes(8, "little")
    return bytes(data), kept


@pytest.mark.parametrize("size", EVENT_SIZES)
def test_events_are_read_whatever_their_size(size):
    events = [(OPERATOR, 5, 12), (DELEGATED, 0, 3), (DELEGATED, 1, 90), (1, 0, 200)]
    data, kept = write_events(size, events)
    assert read_events(data, len(events)) == [
        (f"kernel{number}", kind, index, elapsed)
        for number, (kind, index, elapsed) in enumerate(events)
    ]
    assert kept


def test_events_of_an_unknown_layout_are_refused():
    with pytest.raises(CallError, match="unknown layout"):
        read_events(b"\x03" * 400, 3)
