"""From a recipe or a plan to a precision for every operator of a float graph, and back."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Sequence

from edgevit.base.errors import ExportError
from edgevit.core.target import Precision
from edgevit.quantization.kernel_costs import shipped_costs
from edgevit.quantization.planner import FloatGraph, plan_careful
from edgevit.quantization.recipe import ANY, Recipe, Rule, check_used


def choose_precisions(graph: FloatGraph, recipe: Recipe | None) -> tuple[Precision, ...]:
    """What a recipe, or the careful plan without one, wants of each operator.

    Raises:
        ExportError: the recipe asks for a kernel that there is not.
        ConfigError: a rule of the recipe does nothing.
    """
    if recipe is None:
        return plan_careful(graph, shipped_costs())
    check_used(recipe, [op.group for op in graph.ops], "the recipe")
    return precisions_of(graph, recipe)


def precisions_of(graph: FloatGraph, recipe: Recipe) -> tuple[Precision, ...]:
    """What a recipe means for each operator.

    Raises:
        ExportError: a rule names a kind of operator and a precision that it has no kernel for.
    """
    found = []
    for op in graph.ops:
        place = recipe.find_rule(op.layer, op.kind)
        wanted = recipe.default if place is None else recipe.rules[place].precision
        possible = wanted in op.precisions
        if not possible and place is not None and recipe.rules[place].op == op.kind:
            raise ExportError(
                f"the recipe's rule {place + 1} wants {op.kind} of layer {op.layer!r} in "
                f"{wanted}, and there is no such kernel. Choose float32 for it."
            )
        found.append(wanted if possible else Precision.FLOAT32)
    return tuple(found)


def recipe_of(
    graph: FloatGraph, precisions: Sequence[Precision], model: str, notes: tuple[str, ...] = ()
) -> Recipe:
    """Few rules that say the same as a precision for every operator.

    Each pattern is as wide as it can be: every layer, else layers that differ in numbers alone,
    else one layer.
    """
    default = Precision.DYNAMIC
    wanted = {op.group: p for op, p in zip(graph.ops, precisions, strict=True)}
    implied = dict(zip(wanted, _by_default(graph, default, wanted), strict=True))
    rules: list[Rule] = []
    covered: set[tuple[str, str]] = set()
    for (layer, kind), precision in wanted.items():
        if (layer, kind) in covered or precision is implied[layer, kind]:
            continue
        for pattern in (ANY, re.sub(r"\d+", "*", layer), layer):
            meant = {
                group
                for group in wanted
                if group[1] == kind and fnmatch.fnmatchcase(group[0], pattern)
            }
            if all(wanted[group] is precision for group in meant):
                rules.append(Rule(pattern, kind, precision))
                covered |= meant
                break
    return Recipe(model, tuple(rules), default, notes)


def _by_default(graph: FloatGraph, default: Precision, groups) -> list[Precision]:
    plain = precisions_of(graph, Recipe("", (), default))
    found = {op.group: p for op, p in zip(graph.ops, plain, strict=True)}
    return [found[group] for group in groups]


def describe_precisions(precisions: Sequence[Precision]) -> str:
    """ "12 operators int8, 3 dynamic, 40 float32" for the manifest."""
    counts = Counter(precisions)
    parts = [f"{counts[p]} {p}" for p in (Precision.INT8, Precision.DYNAMIC, Precision.FLOAT32)]
    return "operators: " + ", ".join(parts)
