"""A file is held against what it computed when it was written."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from edgevit.base.documents import from_plain, to_plain
from edgevit.core.drift import (
    DRIFT,
    DRIFT_LEAST,
    MOVED,
    MOVED_LEAST,
    PROJECTIONS,
    TOLD_APART,
    Trace,
    find_drift,
    find_move,
    project,
    record_errors,
    record_traces,
)
from edgevit.core.parity import KERNELS, OWN, SYNTHETIC, OutputParity, ParityReport

GOOD = OutputParity("scores", images=10, max_abs=2.0, relative=0.1, largest=4.0)
RNG = np.random.default_rng(0)
HERE = "x86_64 avx2"
PINNED = (-1.732, 5.196, -0.5774, 5.196)


def ran(errors: np.ndarray, samples: str = SYNTHETIC, runtime: str = "fast", images: int = 10):
    output = replace(GOOD, projections=project(errors), images=99, projected=images)
    return ParityReport(runtime, (output,), samples)


def lost(*columns: float, images: int = 10, samples: str = SYNTHETIC) -> ParityReport:
    return ParityReport("any", (replace(GOOD, columns=columns, images=images),), samples)


@pytest.mark.parametrize("size", [0.001, 0.1, 3.0])
def test_projections_tell_how_large_errors_are(size):
    found = [project(RNG.normal(0, size, (256, 2))) for _ in range(20)]
    assert {len(column) for columns in found for column in columns} == {PROJECTIONS}
    squares = np.square(found).mean(axis=(0, 2))  # of both columns
    assert np.sqrt(squares) == pytest.approx([size, size], rel=0.15)


def test_projections_are_the_same_on_every_machine():
    column = project(np.arange(6.0).reshape(3, 2))[1]
    assert column[:4] == PINNED
    assert project(np.arange(6.0).reshape(3, 2)) == project(np.arange(6.0).reshape(3, 2))


def test_many_columns_share_their_projections_and_a_nan_has_none():
    assert len(project(np.ones((4, TOLD_APART)))) == TOLD_APART
    assert len(project(np.ones((4, TOLD_APART + 1)))) == 1
    assert project(np.full((4, 2), math.nan)) == ()
    assert project(np.ones((0, 2))) == ()


def test_a_column_that_moved_is_told_however_little_was_lost():
    then = RNG.normal(0, 0.1, (256, 3))
    now = then.copy()
    now[:, 1] = RNG.normal(0, 0.1, 256)  # as much is lost as before, but otherwise
    traces = record_traces([ran(then)], HERE)
    assert find_move([ran(then)], traces, HERE) == ""
    assert find_move([ran(then + RNG.normal(0, 0.01, then.shape))], traces, HERE) == ""
    line = find_move([ran(now)], traces, HERE)
    assert line.startswith("scores[1] moved by 1")
    assert "in fast since the file was written: it changed" in line
    assert find_move([ran(now)], None, HERE) == ""  # of before anything was recorded


def test_what_lies_between_kernels_is_no_move_of_the_first_and_one_of_the_second():
    then, apart = RNG.normal(0, 0.1, (256, 1)), RNG.normal(0, 0.1, (256, 1))
    reports = [
        ran(then),
        ran(then, runtime="slow"),
        ran(apart, KERNELS, "slow"),
        ran(then, OWN),
    ]
    traces = record_traces(reports, HERE)
    assert [(trace.runtime, trace.samples) for trace in traces] == [
        ("fast", SYNTHETIC),
        ("slow", SYNTHETIC),
        ("fast", OWN),
    ]
    assert traces[0].limits(HERE) == pytest.approx(MOVED * 0.1 + MOVED_LEAST, rel=0.5)
    assert traces[1].limits(HERE) == MOVED_LEAST
    assert traces[2].limits(HERE) == traces[0].limits(HERE)
    assert find_move([ran(then + apart)], traces, HERE) == ""
    assert "in slow" in find_move([ran(then + apart, runtime="slow")], traces, HERE)


@pytest.mark.parametrize("processor", [HERE, "aarch64 asimddp"])
def test_a_file_may_be_rounded_otherwise_on_another_processor_and_no_worse(processor):
    then, otherwise = RNG.normal(0, 0.05, (256, 2)), RNG.normal(0, 0.05, (256, 2))
    traces = record_traces([ran(then)], HERE)
    assert bool(find_move([ran(otherwise)], traces, processor)) is (processor == HERE)
    assert find_move([ran(3 * otherwise)], traces, processor)


def test_only_the_same_inputs_in_the_same_runtime_are_compared():
    then, now = np.zeros((256, 1)), np.ones((256, 1))
    traces = record_traces([ran(then)], HERE)
    assert find_move([ran(now)], traces, HERE)
    assert find_move([ran(now, images=3)], traces, HERE) == ""
    assert find_move([ran(now, runtime="other")], traces, HERE) == ""
    assert find_move([ran(now, OWN)], traces, HERE) == ""
    assert "on the samples inside in fast" in find_move(
        [ran(now, OWN)], record_traces([ran(then, OWN)], HERE), HERE
    )


def test_a_trace_is_read_as_it_was_written_and_refused_where_it_is_damaged():
    (trace,) = record_traces([ran(RNG.normal(size=(8, 2)))], HERE)
    document = to_plain(trace)
    assert from_plain(Trace, document) == trace
    for damaged in ([], [[0.0]], [document["projections"][0], [0.0]]):
        with pytest.raises(ValueError, match="projections"):
            from_plain(Trace, {**document, "projections": damaged})
    with pytest.raises(ValueError, match="samples"):
        from_plain(Trace, {**document, "samples": KERNELS})


def test_a_file_remembers_the_worst_that_each_column_lost_on_all_golden_inputs():
    reports = [
        lost(0.01234, 0.02),
        lost(0.01, 0.03),
        lost(0.9, 0.9, images=3),  # slow kernels ran some of them
        lost(0.8, 0.8, samples=OWN),
        lost(0.7, 0.7, samples=KERNELS),
    ]
    assert record_errors(reports) == {"scores": (0.0123, 0.03)}


def test_a_column_that_is_much_further_off_than_it_was_is_told():
    recorded = {"scores": (0.01, 0.02)}
    most = 0.02 * DRIFT + DRIFT_LEAST
    assert find_drift([lost(0.01, most)], recorded) == ""
    line = find_drift([lost(0.01, most * 1.01)], recorded)
    assert line.startswith("scores[1] is 4 % of the deviation off on golden inputs, and was 2 %")
    assert find_drift([lost(0.9, 0.9)], None) == ""  # of before anything was recorded
    assert find_drift([lost(0.9, 0.9, images=3), lost(0.01, 0.02)], recorded) == ""


def test_labels_and_many_columns_have_no_columns_of_their_own():
    assert find_drift([lost()], {"scores": (0.1,)}) == ""
