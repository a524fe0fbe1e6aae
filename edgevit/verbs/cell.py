"""The cells of one model in one process: exported, verified, measured, each told as it is done."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgevit.base.documents import to_plain
from edgevit.base.errors import EdgevitError, MissingDependencyError, in_one_line
from edgevit.base.loading import import_from_here, load_attribute
from edgevit.base.packages import require
from edgevit.base.workspace import open_workspace
from edgevit.bench.environment import describe_environment
from edgevit.core.cells import CellResult, Quality, State, pack_rights
from edgevit.core.options import KEY
from edgevit.core.parity import Verdict
from edgevit.core.samples import Inputs
from edgevit.core.target import Target
from edgevit.data.evaluation import load_test
from edgevit.data.labels import read_class_names
from edgevit.formats.options import list_options
from edgevit.formats.registry import find_target, needs_of, open_session
from edgevit.frontend.opening import Opening, open_source
from edgevit.frontend.source import Source
from edgevit.sweeps.jobs import Tell
from edgevit.tasks import find_task
from edgevit.tasks.figures import Known, Outputs, Score
from edgevit.verbs.benchmark import benchmark
from edgevit.verbs.export import ExportArguments, export_all
from edgevit.verbs.labelled import Labelled, load_labelled
from edgevit.verbs.outcome import Outcome
from edgevit.verification.audit import inspect
from edgevit.verification.parity import find_output, run_outputs

NO_OPTIONS = ("budget", "calibration", "ranges", "jobs", "status", "progress", "finished")
MODULES = "import"  # modules that define layers of a user's own
OPTION_NAMES = (*(n for n in ExportArguments.__annotations__ if n not in NO_OPTIONS), MODULES)
ROUNDS = 10  # of a measurement of latency
STATES = {Verdict.PASS: State.PASS, Verdict.LOSSY: State.LOSSY}


@dataclass(frozen=True)
class Shared:
    """What the cells of a job have in common.

    Attributes:
        model: name in the plan.
        source: what is exported.
        arguments: of the export, as TOML has them.
        calibration, ranges, evaluation, limit, latency, keep_files: see
            :class:`edgevit.sweeps.plan.Settings`.
    """

    model: str
    source: str
    arguments: dict[str, Any]
    calibration: str | None = None
    ranges: str | None = None
    evaluation: str | None = None
    limit: int | None = None
    latency: bool = False
    keep_files: bool = True


def run_cells(shared: Shared, tasks: Sequence[tuple[str, Any, str]], tell: Tell) -> None:
    """Exports a model to the targets of some cells.

    Args:
        shared: of all of them.
        tasks: (name, (target, key), folder) of each.
        tell: told what becomes of them.
    """
    cells = _Cells(shared, tell)
    waiting = []
    for name, (target, key), folder in tasks:
        cell = _Cell(name, find_target(target), key, Path(folder))
        try:
            require(f"An export to {target}", needs_of(cell.target))
            waiting.append(cell)
        except MissingDependencyError as error:
            tell.started(name)
            cells.refuse(cell, State.MISSING, str(error))
    if waiting:
        cells.run(waiting)


@dataclass(frozen=True)
class _Cell:
    name: str
    target: Target
    key: str
    folder: Path


class _Cells:
    """Cells that are exported together."""

    def __init__(self, shared: Shared, tell: Tell):
        self._shared, self._tell = shared, tell
        self._float: FloatSide | None = None
        self._waiting: list[_Cell] = []

    def run(self, cells: list[_Cell]) -> None:
        """All of them, one after the other; what stops one says so in its result."""
        self._waiting = list(cells)
        self._tell.started(cells[0].name)
        try:
            with open_workspace() as folder:
                export_all(
                    self._shared.source,
                    [cell.target for cell in cells],
                    folder,
                    status=self._tell.step,
                    finished=self._finish,
                    **self._arguments(),
                )
        except MissingDependencyError as error:
            self._refuse_rest(State.MISSING, str(error))
        except EdgevitError as error:
            self._refuse_rest(State.REFUSED, str(error))
        except Exception as error:  # whatever a converter raises: the line must name it
            text = f"internal error: {type(error).__name__}: {in_one_line(error, 300)}"
            self._refuse_rest(State.CRASHED, text)

    def refuse(self, cell: _Cell, state: State, reason: str) -> None:
        """A cell without a file."""
        self._done(cell, CellResult(self._shared.model, cell.target.name, cell.key, state, reason))

    def _arguments(self) -> Any:
        given = self._shared
        found = read_arguments(given.arguments)
        if given.calibration is not None:
            found["calibration"] = given.calibration
        if given.ranges is not None:
            found["ranges"] = given.ranges
        return found

    def _refuse_rest(self, state: State, reason: str) -> None:
        for number, cell in enumerate(list(self._waiting)):
            if number:
                self._tell.started(cell.name)
            self.refuse(cell, state, in_one_line(reason))

    def _finish(self, outcome: Outcome) -> None:
        cell = next(c for c in self._waiting if c.target.name == outcome.target.name)
        result = self._describe(cell, outcome)
        if outcome.artifact is not None:
            path = outcome.artifact.path
            try:
                result = self._measure(result, outcome, path)
            except EdgevitError as error:
                reason = f"exported, and cannot be measured: {error}"
                result = replace(result, outcome=State.FAIL, reason=in_one_line(reason))
            if self._shared.keep_files:
                for beside in sorted(path.parent.glob(f"{path.name}*")):
                    shutil.move(beside, cell.folder / beside.name)
            else:
                result = replace(result, file="")
        self._done(cell, result)
        if self._waiting:
            self._tell.started(self._waiting[0].name)

    def _describe(self, cell: _Cell, outcome: Outcome) -> CellResult:
        from edgevit.reports.text import summarise_parity

        result = CellResult(self._shared.model, cell.target.name, cell.key, State.REFUSED)
        if outcome.refusal:
            return replace(result, reason=in_one_line(outcome.refusal), warnings=outcome.warnings)
        figures = summarise_parity(outcome.reports)
        state = STATES.get(outcome.verdict, State.FAIL)
        suspects = tuple(row.layer for row in outcome.suspects)
        artifact = outcome.artifact
        return replace(
            result,
            outcome=state,
            reason="" if state is State.PASS else _reason(outcome, figures),
            file=artifact.path.name if artifact else "",
            size_bytes=artifact.size_bytes if artifact else 0,
            sha256=artifact.sha256 if artifact else "",
            agreement=figures["top1_agreement"],
            relative=figures["relative"],
            max_abs=figures["max_abs"],
            suspects=suspects,
            warnings=outcome.warnings,
        )

    def _measure(self, result: CellResult, outcome: Outcome, path: Path) -> CellResult:
        self._tell.step("counting operators")
        result = replace(result, operators=dict(inspect(path).ops))
        if self._shared.evaluation is not None:
            self._float = self._float or FloatSide(self._shared, outcome)
            self._tell.step("evaluating")
            result = replace(result, quality=self._float.compare(path))
        if self._shared.latency:
            self._tell.step("measuring latency")
            (row,) = benchmark(path, rounds=ROUNDS).rows
            rounds = tuple(ns / 1e6 for ns in row.round_medians_ns) if row.measured else ()
            result = replace(result, latency_ms=rounds)
        return result

    def _done(self, cell: _Cell, result: CellResult) -> None:
        self._waiting = [other for other in self._waiting if other is not cell]
        result = replace(result, environment=describe_environment())
        self._tell.done(cell.name, to_plain(result))


def _reason(outcome: Outcome, figures: Mapping[str, float]) -> str:
    if outcome.suspects:
        row = outcome.suspects[0]
        return (
            f"layer {row.layer} adds {row.excess_db:.0f} dB more error than the precision explains"
        )
    share, agreement = figures["relative"], figures["top1_agreement"]
    told = "" if agreement != agreement else f", agreement {100 * agreement:.1f} %"
    return f"mean error {100 * share:.2g} % of the outputs' deviation{told}"


class FloatSide:
    """The float model on the samples that files are measured on: opened and run once.

    Args:
        shared: of the cells.
        outcome: of an export of the model, which says what its outputs are.
    """

    def __init__(self, shared: Shared, outcome: Outcome):
        from edgevit.frontend.record_reference import float_outputs

        assert shared.evaluation is not None
        assert outcome.signature is not None
        given: dict[str, Any] = read_arguments(shared.arguments)
        opening: Any = {name: given[name] for name in Opening.__annotations__ if name in given}
        self._source = open_source(shared.source, **opening)
        self._signature = outcome.signature
        self._task = find_task(outcome.task)
        read = partial(_read_test, shared.evaluation, self._source, shared.limit)
        self._samples: Labelled = load_labelled(
            shared.evaluation, self._task, self._signature, read, shared.limit
        )
        self._expected = run_outputs(partial(float_outputs, self._source), self._inputs)
        known = self._samples.truth.known
        unlabelled = known is Known.NOTHING
        self._truth = replace(self._samples.truth, outputs=self._expected if unlabelled else None)
        self._wanted = self._task.measured_outputs(self._signature, known)
        self._score = self._score_of(self._expected)

    @property
    def _inputs(self) -> Inputs:
        return self._samples.inputs

    def _score_of(self, outputs: Outputs) -> Score:
        found = {s.name: find_output(outputs, s.name, self._source.name) for s in self._wanted}
        return self._task.score(found, self._truth, self._signature, self._source.class_names)

    def compare(self, path: Path) -> Quality:
        """A file's figure beside the float model's."""
        with open_session(path) as session:
            score = self._score_of(run_outputs(session.run, self._inputs))
        drop = self._score.figure.drop_to(score.figure)
        lost, interval = drop.interval(), score.figure.interval
        return Quality(
            score.figure.name,
            score.figure.value,
            interval.low,
            interval.high,
            len(self._samples),
            self._samples.source,
            self._score.figure.value,
            drop.points,
            lost.low,
            lost.high,
            pack_rights(score.figure.parts),
        )


def _read_test(data: str, source: Source, limit: int | None) -> Any:
    size, names = source.picture_size, source.class_names
    return load_test(data, size, names, limit, channels=source.channels)


def read_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of an export out of what TOML can say.

    Raises:
        ConfigError: a value that makes no sense.
    """
    from edgevit.frontend.sources.custom import register_classes

    known, found = list_options(), {}
    for name, value in options.items():
        if name == MODULES:
            for module in value:
                register_classes(import_from_here(module))
            continue
        if name == "class_names" and isinstance(value, str):
            value = read_class_names(Path(value))
        elif name == "image_size" and isinstance(value, int):
            value = (value, value)
        elif name == "input_shape":
            value = {k: tuple(None if s == "?" else s for s in v) for k, v in value.items()}
        elif name in known and known[name].metadata[KEY].read and isinstance(value, str):
            value = load_attribute(known[name].metadata[KEY].read)(value)
        found[name] = tuple(value) if isinstance(value, list) else value
    return found
