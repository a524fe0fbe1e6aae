"""Rewrites that look at one operator after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from edgevit.formats.passes import Declined, PassReport
from edgevit.formats.tflite.writer.graph import TfliteGraph

# Whether something was changed at an operator; Declined with a reason where it nearly was.
Rewrite = Callable[[TfliteGraph, Any], bool | Declined]


def rewrite_each(
    name: str, graph: TfliteGraph, operators: Iterable[Any], rewrite: Rewrite
) -> PassReport:
    """Tries a rewrite at each operator.

    Args:
        name: of the pass.
        graph: which is changed in place.
        operators: of the graph, in the order in which they are tried.
        rewrite: what is tried.
    """
    count = 0
    skipped: list[tuple[str, str]] = []
    for operator in operators:
        outcome = rewrite(graph, operator)
        if isinstance(outcome, Declined):
            skipped.append((graph.name(int(operator.outputs[0])), outcome.reason))
        elif outcome:
            count += 1
    return PassReport(name, count, tuple(skipped))
