"""The plug-in in a suite of somebody else: it passes, fails and skips as the gate says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[3]
MODULE = "edgevit.bench.pytest_plugin"
# Blocks the entry point, where the package is installed with it, and loads this very file.
LOAD = ("-p", "no:edgevit", "-p", MODULE, "-p", "no:cacheprovider", "--strict-markers")


@pytest.fixture
def suite(pytester, products):
    """A function (test file) -> its outcome, with fast.tflite and large.tflite beside it."""
    from edgevit.bench.products import write_product
    from edgevit.core.format import Format
    from edgevit.core.target import Precision

    pytester.path.joinpath("fast.tflite").write_bytes(products["tflite"].read_bytes())
    write_product(pytester.path / "large.tflite", Format.TFLITE, Precision.FLOAT32, 64, 256, 512)

    def run(text: str):
        pytester.makepyfile(text)
        return pytester.runpytest_inprocess(*LOAD)

    return run


def test_the_three_lines_of_the_guide_pass_and_fail(suite):
    found = suite(
        """
        def test_faster(latency_gate):
            report = latency_gate("fast.tflite", baseline="large.tflite")
            assert report.faster

        def test_slower(latency_gate):
            latency_gate("large.tflite", baseline="fast.tflite", max_slowdown="5%")
        """
    )
    found.assert_outcomes(passed=1, failed=1)
    found.stdout.fnmatch_lines(["*large.tflite takes * of the time of fast.tflite*: slower*"])


def test_a_marker_sets_what_the_call_leaves_open(suite):
    found = suite(
        """
        import pytest

        @pytest.mark.latency(baseline="fast.tflite", max_slowdown=0.05, rounds=8)
        def test_slower(latency_gate):
            latency_gate("large.tflite")

        @pytest.mark.latency(baseline="fast.tflite")
        def test_faster(latency_gate):
            latency_gate("fast.tflite", baseline="large.tflite")
        """
    )
    found.assert_outcomes(passed=1, failed=1)


@pytest.mark.parametrize(
    ("inconclusive", "outcome"),
    [(None, "skipped"), ("skip", "skipped"), ("fail", "failed"), ("pass", "passed")],
)
def test_what_is_inconclusive_is_skipped_unless_asked_otherwise(
    suite, monkeypatch, inconclusive, outcome
):
    from edgevit.base.statistics import Interval
    from edgevit.bench import gating

    wide = Interval(1.0, 0.9, 1.2)
    monkeypatch.setattr(gating, "ratio_of", lambda processes: wide)
    monkeypatch.setattr("edgevit.bench.gate.ratio_of", lambda processes: wide)
    setting = f", inconclusive={inconclusive!r}" if inconclusive else ""
    found = suite(
        f"""
        def test_noisy(latency_gate):
            latency_gate("fast.tflite", baseline="fast.tflite", rounds=8{setting})
        """
    )
    found.assert_outcomes(**{outcome: 1})


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ('latency_gate("fast.tflite")', "*baseline*"),
        ('latency_gate("none.tflite", baseline="fast.tflite")', "*no such file*"),
        ('latency_gate("fast.tflite", baseline="none.tflite")', "*no such file*"),
        ('latency_gate("fast.tflite", baseline="fast.tflite", max_slowdwn=1)', "*max_slowdwn*"),
        ('latency_gate("fast.tflite", baseline="fast.tflite", inconclusive="ok")', "*skip*fail*"),
        ('latency_gate("fast.tflite", baseline="fast.tflite", max_slowdown="no")', "*no share*"),
    ],
)
def test_wrong_use_is_a_failure_that_says_why(suite, call, says):
    found = suite(f"def test_wrong(latency_gate):\n    {call}\n")
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines([says])


def test_the_marker_is_known_to_pytest(suite, pytester):
    found = pytester.runpytest_inprocess(*LOAD, "--markers")
    found.stdout.fnmatch_lines(["*latency(baseline, max_slowdown*"])


def test_the_entry_point_names_the_module():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"edgevit": MODULE}
