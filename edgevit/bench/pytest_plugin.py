"""Latency regression tests in a suite of one's own.

    def test_the_new_file_is_as_fast_as_the_old_one(latency_gate):
        latency_gate("new.tflite", baseline="old.tflite", max_slowdown="5%")

pytest finds this module by its entry point. It imports nothing but pytest until a test asks for the
fixture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from edgevit.bench.gating import GateReport, RecordedReport

MARKER = "latency"
DEFAULT_SLOWDOWN = "5%"


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(baseline, max_slowdown, runtime, threads, batch, rounds, inconclusive): "
        "what latency_gate takes unless the call says otherwise (edgevit)",
    )


class LatencyGate:
    """What the fixture hands out.

    Args:
        defaults: keyword arguments of the marker.
        folder: of the test; paths that are not found from the current folder are looked for here.
    """

    def __init__(self, defaults: dict[str, Any], folder: Path):
        self._defaults = defaults
        self._folder = folder

    def __call__(self, file: str | Path, **settings: Any) -> GateReport | RecordedReport:
        """Fails the test if a file is slower than its baseline by more than the limit.

        Args:
            file: a .tflite or .onnx file, or a SavedModel folder.
            **settings: ``baseline``: an older file, or a result of 'edgevit benchmark --out'.
                ``max_slowdown``: the limit, such as "5%" or 0.05. ``runtime``, ``threads``,
                ``batch``: as the options of 'edgevit benchmark'. ``rounds``: at most so many.
                ``inconclusive``: what to do where the machine is too noisy for a verdict: "skip"
                (the default), "fail" or "pass".

        Returns:
            The report, with every raw sample.

        Raises:
            TypeError: an unknown setting, or no baseline.
            EdgevitError: a file that cannot be used, or a worker that failed.
        """
        from edgevit.base.errors import ConfigError
        from edgevit.bench.baseline import find_baselines
        from edgevit.bench.cases import plan_cases
        from edgevit.bench.gate import gate_baseline
        from edgevit.bench.gating import GateVerdict, make_rule, read_share

        values = _Settings(**{**self._defaults, **settings})
        if values.inconclusive not in ("skip", "fail", "pass"):
            raise ConfigError(
                f"inconclusive is 'skip', 'fail' or 'pass'. Received: {values.inconclusive!r}"
            )
        (case,) = plan_cases(
            [self._find(file)],
            [values.runtime] if values.runtime else [],
            [values.threads],
            [values.batch] if values.batch else [],
        )
        (pair,) = find_baselines([case], self._find(values.baseline))
        rule = make_rule(read_share(str(values.max_slowdown)), values.rounds)
        report = gate_baseline(pair, rule, name=str(values.baseline))
        line = (
            f"{file} takes {report.ratio.middle:.3f} of the time of {values.baseline} "
            f"({report.ratio.low:.3f} to {report.ratio.high:.3f}; limit "
            f"{1 + rule.max_slowdown:.3f}): {report.verdict}"
        )
        if report.verdict is GateVerdict.SLOWER or (
            report.verdict is GateVerdict.INCONCLUSIVE and values.inconclusive == "fail"
        ):
            pytest.fail(line, pytrace=False)
        if report.verdict is GateVerdict.INCONCLUSIVE and values.inconclusive == "skip":
            pytest.skip(line)
        return report

    def _find(self, path: str | Path) -> Path:
        here = Path(path)
        return here if here.exists() else self._folder / here


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """Settings by keyword, so that a misspelt one is an error."""

    baseline: str | Path
    max_slowdown: str | float = DEFAULT_SLOWDOWN
    runtime: str | None = None
    threads: int = 1
    batch: int | None = None
    rounds: int | None = None
    inconclusive: str = "skip"


@pytest.fixture
def latency_gate(request: pytest.FixtureRequest) -> LatencyGate:
    """A function (file, baseline=..., max_slowdown="5%") that fails the test of a slower file."""
    marker = request.node.get_closest_marker(MARKER)
    return LatencyGate(dict(marker.kwargs) if marker else {}, request.path.parent)
