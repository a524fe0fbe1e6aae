"""A sweep: every cell of a plan that is not known yet, run, kept and compared."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgevit.base import interrupt
from edgevit.base.documents import from_plain
from edgevit.base.errors import find_named
from edgevit.base.files import write_whole
from edgevit.base.loading import load_attribute
from edgevit.base.packages import REPORT, require
from edgevit.base.printing import printable
from edgevit.base.progress import JupyterBar, shown_in_jupyter
from edgevit.core.cells import DEATHS, Budgets, CellResult, State, SweepReport, judge_cell
from edgevit.sweeps.changes import find_changes
from edgevit.sweeps.digests import Digests
from edgevit.sweeps.jobs import EXECUTORS, Allowance, Event, Executor, Job, Task
from edgevit.sweeps.keys import Keyed, find_keys
from edgevit.sweeps.plan import Plan, read_plan
from edgevit.sweeps.store import Store, read_sweep
from edgevit.verbs.cell import OPTION_NAMES, Shared

RUN_CELLS = "edgevit.verbs.cell:run_cells"
POLL_S = 0.5  # between two looks at cells that another run has
SPREAD = 2  # jobs a worker at least, so that none is idle at the end
DIGESTS = "digests.json"
PAGE = "report.html"

Watch = Callable[[Event, int, int], None]


@dataclass
class Progress:
    """What a run has to do, and what is known.

    Attributes:
        wanted: cells by their names, in the plan's order.
        known: results by the names of cells.
        ran: names of cells that this run did itself.
    """

    wanted: dict[str, Keyed]
    known: dict[str, CellResult] = field(default_factory=dict)
    ran: set[str] = field(default_factory=set)


def _show(bar: JupyterBar, event: Event, done: int, total: int) -> None:
    bar.status("cells")
    bar.advance(done, total)


@shown_in_jupyter(watch=_show)
def sweep(
    plan: str | Path,
    out: str | Path | None = None,
    *,
    against: str | Path | None = None,
    only: Sequence[str] = (),
    jobs: int = 0,
    memory_bytes: int | None = None,
    executor: str = "local",
    address: str = "",
    again: bool = False,
    function: str = RUN_CELLS,
    watch: Watch | None = None,
) -> SweepReport:
    """Runs what a plan asks for and its folder does not hold, and writes the results.

    Args:
        plan: a TOML file; see :mod:`edgevit.sweeps.plan`.
        out: folder of the results; None: ``sweeps/<plan>`` here.
        against: the folder of another sweep; what changed since is named.
        only: patterns of MODEL/TARGET; none: all cells.
        jobs: processes at once; 0: as many as there are cores for.
        memory_bytes: of all of them; None: what is free.
        executor: a key of :data:`edgevit.sweeps.jobs.EXECUTORS`.
        address: of its cluster.
        again: whether cells whose process died are tried once more.
        function: that does the cells of a job; see :class:`edgevit.sweeps.jobs.Job`.
        watch: called with each event, and how many cells are done, of how many.

    Returns:
        Every cell of the plan, judged, and the changes.

    Raises:
        ConfigError: a plan that cannot be used.
        ModelFileError: ``against`` is no folder of a sweep.
        OutputError: the results cannot be written.
    """
    require("A page of HTML", REPORT)
    began = time.perf_counter()
    whole = read_plan(Path(plan), OPTION_NAMES)
    planned = whole.only(only)
    before = read_sweep(Path(against)) if against is not None else None
    if before is not None and only:
        chosen = {(cell.model, cell.target.name) for cell in planned.cells}
        before = {place: result for place, result in before.items() if place in chosen}
    folder = Path(out) if out is not None else Path("sweeps") / Path(plan).stem
    store = Store(folder)
    digests = Digests(folder / DIGESTS)
    wanted = {keyed.cell.name: keyed for keyed in find_keys(planned, digests)}
    digests.keep()
    store.clear()
    progress = Progress(wanted)
    run = _Run(store, planned, progress, again, function, watch or (lambda *news: None))
    run.look()
    if run.left:
        task_bytes = planned.limits.memory_bytes
        limits = planned.limits
        allowance = Allowance(jobs, limits.threads, limits.seconds, task_bytes, memory_bytes)
        build = load_attribute(find_named("executor", executor, EXECUTORS))
        with contextlib.closing(build(allowance, address)) as opened:
            run.run(opened)
    store.write_index(whole.title, [(cell.model, cell.target.name) for cell in whole.cells])
    report = _report(planned, progress, before, str(against or ""), time.perf_counter() - began)
    write_tables(folder, report)
    return report


def write_tables(folder: Path, report: SweepReport) -> None:
    """Writes the page, JSON Lines and CSV of a sweep into its folder.

    Raises:
        OutputError: they cannot be written.
    """
    from edgevit.reports.sweep_page import render_sweep
    from edgevit.reports.sweep_tables import render_csv, render_lines

    write_whole(folder / PAGE, printable(render_sweep(report)).encode())
    write_whole(folder / "results.jsonl", render_lines(report).encode())
    write_whole(folder / "results.csv", render_csv(report).encode())


def _report(
    plan: Plan,
    progress: Progress,
    before: dict[tuple[str, str], CellResult] | None,
    against: str,
    seconds: float,
) -> SweepReport:
    budgets = {cell.name: cell.budgets for cell in plan.cells}
    judged = [judge_cell(progress.known[name], budgets[name]) for name in progress.wanted]
    changes = None
    if before is not None:
        own = {(cell.model, cell.target.name): cell.budgets for cell in plan.cells}
        older = {
            place: judge_cell(result, own.get(place, Budgets())) for place, result in before.items()
        }
        changes = find_changes(older, judged)
    present = {cell.target.name: None for cell in plan.cells}
    return SweepReport(
        plan.title,
        tuple(dict.fromkeys(cell.model for cell in plan.cells)),
        tuple(present),
        tuple(judged),
        len(progress.ran),
        seconds,
        changes,
        against,
    )


class _Run:
    """One run over a store that others may use at the same time."""

    def __init__(
        self,
        store: Store,
        plan: Plan,
        progress: Progress,
        again: bool,
        function: str,
        watch: Watch,
    ):
        self._store, self._plan, self._progress = store, plan, progress
        self._again, self._function, self._watch = again, function, watch
        self._held: dict[str, int] = {}
        self._staged: dict[str, Path] = {}
        self._tried: set[str] = set()

    @property
    def left(self) -> list[Keyed]:
        """Cells without a result, in the plan's order."""
        known = self._progress.known
        return [keyed for name, keyed in self._progress.wanted.items() if name not in known]

    def look(self) -> None:
        """Takes up what the folder holds."""
        for name, keyed in self._progress.wanted.items():
            found = self._find(keyed)
            if found is not None:
                self._progress.known[name] = found

    def run(self, executor: Executor) -> None:
        """Runs what is left, then waits for cells that another run has."""
        try:
            while self.left:
                for event in executor.run(self._plan_jobs(executor.workers), self._claim):
                    self._take(event)
                if self.left:
                    interrupt.check()
                    time.sleep(POLL_S)
        finally:
            for name in list(self._held):
                shutil.rmtree(self._staged[name], ignore_errors=True)
                self._release(name)

    def _release(self, name: str) -> None:
        cell = self._progress.wanted[name].cell
        self._store.release(cell.model, cell.target.name, self._held.pop(name))

    def _find(self, keyed: Keyed) -> CellResult | None:
        """A result that still counts."""
        cell = keyed.cell
        found = self._store.read(cell.model, cell.target.name)
        if found is None or found.key != keyed.key:
            return None
        if found.outcome in DEATHS and cell.name not in self._tried:
            return None if self._again or self._is_allowed_more(found) else found
        return found

    def _is_allowed_more(self, found: CellResult) -> bool:
        """Whether the plan allows more now than what ended a process."""
        limits = self._plan.limits
        if found.outcome is State.HUNG:
            return limits.seconds > found.limit
        most = limits.memory_bytes
        return found.outcome is State.MEMORY and most is not None and most > found.limit > 0

    def _plan_jobs(self, workers: int) -> list[Job]:
        """What is left, cells of one model and the same arguments together, the longest first."""
        groups: dict[str, list[Keyed]] = {}
        for keyed in self.left:
            groups.setdefault(repr(_share(keyed)), []).append(keyed)
        most = max(1, math.ceil(len(self.left) / (SPREAD * workers)))
        jobs = [self._plan_job(part) for group in groups.values() for part in _split(group, most)]
        return sorted(jobs, key=lambda job: -job.seconds)

    def _plan_job(self, cells: Sequence[Keyed]) -> Job:
        older = [self._store.read(k.cell.model, k.cell.target.name) for k in cells]
        known = [result for result in older if result is not None]
        return Job(
            self._function,
            _share(cells[0]),
            tuple(
                Task(keyed.cell.name, (keyed.cell.target.name, keyed.key), Path())
                for keyed in cells
            ),
            self._plan.folder,
            tuple(dict.fromkeys(file for keyed in cells for file in keyed.files)),
            max((result.peak_bytes for result in known), default=0),
            sum(result.seconds for result in known),
        )

    def _claim(self, job: Job) -> Job | None:
        """Locks the cells of a job; those that another run has, or did meanwhile, are left out."""
        tasks = []
        for task in job.tasks:
            keyed = self._progress.wanted[task.name]
            model, target = keyed.cell.model, keyed.cell.target.name
            if task.name in self._held:
                tasks.append(replace(task, folder=self._staged[task.name]))
                continue
            held = self._store.take(model, target)
            if held is None:
                continue
            found = self._find(keyed)
            if found is not None:
                self._progress.known[task.name] = found
                self._store.release(model, target, held)
                continue
            self._held[task.name] = held
            self._staged[task.name] = self._store.stage(model, target)
            tasks.append(replace(task, folder=self._staged[task.name]))
        return replace(job, tasks=tuple(tasks)) if tasks else None

    def _take(self, event: Event) -> None:
        if event.kind in ("done", "died"):
            self._keep(event)
        self._watch(event, len(self._progress.known), len(self._progress.wanted))

    def _keep(self, event: Event) -> None:
        keyed = self._progress.wanted[event.task]
        model, target = keyed.cell.model, keyed.cell.target.name
        self._tried.add(event.task)
        if event.kind == "died":
            result = CellResult(model, target, keyed.key, event.state, event.line)
            result = replace(result, limit=event.limit)
        else:
            result = from_plain(CellResult, dict(event.document))
            result = replace(result, model=model, target=target, key=keyed.key)
        result = replace(result, seconds=event.seconds, peak_bytes=event.peak_bytes)
        self._store.publish(result, self._staged[event.task])
        self._progress.known[event.task] = result
        self._progress.ran.add(event.task)
        self._release(event.task)


def _share(keyed: Keyed) -> Shared:
    cell = keyed.cell
    settings = cell.settings
    return Shared(
        cell.model,
        cell.source,
        settings.options,
        settings.calibration,
        settings.ranges,
        settings.evaluation,
        settings.limit,
        bool(settings.latency),
        settings.keep_files is not False,
    )


def _split(cells: list[Keyed], most: int) -> Iterator[list[Keyed]]:
    """Parts of at most so many, as even as they can be."""
    count = math.ceil(len(cells) / most)
    for number in range(count):
        yield cells[number * len(cells) // count : (number + 1) * len(cells) // count]
