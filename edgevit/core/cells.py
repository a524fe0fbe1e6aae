"""Cells of a sweep: one model in one target, what came of it, and what a plan makes of that."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from edgevit.base.documents import NanFloat
from edgevit.core.measurements import Environment
from edgevit.core.parity import NAN

MILLION = 1e6


class State(StrEnum):
    """What came of a cell, the best first. All but OVER are measured; OVER follows from budgets."""

    PASS = "pass"
    LOSSY = "lossy"
    OVER = "over budget"
    REFUSED = "refused"  # by the exporter, with a reason
    MISSING = "missing"  # a package that it needs is not installed
    FAIL = "fail"
    HUNG = "timed out"
    MEMORY = "out of memory"
    CRASHED = "crashed"


DEATHS = (State.HUNG, State.MEMORY, State.CRASHED)  # of the process that ran it
ORDER = tuple(State)


@dataclass(frozen=True)
class Quality:
    """The figure of a model's task over labelled samples, of a file and of its float model.

    Attributes:
        figure: its name, such as "top-1 accuracy".
        value: of the file; 1 at best.
        low: lower end of its 95 % interval.
        high: upper end.
        samples: how many.
        source: where they came from.
        float_value: of the float model on the same samples.
        points_lost: hundredths that the file loses.
        lost_low: lower end of its 95 % interval, over pairs.
        lost_high: upper end.
        rights: which samples the file is right on, packed; empty where they are not counted.
    """

    figure: str
    value: NanFloat
    low: NanFloat
    high: NanFloat
    samples: int
    source: str
    float_value: NanFloat
    points_lost: NanFloat
    lost_low: NanFloat
    lost_high: NanFloat
    rights: str = ""

    def unpack(self) -> np.ndarray | None:
        """Which samples the file is right on, bool N; None where they are not counted."""
        if not self.rights:
            return None
        bits = np.frombuffer(base64.b64decode(self.rights), np.uint8)
        return np.unpackbits(bits)[: self.samples].astype(bool)


def pack_rights(parts: np.ndarray) -> str:
    """Whether each sample is right, as text; empty for contributions that are no yes or no."""
    if parts.ndim != 1 or not set(np.unique(parts)) <= {0.0, 1.0}:
        return ""
    return base64.b64encode(np.packbits(parts > 0).tobytes()).decode("ascii")


@dataclass(frozen=True)
class CellResult:
    """One finished cell: raw measurements and, where there is no file, the reason.

    Attributes:
        model: its name in the plan.
        target: name of the target.
        key: digest of all that the cell depends on.
        outcome: what was measured; budgets are no part of it.
        reason: why there is no file, or why its process ended; one line.
        file: its name beside the document; empty where none was kept.
        size_bytes: of the file.
        sha256: of the file.
        agreement: the measure of the first output's role against the float model.
        relative: mean |difference| of the first output, in units of its deviation.
        max_abs: the largest.
        quality: on labelled samples; None where the plan names none.
        operators: how often each occurs in the file.
        latency_ms: median of each round; empty where it was not asked for.
        suspects: layers that add more error than the precision explains.
        warnings: about the model.
        seconds: wall time.
        peak_bytes: of the process that ran it, as far as it had come.
        limit: what ended its process: seconds, or bytes; 0 where nothing did.
        environment: the machine and the tools; None where the process died.
    """

    model: str
    target: str
    key: str
    outcome: State
    reason: str = ""
    file: str = ""
    size_bytes: int = 0
    sha256: str = ""
    agreement: NanFloat = NAN
    relative: NanFloat = NAN
    max_abs: NanFloat = NAN
    quality: Quality | None = None
    operators: dict[str, int] | None = None
    latency_ms: tuple[float, ...] = ()
    suspects: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    peak_bytes: int = 0
    limit: float = 0.0
    environment: Environment | None = None


@dataclass(frozen=True)
class Budgets:
    """What a cell may cost; None: anything.

    Attributes:
        max_drop: points of the task's figure that a file may lose to its float model.
        max_size: bytes of the file.
        min_agreement: share of golden inputs, or of the user's samples, that must agree.
        accept: outcomes beside PASS that are what was asked for.
    """

    max_drop: float | None = None
    max_size: int | None = None
    min_agreement: float | None = None
    accept: tuple[State, ...] = ()


@dataclass(frozen=True)
class JudgedCell:
    """A result under the budgets of a plan.

    Attributes:
        result: measured.
        state: the outcome; OVER for a file that is right and costs more than its budgets.
        reasons: why it is not PASS, a line each.
        accepted: whether it is what was asked for.
    """

    result: CellResult
    state: State
    reasons: tuple[str, ...]
    accepted: bool


def judge_cell(result: CellResult, budgets: Budgets) -> JudgedCell:
    """Holds a result against budgets. A budget of what was not measured is not kept."""
    if result.outcome not in (State.PASS, State.LOSSY):
        reasons = tuple(filter(None, (result.reason,)))
        return JudgedCell(result, result.outcome, reasons, result.outcome in budgets.accept)
    broken = tuple(_find_broken(result, budgets))
    if broken:
        return JudgedCell(result, State.OVER, broken, State.OVER in budgets.accept)
    accepted = result.outcome in (State.PASS, *budgets.accept)
    return JudgedCell(result, result.outcome, tuple(filter(None, (result.reason,))), accepted)


def _find_broken(result: CellResult, budgets: Budgets) -> Sequence[str]:
    found = []
    if budgets.max_size is not None and result.size_bytes > budgets.max_size:
        found.append(
            f"{result.size_bytes / MILLION:.2f} MB, where max_size allows "
            f"{budgets.max_size / MILLION:.2f} MB"
        )
    if budgets.min_agreement is not None and not result.agreement >= budgets.min_agreement:
        found.append(
            f"agreement {_percent(result.agreement)}, where min_agreement asks for "
            f"{_percent(budgets.min_agreement)}"
        )
    if budgets.max_drop is not None:
        quality = result.quality
        if quality is None:
            found.append("max_drop is given, and nothing was evaluated")
        elif not quality.points_lost <= budgets.max_drop:
            found.append(
                f"loses {quality.points_lost:.2f} points of {quality.figure} (95 % interval "
                f"{quality.lost_low:.2f} .. {quality.lost_high:.2f}), where max_drop allows "
                f"{budgets.max_drop:g}"
            )
    return found


def _percent(share: float) -> str:
    return "unknown" if share != share else f"{100 * share:.2f} %"


@dataclass(frozen=True)
class Change:
    """One difference between two sweeps.

    Attributes:
        model: of the cell.
        target: of the cell.
        kind: what differs: "verdict", "bytes", "accuracy", "operators", "latency" or "cell".
        text: in words.
        worse: whether it is a change for the worse that is no noise.
    """

    model: str
    target: str
    kind: str
    text: str
    worse: bool


@dataclass(frozen=True)
class SweepReport:
    """A finished sweep.

    Attributes:
        title: name of the plan.
        models: in the plan's order.
        targets: likewise.
        cells: judged, in the order of models, then of targets.
        ran: how many cells ran now; the others were known.
        seconds: wall time.
        changes: since another sweep; None where none was named.
        against: what that was called.
    """

    title: str
    models: tuple[str, ...]
    targets: tuple[str, ...]
    cells: tuple[JudgedCell, ...]
    ran: int = 0
    seconds: float = 0.0
    changes: tuple[Change, ...] | None = None
    against: str = ""

    @property
    def right(self) -> bool:
        """Whether every cell is what was asked for and nothing became worse."""
        worse = any(change.worse for change in self.changes or ())
        return not worse and all(cell.accepted for cell in self.cells)
