"""Passes: what a rewrite of a graph, TFLite or ONNX, is and what it reports.

A pass is a row of a table: a name, a summary, and a function that changes the graph in place and
reports how often. A table is an ordered tuple of passes. What looks like a pass's pattern and is
left alone has a reason, so that a pass without a match can be told from one that is broken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Graph = TypeVar("Graph")


@dataclass(frozen=True)
class Declined:
    """Something looked like the pattern, and was left alone.

    Attributes:
        reason: what is different, as half a sentence.
    """

    reason: str


@dataclass(frozen=True)
class PassReport:
    """What one pass did to a graph.

    Attributes:
        name: of the pass.
        count: how often it changed something; 0 if the graph is as it was.
        skipped: (where, reason) of what it left alone.
    """

    name: str
    count: int
    skipped: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Pass(Generic[Graph]):
    """One rewrite of a graph.

    Attributes:
        name: as on the command line and in the manifest.
        summary: one line for people.
        run: changes a graph in place and reports what it did.
        exact: whether the rewritten graph returns the same in real arithmetic.
        default: whether the pass is run unless somebody asks for other ones.
    """

    name: str
    summary: str
    run: Callable[[Graph], PassReport] = field(repr=False)
    exact: bool = True
    default: bool = True


def run_passes(graph: Graph, passes: Iterable[Pass[Graph]]) -> tuple[PassReport, ...]:
    """Runs every pass once, in order, on a graph that is changed in place."""
    return tuple(step.run(graph) for step in passes)


def report_lines(reports: Iterable[PassReport]) -> tuple[str, ...]:
    """What passes did, for the manifest: a line for each that changed something."""
    counts: Counter[str] = Counter()
    for report in reports:
        counts[report.name] += report.count
    return tuple(f"{name}: {count}" for name, count in counts.items() if count)
