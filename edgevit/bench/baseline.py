"""A baseline: an old file, or a result that names old files by digest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgevit.base.documents import read_json
from edgevit.base.errors import ConfigError
from edgevit.base.files import digest_path
from edgevit.bench.benchmark import accelerator
from edgevit.bench.cases import plan_cases
from edgevit.bench.environment import describe_environment
from edgevit.core.benchmarks import BenchmarkResult
from edgevit.core.measurements import BenchmarkCase, Measurement, refuse_other_machine

RESULT_SUFFIX = ".json"


@dataclass(frozen=True)
class Baseline:
    """The baseline of one file.

    Attributes:
        candidate: the file that is judged, as it is run.
        baseline: the old file, run beside it; None where only its times are at hand.
        recorded: the old file's row of the result; None where the file itself was given.
        result: that row's result.
    """

    candidate: BenchmarkCase
    baseline: BenchmarkCase | None
    recorded: Measurement | None = None
    result: BenchmarkResult | None = None


def read_result(path: Path) -> BenchmarkResult:
    """A result that 'edgevit benchmark --out' wrote.

    Raises:
        ModelFileError: it cannot be read, or is something else.
    """
    return BenchmarkResult.from_document(read_json(path, "the result"), str(path))


def check_machine(result: BenchmarkResult, cases: Sequence[BenchmarkCase], name: str) -> None:
    """Stops before times of a result stand beside those that cases take here.

    Raises:
        ConfigError: it comes from another machine, or another device of it.
    """
    refuse_other_machine(describe_environment(accelerator(cases)), result.environment, name)


def is_result(path: Path) -> bool:
    """Whether a path names a result and no model."""
    return path.suffix == RESULT_SUFFIX


def find_baselines(candidates: Sequence[BenchmarkCase], baseline: Path) -> list[Baseline]:
    """Pairs each candidate with what it is held against.

    A result names its files. One that is still there with the same digest, where it was or beside
    the result, is run again; times are the last resort.

    Raises:
        ModelFileError: the baseline cannot be read.
        ConfigError: it does not say what a candidate belongs to.
    """
    if not is_result(baseline):
        if len({case.file for case in candidates}) > 1:
            raise ConfigError(
                f"--baseline {baseline} is one file, but several are to be held against it. Give a "
                "result of several files (--out RESULT.json), or one file."
            )
        return [Baseline(case, _like(case, str(baseline))) for case in candidates]
    result = read_result(baseline)
    found = []
    for case in candidates:
        row = find_row(result, case, str(baseline))
        file = _find_file(row, baseline)
        found.append(Baseline(case, _like(case, str(file)) if file else None, row, result))
    return found


def find_row(result: BenchmarkResult, case: BenchmarkCase, name: str) -> Measurement:
    """The row of a result that a case belongs to: of the same file name and settings.

    Raises:
        ConfigError: there is none with samples.
    """
    rows = [row for row in result.rows if row.measured]
    alike = [row for row in rows if Path(row.case.file).name == Path(case.file).name]
    if not alike and len(rows) == 1:
        alike = rows
    fitting = [
        row
        for row in alike
        if (row.case.runtime, row.case.threads, row.case.device)
        == (case.runtime, case.threads, case.device)
        and case.batch in (None, row.case.batch, row.batch)
    ]
    if not fitting:
        known = sorted(
            f"{Path(row.case.file).name} in {row.case.runtime}, {row.case.threads} threads, "
            f"batch {row.batch}"
            for row in rows
        )
        raise ConfigError(
            f"{name}: holds no samples of {Path(case.file).name} in {case.runtime} with "
            f"{case.threads} threads. It holds: {'; '.join(known) or 'nothing'}."
        )
    return fitting[0]


def _find_file(row: Measurement, baseline: Path) -> Path | None:
    named = Path(row.case.file)
    for place in (named, baseline.parent / named, baseline.parent / named.name):
        if place.exists() and digest_path(place) == row.sha256:
            return place
    return None


def _like(case: BenchmarkCase, file: str) -> BenchmarkCase:
    """Another file, run as a case is; it must be of the same format."""
    batches = () if case.batch is None else (case.batch,)
    (found,) = plan_cases([file], [case.runtime], [case.threads], batches, case.device)
    return found
