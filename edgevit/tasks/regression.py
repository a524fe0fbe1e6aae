"""Measured quantities, each in its own unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.core.signature import Role, Signature
from edgevit.tasks.figures import Known, Outputs, Score, Truth
from edgevit.tasks.scores import score_values
from edgevit.tasks.task import Task

SHOWN = 8  # values of an output in a line


class Regression(Task):
    """See :class:`edgevit.tasks.task.Task`."""

    def score(
        self, found: Outputs, truth: Truth, signature: Signature, names: tuple[str, ...]
    ) -> Score:
        if truth.known is Known.VALUES:
            output = self.main_output(signature)
            return score_values(found[output.name], truth.values, truth.columns)
        return super().score(found, truth, signature, names)

    def describe(
        self, outputs: dict[str, np.ndarray], signature: Signature, names: tuple[str, ...], top: int
    ) -> dict[str, Any]:
        output = self.main_output(signature)
        values = [float(value) for value in outputs[output.name].reshape(-1)]
        named = names if len(names) == len(values) else ()
        return {"values": dict(zip(named, values, strict=True)) if named else values}

    def in_words(self, document: dict[str, Any]) -> str:
        values = document["values"]
        if isinstance(values, dict):
            return ", ".join(f"{name} {value:.6g}" for name, value in values.items())
        more = f", ... ({len(values)} in all)" if len(values) > SHOWN else ""
        return ", ".join(f"{value:.6g}" for value in values[:SHOWN]) + more


REGRESSION = Regression(
    "regression", "measured quantities, each in its own unit", (Role.VALUES,), (Known.VALUES,)
)
