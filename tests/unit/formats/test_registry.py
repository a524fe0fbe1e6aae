"""The tables of formats, targets and runtimes: names, lists, tolerances, places that exist."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from edgevit.base.errors import ConfigError, UnknownNameError
from edgevit.base.loading import load_attribute
from edgevit.core.format import Format
from edgevit.core.signature import Role
from edgevit.core.target import Precision
from edgevit.formats import registry
from edgevit.formats.calibration import calibrate
from edgevit.formats.registry import (
    FORMATS,
    RUNTIMES,
    TARGETS,
    find_runtime,
    find_target,
    find_targets,
    runtimes_of,
    verifying_runtimes,
)

NAMES = (
    "savedmodel",
    "tflite-float32",
    "tflite-float16",
    "tflite-dynamic",
    "tflite-int8",
    "tflite-int8-micro",
    "tflite-int8-npu",
    "tflite-mixed",
    "tflite-int16x8",
    "tflite-dynamic-int4",
    "onnx-float32",
    "onnx-float32-cpu",
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
    assert integer == ["tflite-int8", "tflite-int8-micro", "tflite-int8-npu", "tflite-int16x8"]
    assert calibrated == [
        *("tflite-int8", "tflite-int8-micro", "tflite-int8-npu", "tflite-mixed"),
        *("tflite-int16x8", "onnx-int8"),
    ]
    assert find_target("tflite-int8").precision is Precision.INT8


def test_float32_targets_allow_a_ten_thousandth_at_most_and_no_other_classes():
    for target in TARGETS.values():
        if target.precision is Precision.FLOAT32:
            assert target.tolerance.exact <= 1e-4
            assert target.tolerance.limit(Role.LOGITS).agreement >= 0.99
            assert target.tolerance.kernels <= 1e-4


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_tolerance_is_finite_and_gives_its_reason(target):
    assert {role for role, _ in target.tolerance.limits} == {*Role}
    for role, limit in target.tolerance.limits:
        if role is not Role.LABELS:  # integers have agreement alone
            assert 0 < limit.relative < 1
        if role not in (Role.VALUES, Role.MAP):  # which have no measure
            assert 0.5 < limit.agreement <= 1
    assert 0 < target.tolerance.kernels < 1
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


def test_every_format_has_a_row_targets_and_a_usual_runtime_of_its_own():
    assert set(FORMATS) == {target.format for target in TARGETS.values()} == set(Format)
    for kind in Format:
        usual = RUNTIMES[runtimes_of(kind)[0]]
        assert (usual.format, usual.device, usual.slow) == (kind, "cpu", False)
        for target in TARGETS.values():
            if target.format is kind:
                assert target.runtimes[0] == usual.name
                assert target.suffix == FORMATS[kind].suffix


def test_runtimes_of_every_target_read_its_format():
    for target in TARGETS.values():
        for name in (*target.runtimes, *target.runtimes_if_installed):
            assert find_runtime(name).format is target.format


def places() -> list[str]:
    """Everything that a row names to be imported when it is used."""
    found = [target.write for target in TARGETS.values()]
    found += [row.session for row in RUNTIMES.values()]
    for spec in FORMATS.values():
        values = [getattr(spec, field.name) for field in fields(spec)]
        found += [value for value in values if isinstance(value, str) and ":" in value]
    return sorted(set(found))


@pytest.mark.parametrize("place", places())
def test_what_a_row_names_is_there(place):
    assert callable(load_attribute(place))


def test_a_runtime_that_verifies_where_it_is_installed_is_named_where_it_is_not(monkeypatch):
    micro = find_target("tflite-int8-micro")
    monkeypatch.setattr(registry, "is_installed", lambda row: False)
    runtimes, missing = verifying_runtimes(micro)
    assert [row.name for row in runtimes] == ["litert", "litert-reference"]
    assert [row.name for row in missing] == ["tflm"]
    monkeypatch.setattr(registry, "is_installed", lambda row: True)
    assert [row.name for row in verifying_runtimes(micro)[0]] == [
        *("litert", "litert-reference", "tflm"),
    ]
    assert verifying_runtimes(micro)[1] == []


def test_what_is_not_installed_is_known_without_an_import():
    row = find_runtime("litert")
    assert registry.is_installed(row)
    assert not registry.is_installed(replace(row, library="edgevit_no_such_package.runtime"))


def test_a_format_without_ranges_is_not_calibrated():
    with pytest.raises(ConfigError, match="savedmodel files hold no activation ranges"):
        calibrate(Format.SAVEDMODEL, None, None, None)
