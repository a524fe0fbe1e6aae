"""tflite-mixed: a float graph, a recipe or a plan, one file with a precision for every operator."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Sequence

from edgevit.base.errors import ExportError
from edgevit.core.target import Precision
from edgevit.formats.tflite.writer.quantize.mixed import has_kernel
from edgevit.formats.tflite.writer.quantize.plan import (
    FloatGraph,
    PlannedOp,
    plan_precisions,
    read_graph,
)
from edgevit.quantization.kernel_costs import KernelCosts, shipped_costs
from edgevit.quantization.recipe import ANY, Recipe, Rule, check_used

# What 8 bits take accuracy from first: residual sums, the insides of LayerNormalization, attention.
# Without images to measure the loss with, they stay float, whatever they cost.
DELICATE = {"ADD", "SUB", "MUL", "MEAN", "SUM", "RSQRT", "BATCH_MATMUL", "SOFTMAX"}


# Lines through measurements are right within a tenth at best: for less, no pair of conversions.
MARGIN = 1.1


def is_sturdy(op: PlannedOp) -> bool:
    """Whether an operator may become int8 without a measurement of what that costs."""
    return op.kind not in DELICATE or op.layer.startswith("preprocessing")


def plan_careful(graph: FloatGraph, costs: KernelCosts | None = None) -> tuple[Precision, ...]:
    """The quickest precisions with delicate operators in float; what an export without a budget
    takes."""
    return plan_precisions(graph, costs or shipped_costs(), is_sturdy, MARGIN)


def read_precisions(graph: bytes, recipe: Recipe | None) -> tuple[Precision, ...]:
    """What a recipe, or the careful plan without one, wants of each operator of a float graph.

    Raises:
        ExportError: the recipe asks for a kernel that there is not.
        ConfigError: a rule of the recipe does nothing.
    """
    described = read_graph(graph)
    if recipe is None:
        return plan_careful(described)
    check_used(recipe, [op.group for op in described.ops], "the recipe")
    return precisions_of(described, recipe)


def precisions_of(graph: FloatGraph, recipe: Recipe) -> tuple[Precision, ...]:
    """What a recipe means for each operator.

    Raises:
        ExportError: a rule names a kind of operator and a precision that it has no kernel for.
    """
    found = []
    for op in graph.ops:
        place = recipe.find_rule(op.layer, op.kind)
        wanted = recipe.default if place is None else recipe.rules[place].precision
        possible = has_kernel(op.kind, wanted) and (op.weighted or wanted is not Precision.DYNAMIC)
        if not possible and place is not None and recipe.rules[place].op == op.kind:
            raise ExportError(
                f"the recipe's rule {place + 1} wants {op.kind} of layer {op.layer!r} in "
                f"{wanted}, and LiteRT has no such kernel. Choose float32 for it."
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
