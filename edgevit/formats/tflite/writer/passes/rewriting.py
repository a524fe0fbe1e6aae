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


def replace_where(graph: TfliteGraph, write: Callable[[Any], Iterable[Any] | None]) -> int:
    """Puts other operators in the place of some.

    Args:
        graph: which is changed in place, and not pruned.
        write: an operator -> those that compute its output instead; None: it stays.

    Returns:
        How many were replaced.
    """
    operators: list[Any] = []
    count = 0
    for operator in graph.operators:
        written = write(operator)
        count += written is not None
        operators += [operator] if written is None else written
    graph.operators = operators
    return count


def replace_each(graph: TfliteGraph, kind: str, write: Callable[[Any], Iterable[Any]]) -> None:
    """Puts other operators in the place of each one of a kind.

    Args:
        graph: which is changed in place, and pruned.
        kind: such as "GELU".
        write: an operator -> those that compute its output instead.
    """
    replace_where(graph, lambda found: write(found) if graph.kind(found) == kind else None)
    graph.prune()
