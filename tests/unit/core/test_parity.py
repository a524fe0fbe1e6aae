"""Verdicts are derived from raw figures, and fail closed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgevit.base.documents import from_plain, to_json
from edgevit.core.parity import (
    COARSE,
    COUNTED,
    KERNELS,
    OWN,
    SYNTHETIC,
    OutputParity,
    ParityReport,
    Verdict,
    judge,
    worst,
)
from edgevit.core.signature import Role
from edgevit.core.tolerance import TELLING, Limit, Rounding, Tolerance
from edgevit.formats.registry import TARGETS

ROUNDED = Tolerance(
    exact=None,
    limits=(
        (Role.LOGITS, Limit(0.1, 0.9)),
        (Role.MASK, Limit(0.1, 0.8)),
        (Role.EMBEDDING, Limit(0.3, 0.95)),
        (Role.VALUES, Limit(0.2)),
        (Role.LABELS, Limit(float("inf"), 0.7)),
        (Role.MAP, Limit(0.3)),
    ),
    kernels=0.05,
    reason="for these tests",
)
EXACT = replace(ROUNDED, exact=0.5)
GOOD = OutputParity(
    "scores",
    images=10,
    max_abs=2.0,
    relative=0.1,
    largest=4.0,
    mean_abs=0.1,
    error=0.5,
    role=Role.LOGITS,
    agreement=0.9,
    low=0.6,
    high=0.98,
)
NAN = float("nan")
PASS, LOSSY, FAIL, NOT_RUN = Verdict.PASS, Verdict.LOSSY, Verdict.FAIL, Verdict.NOT_RUN


def report(*outputs: OutputParity, samples: str = SYNTHETIC) -> ParityReport:
    return ParityReport("any", outputs, samples)


@pytest.mark.parametrize("tolerance", [ROUNDED, EXACT], ids=["rounded", "exact"])
def test_figures_that_lie_exactly_on_the_limits_pass(tolerance):
    assert GOOD.verdict(tolerance) is PASS
    assert report(GOOD).verdict(tolerance) is PASS


@pytest.mark.parametrize(
    "figure", [{"relative": 0.1001}, {"agreement": 0.8999}], ids=["relative", "agreement"]
)
def test_each_limit_alone_makes_a_rounded_file_lossy_and_a_float_file_wrong(figure):
    assert replace(GOOD, **figure).verdict(ROUNDED) is LOSSY
    assert replace(GOOD, **figure).verdict(EXACT) is FAIL


def test_one_wrong_number_fails_a_float_file_and_no_rounded_one():
    wrong = replace(GOOD, error=0.5001, max_abs=1e9)
    assert wrong.verdict(EXACT) is FAIL
    assert wrong.verdict(ROUNDED) is PASS


@pytest.mark.parametrize("value", [NAN, float("inf")], ids=["nan", "inf"])
def test_a_distance_that_is_not_finite_fails_whatever_rounding_may_cost(value):
    assert replace(GOOD, max_abs=value).verdict(ROUNDED) is FAIL
    assert replace(GOOD, error=value).verdict(EXACT) is FAIL
    assert replace(GOOD, relative=value).verdict(EXACT) is FAIL
    assert replace(GOOD, relative=value).verdict(ROUNDED) is LOSSY


@pytest.mark.parametrize("role", [Role.LOGITS, Role.MASK, Role.EMBEDDING, Role.LABELS])
def test_a_nan_agreement_never_passes_where_the_role_has_a_measure(role):
    unknown = replace(GOOD, role=role, agreement=NAN)
    assert unknown.verdict(ROUNDED) is LOSSY
    assert unknown.verdict(EXACT) is FAIL


@pytest.mark.parametrize("role", [Role.VALUES, Role.MAP])
def test_what_has_no_measure_is_judged_by_its_distance_alone(role):
    dense = replace(GOOD, role=role, agreement=NAN)
    assert dense.verdict(ROUNDED) is PASS
    assert replace(dense, relative=0.31).verdict(ROUNDED) is LOSSY


def test_each_role_has_its_own_limits():
    near = replace(GOOD, relative=0.25)
    assert near.verdict(ROUNDED) is LOSSY
    assert replace(near, role=Role.MAP).verdict(ROUNDED) is PASS
    assert replace(near, role=Role.EMBEDDING, agreement=0.96).verdict(ROUNDED) is PASS
    assert replace(near, role=Role.EMBEDDING, agreement=0.94).verdict(ROUNDED) is LOSSY
    assert replace(near, role=Role.LABELS, relative=9.0, agreement=0.7).verdict(ROUNDED) is PASS


@pytest.mark.parametrize("field", ["relative", "agreement"])
def test_a_limit_that_is_nan_lets_nothing_pass(field):
    limit = replace(Limit(0.1, 0.9), **{field: NAN})
    broken = ((Role.LOGITS, limit),)
    assert GOOD.verdict(replace(ROUNDED, limits=broken)) is LOSSY
    assert GOOD.verdict(replace(EXACT, limits=broken)) is FAIL


def test_an_exact_limit_or_a_kernels_limit_of_nan_lets_nothing_pass():
    assert GOOD.verdict(replace(ROUNDED, exact=NAN)) is FAIL
    equal = report(replace(GOOD, relative=0.0), samples=KERNELS)
    assert equal.verdict(replace(ROUNDED, kernels=NAN)) is FAIL


@pytest.mark.parametrize(
    ("figure", "rounding", "found"),
    [
        ({"error": 0.7}, Rounding(0.0, 0.01), FAIL),  # 0.08, which is less than the limit
        ({"error": 0.09}, Rounding(0.0, 0.01), FAIL),
        ({"error": 0.079}, Rounding(0.0, 0.01), PASS),
        ({"error": 0.11}, Rounding(0.0, 9.0), FAIL),  # float32 says nothing of such a network
        ({"relative": 0.0041}, Rounding(0.001, 0.0), FAIL),
        ({"relative": 0.0039}, Rounding(0.001, 0.0), PASS),
        ({"relative": 0.011}, Rounding(9.0, 0.0), FAIL),
    ],
)
def test_a_float_file_may_be_as_far_off_as_rounding_moves_the_network(figure, rounding, found):
    limits = ((Role.LOGITS, Limit(0.001, 0.9)),)
    tight = replace(EXACT, exact=0.001, limits=limits)
    near = replace(GOOD, images=TELLING + 1, error=0.0, relative=0.0, rounding=rounding)
    assert near.verdict(tight) is PASS
    assert replace(near, **figure).verdict(tight) is found
    assert replace(near, **figure, rounding=None).verdict(tight) is FAIL
    rounded = replace(tight, exact=None)
    assert rounded.beside(rounding) == rounded


@pytest.mark.parametrize(
    ("images", "relative", "found"),
    [(TELLING, 0.0099, PASS), (TELLING, 0.011, FAIL), (TELLING + 1, 0.0099, FAIL)],
)
def test_the_mean_of_a_few_inputs_may_be_that_of_the_one_that_rounding_moves_most(
    images, relative, found
):
    """0.004 on many, which is four times what rounding makes of the mean of all."""
    moved = replace(GOOD, error=0.0, images=images, relative=relative)
    tight = replace(EXACT, limits=((Role.LOGITS, Limit(0.001, 0.9)),))
    assert replace(moved, rounding=Rounding(0.001, 0.0)).verdict(tight) is found
    assert moved.verdict(tight) is FAIL


@pytest.mark.parametrize(
    ("relative", "lost", "found"),
    [(0.05, None, PASS), (0.051, None, FAIL), (0.59, 0.3, PASS), (0.61, 0.3, FAIL)],
)
def test_kernels_may_lie_apart_by_twice_what_a_file_loses(relative, lost, found):
    """0.05 where nothing is known of that."""
    kernels = report(replace(GOOD, relative=relative, lost=lost), samples=KERNELS)
    assert kernels.verdict(ROUNDED) is found


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, PASS),  # nine of twelve may be 0.9 of many
        ({"high": 0.89}, LOSSY),
        ({"images": COUNTED}, LOSSY),
        ({"relative": 0.051}, LOSSY),  # as far off as that, classes change for a reason
        ({"role": Role.EMBEDDING, "agreement": 0.9}, LOSSY),  # a cosine is no share
        ({"agreement": NAN}, LOSSY),
    ],
)
def test_a_class_that_flips_on_few_samples_makes_no_file_lossy(change, found):
    """Of numbers within half their limit: 0.1, and 0.9 for the share."""
    few = replace(GOOD, images=12, relative=0.05, agreement=0.75, low=0.47, high=0.91)
    assert replace(few, **change).verdict(ROUNDED) is found
    assert replace(few, error=0.0, relative=0.0).verdict(EXACT) is FAIL


def test_an_output_that_does_not_vary_is_held_against_its_scale():
    flat = replace(GOOD, constant=True, relative=50.0, agreement=0.0, error=COARSE)
    assert flat.verdict(ROUNDED) is PASS
    assert replace(flat, error=COARSE * 1.001).verdict(ROUNDED) is LOSSY
    assert replace(flat, error=NAN).verdict(ROUNDED) is LOSSY
    assert replace(flat, error=0.6).verdict(EXACT) is FAIL


def test_agreement_on_one_class_alone_proves_nothing_and_condemns_nothing():
    alone = replace(GOOD, one_sided=True, agreement=0.0)
    assert alone.verdict(ROUNDED) is PASS
    assert replace(alone, relative=0.2).verdict(ROUNDED) is LOSSY  # the distance still counts


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_no_image_is_not_run_for_any_target(target):
    empty = OutputParity("scores", 0, 0.0, 0.0, 0.0, error=0.0, role=Role.LOGITS, agreement=1.0)
    assert report(empty).verdict(target.tolerance) is NOT_RUN
    assert report().verdict(target.tolerance) is NOT_RUN


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("role", Role)
def test_every_target_has_a_limit_for_every_role(target, role):
    assert target.tolerance.limit(role).relative > 0
    assert target.tolerance.kernels > 0


def test_the_worst_output_decides_over_a_report():
    lossy = replace(GOOD, name="boxes", role=Role.VALUES, relative=0.21)
    assert report(GOOD, lossy).verdict(ROUNDED) is LOSSY
    assert report(lossy, GOOD, replace(GOOD, max_abs=NAN)).verdict(ROUNDED) is FAIL
    assert report(GOOD, replace(GOOD, images=0)).verdict(ROUNDED) is NOT_RUN


def test_kernel_sets_that_differ_are_wrong_and_not_lossy():
    apart = replace(GOOD, relative=0.051, agreement=0.0)
    assert report(replace(apart, relative=0.05), samples=KERNELS).verdict(ROUNDED) is PASS
    assert report(apart, samples=KERNELS).verdict(ROUNDED) is FAIL
    assert report(replace(apart, relative=NAN), samples=KERNELS).verdict(ROUNDED) is FAIL
    near = replace(apart, relative=0.0)
    assert report(near, apart, samples=KERNELS).verdict(ROUNDED) is FAIL


LOST = replace(GOOD, relative=0.2)


def test_the_users_own_samples_say_what_a_precision_costs():
    own, lost = report(GOOD, samples=OWN), report(LOST)
    assert judge([lost], ROUNDED) is LOSSY
    assert judge([lost, own], ROUNDED) is PASS
    assert judge([report(GOOD), report(LOST, samples=OWN)], ROUNDED) is LOSSY


def test_what_is_wrong_on_synthetic_samples_is_wrong_whatever_own_ones_say():
    own = report(GOOD, samples=OWN)
    assert judge([report(replace(GOOD, max_abs=NAN)), own], ROUNDED) is FAIL
    assert judge([report(replace(GOOD, error=0.6)), own], EXACT) is FAIL
    assert judge([report(LOST), own], EXACT) is FAIL
    apart = report(replace(GOOD, relative=1.0), samples=KERNELS)
    assert judge([report(GOOD), own, apart], ROUNDED) is FAIL
    assert judge([report(replace(GOOD, images=0)), own], ROUNDED) is NOT_RUN


def test_where_a_constant_would_be_nearer_a_file_is_wrong_and_not_lossy():
    far = replace(LOST, useless=True)
    assert judge([report(far)], ROUNDED) is FAIL
    assert judge([report(GOOD, replace(far, role=Role.MAP, relative=0.4))], ROUNDED) is FAIL
    assert judge([report(far, samples=OWN)], ROUNDED) is FAIL
    assert judge([report(far), report(GOOD, samples=OWN)], ROUNDED) is PASS  # beyond what it saw
    assert judge([report(replace(GOOD, useless=True))], ROUNDED) is PASS  # within all limits


def test_every_runtime_counts_and_no_report_is_not_a_pass():
    assert judge([report(GOOD), report(LOST)], ROUNDED) is LOSSY
    few = report(replace(LOST, images=GOOD.images - 1))  # of slow kernels: it informs
    assert judge([report(GOOD), few], ROUNDED) is PASS
    assert judge([report(GOOD), few], EXACT) is FAIL
    assert judge([], ROUNDED) is NOT_RUN


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([PASS, PASS], PASS),
        ([PASS, FAIL, NOT_RUN], FAIL),
        ([PASS, NOT_RUN], NOT_RUN),
        ([LOSSY, PASS], LOSSY),
        ([LOSSY, NOT_RUN], NOT_RUN),
        ([LOSSY, FAIL], FAIL),
        ([], NOT_RUN),
    ],
)
def test_the_worst_verdict_wins_and_no_check_at_all_is_not_a_pass(verdicts, expected):
    assert worst(verdicts) is expected


def test_the_first_output_that_tells_classes_apart_stands_for_the_file():
    boxes = replace(GOOD, name="boxes", role=Role.VALUES, max_abs=7.0, agreement=NAN)
    found = report(boxes, GOOD)
    assert found.first is GOOD
    assert (found.max_abs, found.top1_agreement) == (2.0, 0.9)
    assert found.others == (boxes,)
    assert report(boxes).first is boxes
    assert report(boxes).max_abs == 7.0


def test_a_report_proves_nothing_only_where_all_outputs_prove_nothing():
    flat, alone = replace(GOOD, constant=True), replace(GOOD, one_sided=True)
    assert report(flat, alone).constant
    assert not report(flat, GOOD).constant


def test_a_classifiers_document_keeps_its_keys_and_survives_the_round_trip():
    found = replace(
        report(GOOD, replace(GOOD, name="map", role=Role.MAP)), accuracy=0.5, float_accuracy=0.6
    )
    document = json.loads(to_json(found.to_document()))
    figures = {"max_abs": 2.0, "mean_abs": 0.1, "relative": 0.1, "top1_agreement": 0.9}
    assert {name: document[name] for name in figures} == figures
    assert (document["runtime"], document["images"]) == ("any", 10)
    assert [other["name"] for other in document["others"]] == ["map"]
    assert from_plain(ParityReport, ParityReport.upgrade(document)) == found


def test_a_document_of_before_outputs_were_told_apart_is_one_of_logits():
    old = {"runtime": "a", "images": 9, "max_abs": 0.5, "mean_abs": 0.1, "relative": 0.05}
    other = {"name": "gates", "images": 9, "max_abs": 1.0, "relative": 0.2, "largest": 3.0}
    document = {**old, "top1_agreement": 0.95, "others": [other]}
    found = from_plain(ParityReport, ParityReport.upgrade(document))
    assert [output.name for output in found.outputs] == ["logits", "gates"]
    assert (found.max_abs, found.mean_abs, found.relative) == (0.5, 0.1, 0.05)
    assert (found.top1_agreement, found.images) == (0.95, 9)
    assert found.verdict(ROUNDED) is PASS
    lossy = from_plain(ParityReport, ParityReport.upgrade({**document, "relative": 0.11}))
    assert lossy.verdict(ROUNDED) is LOSSY
