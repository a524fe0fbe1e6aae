"""One kind to one target: exported through the Python API, and then checked without it."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from edgevit.base.errors import EdgevitError
from edgevit.core.target import Target
from edgevit.verbs.export import Outcome, export_all
from kinds.check import LIMITS, Agreement, Mismatch, check
from kinds.zoo import ZOO, built

CALIBRATED_WITH, CHECKED_WITH = 2, 3  # seeds
CHECKED = 32  # raw samples


class State(StrEnum):
    """What came of a trial."""

    RIGHT = "right"  # verified, and the independent check agrees
    LOSSY = "lossy"  # the file is right, its precision costs more than the limit
    REFUSED = "refused"  # one line, and no file
    USELESS = "useless"  # no file: a constant would be nearer, and the independent check agrees
    FAILED = "FAILED"  # no sound file, or one that was verified and is wrong
    TRACEBACK = "TRACEBACK"  # an error that nobody raised on purpose, or the process died


@dataclass(frozen=True)
class Trial:
    """One cell of the table.

    Attributes:
        kind: of the model.
        target: of the export.
        state: what came of it.
        text: a line about it.
        seconds: wall time of export and check.
        outputs: the independent check by name of the output, as a document.
    """

    kind: str
    target: str
    state: State
    text: str
    seconds: float
    outputs: dict[str, Any] = field(default_factory=dict)


def try_target(name: str, target: Target, folder: Path, seed: int = CHECKED_WITH) -> Trial:
    """Exports a kind to a target and checks the file; never raises.

    Args:
        name: of the kind.
        target: row of TARGETS.
        folder: for the file.
        seed: of the inputs by which the file is checked.
    """
    found: list[Trial] = []
    try_targets(name, [target], folder, found.append, seed)
    return found[0]


def try_targets(
    name: str,
    targets: Sequence[Target],
    folder: Path,
    finished: Callable[[Trial], None],
    seed: int = CHECKED_WITH,
) -> None:
    """Exports a kind to several targets and checks the files; never raises.

    The model is opened, recorded and calibrated once.

    Args:
        name: of the kind.
        targets: rows of TARGETS.
        folder: for the files.
        finished: called with each trial, in the order of the targets.
        seed: of the inputs by which the files are checked.
    """
    waiting = list(targets)
    started = time.perf_counter()

    def finish(state: State, text: str, report: Mapping[str, Agreement] = {}) -> None:
        nonlocal started
        now = time.perf_counter()
        outputs = {key: asdict(value) for key, value in report.items()}
        line, seconds = " ".join(text.split()), round(now - started, 1)
        finished(Trial(name, waiting.pop(0).name, state, line, seconds, outputs))
        started = now

    while waiting:
        left = len(waiting)
        try:
            run_exports(
                name,
                waiting,
                folder,
                keep_failed=True,
                finished=lambda outcome: finish(*_examine(name, outcome, seed)),
            )
        except EdgevitError as error:  # before the first target, or of an only one
            for _ in list(waiting):
                finish(_blame(str(error)), str(error))
        except Exception as error:
            finish(State.TRACEBACK, describe(error))
        if len(waiting) == left:  # an export that finishes nothing and says nothing
            finish(State.FAILED, "the export returned without an outcome")


def run_exports(
    name: str, targets: Sequence[Target], folder: Path, **arguments: Any
) -> list[Outcome]:
    """The exports of a kind, calibrated on raw samples where one of the targets needs it."""
    kind, given = ZOO[name], dict(arguments)
    if any(target.needs_calibration for target in targets):
        given["calibration"] = kind.draw(kind.calibrated_on, CALIBRATED_WITH)
    return export_all(built(name), list(targets), folder, **{**kind.arguments, **given})


def run_export(name: str, target: Target, folder: Path, **arguments: Any) -> Outcome:
    """The export of a kind to one target; see :func:`run_exports`."""
    return run_exports(name, [target], folder, **arguments)[0]


def _examine(name: str, outcome: Outcome, seed: int) -> tuple[State, str, dict[str, Agreement]]:
    """State, line and independent check of a finished export."""
    if outcome.refusal:
        return _blame(outcome.refusal), outcome.refusal, {}
    assert outcome.artifact is not None
    kind = ZOO[name]
    try:
        report = check(outcome.artifact.path, kind, built(name), kind.draw(CHECKED, seed))
    except Mismatch as error:
        return State.FAILED, f"verified as {outcome.verdict}, but {error}", {}
    except Exception as error:  # a file that was verified must run
        return State.FAILED, f"verified as {outcome.verdict}, but {describe(error)}", {}
    said = any(each.useless for each in outcome.reports) and not outcome.suspects
    return *judge(str(outcome.verdict), outcome.target, report, said), report


def _blame(line: str) -> State:
    """A file that a runtime cannot read was written, and no refusal."""
    written = re.search(r"cannot (load|run) it", line)
    return State.FAILED if written else State.REFUSED


def judge(
    verdict: str, target: Target, report: dict[str, Agreement], useless: bool = False
) -> tuple[State, str]:
    """What an export's own verdict and the independent check come to.

    Args:
        verdict: "pass", "lossy", "fail" or "not run".
        target: whose precision says what may be lost.
        report: of the independent check.
        useless: whether the export said that a constant would be nearer, and nothing else.
    """
    limit = LIMITS[str(target.precision)]
    wrong = [name for name, found in report.items() if not limit.holds(found)]
    text = "; ".join(_line(name, report[name]) for name in wrong or report)
    noise = [name for name, found in report.items() if found.is_noise]
    if verdict == "pass":
        if wrong:
            return State.FAILED, f"verified as pass, but {text}"
        return State.RIGHT, text
    if verdict == "lossy" and not noise:
        return State.LOSSY, text
    if verdict == "fail" and useless and wrong and target.tolerance.exact is None:
        return State.USELESS, text
    return State.FAILED, f"verified as {verdict}; {'' if wrong else 'yet sound: '}{text}"


def _line(name: str, found: Agreement) -> str:
    share = "" if found.share is None else f", agrees {found.share:.1%}"
    return f"{name}: mean {found.mean:.2g}, largest {found.largest:.2g}{share}"


def describe(error: BaseException) -> str:
    """An unforeseen error in a line: its words, and the last place of the package on its way."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "edgevit" in Path(frame.filename).parts]
    place = own[-1] if own else frames[-1]
    return f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {error}"[:400]
