"""Every kind of model arrives at every target, or is refused with a line that is expected."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from edgevit.formats.registry import TARGETS
from edgevit.frontend.opening import open_source
from helpers.cells import each_pair
from kinds.check import Agreement
from kinds.trial import State, judge, try_target
from kinds.zoo import KINDS, built

# What is tried by default; everything is in the long suite.
QUICK = (
    ("gray", "tflite-int8"),
    ("two_heads", "onnx-float32"),
    ("siamese", "tflite-float32"),
    ("segment_sigmoid", "onnx-int8"),
    ("signal", "tflite-float32"),
    ("regression", "onnx-float32"),
)
SOME = ("gray", "two_heads", "siamese", "segment_sigmoid", "embedding", "free_size", "odd_names")
# (kind, target): words of the line with which it is refused. A kind of "*" is every kind.
REFUSALS: Mapping[tuple[str, str], str] = {
    **{
        (kind, "onnx-dynamic"): "there is no Gemm or MatMul with constant weights"
        for kind in ("segment_resize", "segment_sigmoid", "detector", "restorer")
    },
}
# (kind, target): why the file is right but its precision costs more than the limit.
_UNITS = "integers of one scale cannot hold 0.001 beside 10,000"
LOSSY: Mapping[tuple[str, str], str] = {
    ("softmax", "onnx-int8"): "a few of the drawn blobs lie beyond the calibrated range",
    ("mixed_units", "tflite-int8"): _UNITS,
    ("mixed_units", "tflite-int8-micro"): _UNITS,
    ("mixed_units", "tflite-int16x8"): _UNITS,
}


@pytest.mark.parametrize(("kind", "target"), each_pair(KINDS, QUICK))
def test_a_kind_arrives_at_a_target_or_is_refused_as_expected(kind, target, tmp_path):
    trial = try_target(kind, TARGETS[target], tmp_path)
    refusal = REFUSALS.get((kind, target)) or REFUSALS.get(("*", target))
    if refusal is not None:
        assert trial.state is State.REFUSED, trial.text
        assert refusal in trial.text
        assert not [*tmp_path.iterdir()]
    elif (kind, target) in LOSSY:
        assert trial.state in (State.RIGHT, State.LOSSY), trial.text
    else:
        assert trial.state is State.RIGHT, trial.text


@pytest.mark.parametrize(
    "kind", [name if name in SOME else pytest.param(name, marks=pytest.mark.long) for name in KINDS]
)
def test_task_and_roles_are_found_without_help(kind):
    row = KINDS[kind]
    source = open_source(built(kind), **row.arguments)
    assert source.task == row.task
    assert [spec.name for spec in source.signature.inputs] == list(row.inputs)
    found = {spec.name: str(spec.role) for spec in source.signature.outputs}
    assert found == {row.spelt.get(name, name): out.role for name, out in row.outputs.items()}


def test_a_verified_file_that_the_independent_check_refuses_is_a_failure():
    right, wrong = Agreement(1e-6, 1e-6, 1.0), Agreement(1.0, 0.95, 0.1)
    target = TARGETS["tflite-int8"]
    assert judge("pass", target, {"a": right})[0] is State.RIGHT
    assert judge("pass", target, {"a": right, "b": wrong})[0] is State.FAILED
    assert judge("lossy", target, {"a": right})[0] is State.LOSSY
    assert judge("lossy", target, {"a": wrong})[0] is State.FAILED
    assert judge("fail", target, {"a": right})[0] is State.FAILED
    assert judge("not run", target, {"a": right})[0] is State.FAILED
    assert judge("fail", target, {"a": wrong}, useless=True)[0] is State.USELESS
    assert judge("fail", target, {"a": right}, useless=True)[0] is State.FAILED
    assert judge("fail", TARGETS["onnx-float32"], {"a": wrong}, useless=True)[0] is State.FAILED


def test_every_expected_refusal_is_of_a_kind_and_a_target():
    for kind, target in [*REFUSALS, *LOSSY, *QUICK]:
        assert target in TARGETS
        assert kind == "*" or kind in KINDS
