"""One kind to one target: exported through the Python API, and then checked without it."""

from __future__ import annotations

import time
import traceback
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from edgevit.base.errors import EdgevitError, RuntimeFailure
from edgevit.core.target import Target
from edgevit.verbs.export import Outcome, export
from kinds.check import LIMITS, Agreement, Mismatch, check
from kinds.zoo import KINDS, built

CALIBRATION = 60  # raw samples
CALIBRATED_WITH, CHECKED_WITH = 2, 3  # seeds
CHECKED = 32  # raw samples
NOISE = 0.9  # mean |difference| over deviation at which an output says nothing any more


class State(StrEnum):
    """What came of a trial."""

    RIGHT = "right"  # verified, and the independent check agrees
    LOSSY = "lossy"  # the file is right, its precision costs more than the limit
    REFUSED = "refused"  # one line, and no file
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
    started = time.perf_counter()
    state, text, report = _try(name, target, folder, seed)
    seconds = round(time.perf_counter() - started, 1)
    outputs = {key: asdict(value) for key, value in report.items()}
    return Trial(name, target.name, state, " ".join(text.split()), seconds, outputs)


def run_export(name: str, target: Target, folder: Path, **arguments: Any) -> Outcome:
    """The export of a kind, calibrated on raw samples where the target needs it."""
    kind, given = KINDS[name], dict(arguments)
    if target.needs_calibration:
        given["calibration"] = kind.draw(CALIBRATION, CALIBRATED_WITH)
    return export(built(name), target.name, folder, **{**kind.arguments, **given})


def _try(
    name: str, target: Target, folder: Path, seed: int
) -> tuple[State, str, dict[str, Agreement]]:
    kind, report = KINDS[name], {}
    try:
        outcome = run_export(name, target, folder, keep_failed=True)
        assert outcome.artifact is not None
        report = check(outcome.artifact.path, kind, built(name), kind.draw(CHECKED, seed))
    except RuntimeFailure as error:
        return State.FAILED, str(error), {}
    except EdgevitError as error:
        return State.REFUSED, str(error), {}
    except Mismatch as error:
        return State.FAILED, f"verified as {outcome.verdict}, but {error}", {}
    except Exception as error:
        return State.TRACEBACK, describe(error), {}
    return *judge(str(outcome.verdict), target, report), report


def judge(verdict: str, target: Target, report: dict[str, Agreement]) -> tuple[State, str]:
    """What an export's own verdict and the independent check come to.

    Args:
        verdict: "pass", "lossy", "fail" or "not run".
        target: whose precision says what may be lost.
        report: of the independent check.
    """
    limit = LIMITS[str(target.precision)]
    wrong = [name for name, found in report.items() if not limit.holds(found)]
    text = "; ".join(_line(name, report[name]) for name in wrong or report)
    noise = [name for name, found in report.items() if not found.mean <= NOISE]
    if verdict == "pass":
        if wrong:
            return State.FAILED, f"verified as pass, but {text}"
        return State.RIGHT, text
    if verdict == "lossy" and not noise:
        return State.LOSSY, text
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
