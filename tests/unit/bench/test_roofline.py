"""The machine's limits are measured in the same rounds, and a product is near its own limit."""

from __future__ import annotations

import pytest

from edgevit.bench import roofline
from edgevit.bench.cases import plan_cases
from edgevit.bench.products import write_product
from edgevit.core.benchmarks import BenchmarkResult
from edgevit.core.format import Format
from edgevit.core.target import Precision
from edgevit.reports.text import summarise_benchmark


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    """The roof's size matters to its rate only."""
    monkeypatch.setattr(roofline, "PRODUCT", (64, 256, 256))


def test_every_runtime_and_arithmetic_gets_a_roof_of_its_own(products, tmp_path):
    cases = plan_cases([*products.values()], threads=(1, 2))
    works = [roofline._count(case) for case in cases]
    found = roofline.plan_roofs(cases, works, tmp_path)
    assert {(case.runtime, case.threads, str(kind)) for kind, case in found} == {
        (runtime, threads, kind)
        for runtime in ("litert", "onnxruntime")
        for threads in (1, 2)
        for kind in ("float32", "int8")
    }
    assert len(found) == 8


def test_a_product_of_the_roof_s_own_size_is_at_its_limit(tmp_path):
    path = tmp_path / "own.tflite"
    write_product(path, Format.TFLITE, Precision.FLOAT32, *roofline.PRODUCT)
    result = roofline.run_with_roofline(plan_cases([path]), rounds=12)
    (row,) = result.rows
    assert len(result.roofline.roofs) == 1
    assert len(result.roofline.bandwidths) == 1
    limit = result.limit(row)
    # The same work in the same rounds: only the quartile against the median, and two processes.
    assert 0.3 < limit.compute_ms / row.median_ms.middle < 1.7
    (summary,) = summarise_benchmark(result)
    assert summary["macs"] == 64 * 256 * 256
    assert summary["share_of_limit"] == limit.milliseconds / row.median_ms.middle
    assert BenchmarkResult.from_text(result.to_text(), "r") == result


def test_no_path_of_the_machine_is_left_in_a_result(products):
    result = roofline.run_with_roofline(plan_cases([products["tflite"]]), rounds=1)
    assert [roof.measurement.case.file for roof in result.roofline.roofs] == [
        "product-float32.tflite"
    ]


def test_a_file_that_cannot_be_counted_is_measured_all_the_same(products, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    result = roofline.run_with_roofline(plan_cases([broken, products["tflite"]]), rounds=1)
    assert result.roofline.works[0] is None
    assert result.rows[0].failure
    assert result.rows[1].measured
    assert result.limit(result.rows[0]) is None


def test_bandwidth_is_of_the_order_of_memory():
    found = roofline.measure_bandwidth(2, 1 << 22)
    assert found.working_set_bytes == 1 << 22
    assert len(found.copy_ns) == roofline.COPIES
    assert 1e8 < found.bytes_per_second < 1e13
