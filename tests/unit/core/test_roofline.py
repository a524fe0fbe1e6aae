"""The limit is the slower of arithmetic and memory, and unknown where anything is unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgevit.core.measurements import BenchmarkCase, Measurement
from edgevit.core.roofline import Bandwidth, Cost, Roof, Roofline

CASE = BenchmarkCase("net.onnx", "onnxruntime")
ROW = Measurement(CASE, "", 0, batch=1, latency_ns=((1_000_000,) * 4,))
# 1000 MACs in 1 us: 1 GMAC/s in float32; twice that in int8. 4 KB in 1 us: 4 GB/s.
ROOFLINE = Roofline(
    roofs=(
        Roof("float32", 1000, replace(ROW, latency_ns=((1000,) * 5,))),
        Roof("int8", 2000, replace(ROW, latency_ns=((1000,) * 5,))),
    ),
    bandwidths=(Bandwidth(1, 4000, (1000,) * 3), Bandwidth(1, 4_000_000, (4_000_000,) * 3)),
    works=(),
)


def test_arithmetic_of_several_kinds_adds_up():
    limit = ROOFLINE.limit(ROW, Cost({"float32": 1_000_000, "int8": 4_000_000}, 100, 100))
    assert limit.compute_ms == pytest.approx(1.0 + 2.0)
    assert (limit.milliseconds, limit.bound) == (limit.compute_ms, "compute")


def test_bytes_are_limited_by_the_bandwidth_of_a_working_set_of_their_size():
    small = ROOFLINE.limit(ROW, Cost({"int8": 1}, 3000, 1000))
    assert small.memory_ms == pytest.approx(0.001)
    large = ROOFLINE.limit(ROW, Cost({"int8": 1}, 3_000_000, 1_000_000))
    assert large.memory_ms == pytest.approx(4.0)
    assert (large.milliseconds, large.bound) == (large.memory_ms, "memory")


@pytest.mark.parametrize(
    ("row", "work"),
    [
        (ROW, None),
        (ROW, Cost({}, 10, 10)),
        (ROW, Cost({"int8": 5}, 10, 10, uncounted=("Einsum",))),
        (ROW, Cost({"float16": 5}, 10, 10)),
        (replace(ROW, case=replace(CASE, threads=2)), Cost({"int8": 5}, 10, 10)),
        (replace(ROW, case=replace(CASE, runtime="litert")), Cost({"int8": 5}, 10, 10)),
    ],
    ids=["no work", "no MAC", "uncounted", "no such rate", "other threads", "other runtime"],
)
def test_what_is_unknown_has_no_limit(row, work):
    assert ROOFLINE.limit(row, work) is None


def test_a_rate_is_that_of_undisturbed_inferences():
    disturbed = replace(ROW, latency_ns=((1000, 1000, 90_000), (1000, 80_000, 1000)))
    assert Roof("int8", 1000, disturbed).macs_per_second == pytest.approx(1e9)
