"""XNNPACK's kernels matched with the operators of a .tflite file that they compute.

XNNPACK's profile names kernels, not operators: some operators become two kernels (a conversion
before a matrix product), some vanish (a reshape, a multiplication folded into another). Within a
part of the graph the order is kept, so kernels and operators are aligned like two texts: the
longest common sequence of those that fit together, matrix products counting most.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgevit.formats.tflite.operators import OPERATORS, Role, names_of

FAMILIES = {family for spec in OPERATORS.values() for family in spec.kernels}
HEAVY = names_of(Role.MULTIPLIES)
HEAVY_WEIGHT = 8.0


def fits(kernel: str, operator: str) -> bool:
    """Whether a kernel of XNNPACK may compute an operator; an unknown one by its own name."""
    family = kernel.partition(" (")[0]
    if family in FAMILIES:
        return operator in OPERATORS and family in OPERATORS[operator].kernels
    return family.replace(" ", "").upper() == operator.replace("_", "")


def assign_kernels(kernels: Sequence[str], operators: Sequence[str]) -> list[int | None]:
    """The place of the operator that each kernel belongs to.

    Args:
        kernels: names, in the order in which they ran, of one delegated part.
        operators: of the same part, in the order of the file.

    Returns:
        For each kernel a place in ``operators``. A kernel that fits none is counted with the
        operator before it if that one may take several, else with the next; None where the part
        has no operator that fits anything.
    """
    weight = np.array(
        [
            [
                (HEAVY_WEIGHT if operator in HEAVY else 1.0) if fits(kernel, operator) else 0.0
                for operator in operators
            ]
            for kernel in kernels
        ]
    ).reshape(len(kernels), len(operators))  # K O
    best = np.zeros((len(kernels) + 1, len(operators) + 1))
    for row in range(len(kernels)):
        taken = np.where(weight[row] > 0, best[row, :-1] + weight[row], 0.0)
        best[row + 1, 1:] = np.maximum.accumulate(np.maximum(taken, best[row, 1:]))
    found: list[int | None] = [None] * len(kernels)
    row, column = len(kernels), len(operators)
    while row and column:
        here = best[row, column]
        if here == best[row, column - 1]:
            column -= 1
        elif here == best[row - 1, column]:
            row -= 1
        else:
            row, column = row - 1, column - 1
            found[row] = column
    return _fill(found, kernels, operators)


def _fill(
    found: list[int | None], kernels: Sequence[str], operators: Sequence[str]
) -> list[int | None]:
    filled = list(found)
    before: int | None = None
    for number, place in enumerate(found):
        if place is not None:
            before = place
            continue
        after = next((later for later in found[number:] if later is not None), None)
        own = before is not None and fits(kernels[number], operators[before])
        filled[number] = before if own or after is None else after
    return filled
