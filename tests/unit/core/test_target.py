"""The table of targets: its names, its lists and its tolerances."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.base.errors import UnknownNameError
from edgevit.core.target import TARGETS, Format, Precision, find_target, find_targets

NAMES = (
    "savedmodel",
    "tflite-float32",
    "tflite-float16",
    "tflite-dynamic",
    "tflite-int8",
    "tflite-mixed",
    "tflite-int16x8",
    "tflite-dynamic-int4",
    "onnx-float32",
    "onnx-float16",
    "onnx-dynamic",
    "onnx-int8",
)


def test_the_table_has_exactly_the_documented_names_in_order():
    assert tuple(TARGETS) == NAMES


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_row_is_found_by_its_own_name_and_names_its_file(target):
    assert find_target(target.name) is target
    assert target.file_name("net") == f"net-{target.name}{target.suffix}"
    assert target.name.startswith(str(target.format))


def test_no_two_targets_would_write_the_same_file():
    files = [target.file_name("net") for target in TARGETS.values()]
    assert len(set(files)) == len(files)


def test_int8_targets_need_calibration_and_tflite_is_integers_throughout():
    integer = [target.name for target in TARGETS.values() if target.integer_only]
    calibrated = [target.name for target in TARGETS.values() if target.needs_calibration]
    assert integer == ["tflite-int8", "tflite-int16x8"]
    assert calibrated == ["tflite-int8", "tflite-mixed", "tflite-int16x8", "onnx-int8"]
    assert find_target("tflite-int8").precision is Precision.INT8


def test_float32_targets_allow_no_other_class_and_a_ten_thousandth_at_most():
    for target in TARGETS.values():
        if target.precision is Precision.FLOAT32:
            assert target.tolerance.max_abs <= 1e-4
            assert target.tolerance.min_agreement == 1.0


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_tolerance_is_finite_and_gives_its_reason(target):
    limits = [target.tolerance.max_relative, target.tolerance.min_agreement]
    assert np.isfinite(limits).all()
    assert 0 < target.tolerance.max_relative < 1
    assert 0.5 < target.tolerance.min_agreement <= 1
    assert len(target.tolerance.reason) > 10


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("tflite-int", "tflite-int8"),
        ("tflite_int8", "tflite-int8"),
        ("onnx", "onnx-float32"),
        ("TFLite-Float16", "tflite-float16"),
        ("saved_model", "savedmodel"),
    ],
)
def test_a_near_miss_is_named(typed, near):
    with pytest.raises(UnknownNameError) as caught:
        find_target(typed)
    message = str(caught.value)
    assert repr(typed) in message
    assert near in message.split("Did you mean")[1]
    assert "edgevit targets" in message
    assert "\n" not in message


def test_a_format_alone_is_answered_with_all_of_its_targets():
    with pytest.raises(UnknownNameError) as caught:
        find_target("onnx")
    assert all(name in str(caught.value) for name in NAMES if name.startswith("onnx-"))


def test_a_name_that_is_near_to_none_gets_the_whole_list():
    with pytest.raises(UnknownNameError) as caught:
        find_target("zzzz")
    assert all(name in str(caught.value) for name in NAMES)


def test_a_list_of_targets_keeps_its_order_and_drops_repeats():
    found = find_targets("onnx-float32, tflite-int8,,onnx-float32")
    assert [target.name for target in found] == ["onnx-float32", "tflite-int8"]


@pytest.mark.parametrize("names", ["all", " all ", "all,tflite-int8"])
def test_all_is_every_row(names):
    found = [target.name for target in find_targets(names)]
    assert sorted(found) == sorted(NAMES)
    assert len(found) == len(NAMES)


@pytest.mark.parametrize("names", ["", " ", ",", "all,nonsense", "tflite-int8,nonsense"])
def test_a_list_with_nothing_or_something_unknown_in_it_is_refused(names):
    with pytest.raises(UnknownNameError):
        find_targets(names)


def test_the_formats_are_those_that_have_a_runtime():
    assert {target.format for target in TARGETS.values()} == set(Format)
