"""Instruction counts: exact where the runtime is, with a clear line where they cannot be had."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from edgevit.base.errors import MissingToolError
from edgevit.bench import instructions
from edgevit.bench.cases import plan_cases
from edgevit.bench.instruction_worker import RUNNING_ON_VALGRIND, open_requests
from edgevit.bench.products import write_product
from edgevit.core.format import Format
from edgevit.core.measurements import InstructionCount
from edgevit.core.target import Precision

needs_valgrind = pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is missing")


@needs_valgrind
def test_litert_takes_exactly_as_many_instructions_each_time(products, tmp_path):
    (case,) = plan_cases([products["tflite-int8"]])
    first, second = (instructions.count_instructions(case) for _ in range(2))
    assert first.failure == ""
    assert first.per_inference == second.per_inference > 1000


@pytest.mark.long
@needs_valgrind
def test_twice_the_rows_take_about_twice_the_instructions(tmp_path):
    counts = []
    for rows in (64, 128):
        path = tmp_path / f"{rows}.tflite"
        write_product(path, Format.TFLITE, Precision.FLOAT32, rows, 128, 128)
        counts.append(instructions.count_instructions(plan_cases([path])[0]).per_inference)
    assert 1.8 < counts[1] / counts[0] < 2.2


@pytest.mark.long
@needs_valgrind
def test_onnxruntime_repeats_within_half_a_percent(tmp_path):
    path = tmp_path / "p.onnx"
    # A million instructions and more, as any network has: onnxruntime's own book-keeping, which is
    # what differs, takes a thousand or two.
    write_product(path, Format.ONNX, Precision.FLOAT32, 256, 256, 256)
    (case,) = plan_cases([path])
    counts = [instructions.count_instructions(case).per_inference for _ in range(2)]
    assert max(counts) <= 1.005 * min(counts)


@needs_valgrind
def test_a_file_that_cannot_be_run_is_a_noted_failure(tmp_path):
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"no model")
    found = instructions.count_instructions(plan_cases([path])[0])
    assert "LiteRT cannot load it" in found.failure
    assert found.per_inference is None


@needs_valgrind
def test_one_that_takes_too_long_is_given_up(products):
    (case,) = plan_cases([products["tflite"]])
    found = instructions.count_instructions(case, limit_s=0.2)
    assert "longer than 0.2 s" in found.failure


@needs_valgrind
def test_what_cannot_be_counted_says_so(products, tmp_path):
    (case,) = plan_cases([products["tflite"]])
    assert "one thread" in instructions.count_instructions(replace(case, threads=2)).failure
    other = replace(case, runtime="tensorflow")
    assert "only TFLite and ONNX" in instructions.count_instructions(other).failure


def test_a_missing_valgrind_is_a_clear_line(monkeypatch):
    monkeypatch.setattr(instructions.platform, "system", lambda: "Linux")
    monkeypatch.setattr(instructions.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(instructions.shutil, "which", lambda name: None)
    with pytest.raises(MissingToolError, match="apt install valgrind"):
        instructions.find_valgrind()
    monkeypatch.setattr(instructions.platform, "machine", lambda: "aarch64")
    with pytest.raises(MissingToolError, match="x86-64"):
        instructions.find_valgrind()


@pytest.mark.skipif(instructions.platform.machine() != "x86_64", reason="machine code of x86-64")
def test_requests_outside_valgrind_do_nothing():
    assert open_requests()(RUNNING_ON_VALGRIND) == 0


def test_a_count_is_the_difference_of_both_totals():
    assert InstructionCount(4, total=1500, total_of_twice=2700).per_inference == 300
    assert InstructionCount(4, failure="no").per_inference is None
