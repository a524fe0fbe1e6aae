"""What is different between two sweeps, and whether that is for the worse."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from edgevit.base.statistics import PairedDrop, unpaired_ratio
from edgevit.core.cells import ORDER, CellResult, Change, JudgedCell, Quality

GROWN = 0.01  # of a file's bytes, by which it may grow before that is worse
SLOWER = 0.05  # of the latency, likewise
Finding = tuple[str, bool]  # (in words, whether it is worse)


def find_changes(
    before: Mapping[tuple[str, str], JudgedCell], now: Sequence[JudgedCell]
) -> tuple[Change, ...]:
    """Every difference, in the order of the cells of now.

    Args:
        before: cells of another sweep, by (model, target), under the budgets of now.
        now: cells of this one.
    """
    found = []
    for cell in now:
        place = cell.result.model, cell.result.target
        older = before.get(place)
        if older is None:
            found.append(Change(*place, "cell", f"is new: {cell.state}", False))
            continue
        for kind, compare in KINDS.items():
            for text, worse in compare(older, cell):
                found.append(Change(*place, kind, text, worse))
    places = {(cell.result.model, cell.result.target) for cell in now}
    found += [
        Change(*p, "cell", "is not in the plan any more", False) for p in set(before) - places
    ]
    return tuple(found)


def _compare_verdicts(before: JudgedCell, now: JudgedCell) -> Iterator[Finding]:
    if before.state is not now.state:
        why = f" ({now.reasons[0]})" if now.reasons else ""
        worse = ORDER.index(now.state) > ORDER.index(before.state)
        yield f"{before.state} became {now.state}{why}", worse


def _compare_bytes(before: JudgedCell, now: JudgedCell) -> Iterator[Finding]:
    old, new = before.result.size_bytes, now.result.size_bytes
    if old and new and old != new:
        share = new / old - 1
        yield f"{old:,} bytes became {new:,} ({100 * share:+.2f} %)", share > GROWN


def _compare_accuracy(before: JudgedCell, now: JudgedCell) -> Iterator[Finding]:
    old, new = before.result.quality, now.result.quality
    if old is None or new is None or _same_file(before.result, now.result) or old == new:
        return
    if old.figure != new.figure:
        yield f"{old.figure} became {new.figure}, which are not compared", False
        return
    lost, low, high, how = _lost_between(old, new)
    if lost == 0 and low == 0 == high:
        return
    word = "loses" if lost > 0 else "gains"
    text = (
        f"{new.figure} {100 * old.value:.2f} became {100 * new.value:.2f}: {word} "
        f"{abs(lost):.2f} points (95 % interval of the loss {low:.2f} .. {high:.2f}, {how})"
    )
    yield text, low > 0


def _lost_between(old: Quality, new: Quality) -> tuple[float, float, float, str]:
    """(points lost, ends of the interval, how it was found)."""
    before, after = old.unpack(), new.unpack()
    paired = before is not None and after is not None and len(before) == len(after)
    if paired and old.source == new.source:
        assert before is not None
        assert after is not None
        drop = PairedDrop.of(list(before), list(after))
        interval = drop.interval()
        return drop.points, interval.low, interval.high, "the same samples"
    lost = 100 * (old.value - new.value)
    half = 100 * math.hypot(old.high - old.low, new.high - new.low) / 2
    return lost, lost - half, lost + half, "samples not paired"


def _compare_operators(before: JudgedCell, now: JudgedCell) -> Iterator[Finding]:
    old, new = before.result.operators, now.result.operators
    if old is None or new is None:
        return
    differing = sorted({*old, *new}, key=lambda op: (-abs(new.get(op, 0) - old.get(op, 0)), op))
    told = [
        f"{op} {new.get(op, 0) - old.get(op, 0):+d}"
        for op in differing
        if new.get(op, 0) != old.get(op, 0)
    ]
    if told:
        yield ", ".join(told), False


def _compare_latency(before: JudgedCell, now: JudgedCell) -> Iterator[Finding]:
    """Only where both were measured on the same machine."""
    old, new = before.result, now.result
    same = old.environment and new.environment and new.environment.same_machine(old.environment)
    if not (same and old.latency_ms and new.latency_ms) or old.latency_ms == new.latency_ms:
        return
    ratio = unpaired_ratio(new.latency_ms, old.latency_ms)
    if ratio.low > 1 or ratio.high < 1:
        yield (
            f"{ratio.middle:.2f} times the latency (95 % interval {ratio.low:.2f} .. "
            f"{ratio.high:.2f})",
            ratio.low > 1 + SLOWER,
        )


def _same_file(old: CellResult, new: CellResult) -> bool:
    return bool(old.sha256) and old.sha256 == new.sha256


KINDS: dict[str, Callable[[JudgedCell, JudgedCell], Iterator[Finding]]] = {
    "verdict": _compare_verdicts,
    "bytes": _compare_bytes,
    "accuracy": _compare_accuracy,
    "operators": _compare_operators,
    "latency": _compare_latency,
}
