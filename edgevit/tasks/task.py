"""What a task must say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgevit.core.signature import OutputSpec, Role, Signature


@dataclass(frozen=True)
class Task(ABC):
    """What a model is for.

    Attributes:
        name: as typed on the command line.
        summary: one line for people.
        roles: of the outputs that make a model one of this task; the first is what an output is
            of which neither graph nor name says anything.
        figure: what a budget of this task trades, such as "top-1 accuracy"; "": nothing.
    """

    name: str
    summary: str
    roles: tuple[Role, ...]
    figure: str = ""

    def suits(self, signature: Signature) -> bool:
        """Whether a model with these outputs is one of this task."""
        return any(output.role in self.roles for output in signature.outputs)

    def main_output(self, signature: Signature) -> OutputSpec:
        """The output that the task is about."""
        own = (output for output in signature.outputs if output.role in self.roles)
        return next(own, signature.outputs[0])

    @abstractmethod
    def describe(
        self, outputs: dict[str, np.ndarray], signature: Signature, names: tuple[str, ...], top: int
    ) -> dict[str, Any]:
        """What a model says of one sample, as JSON values.

        Args:
            outputs: float32 ... by name, of one sample, without the batch.
            signature: of the model.
            names: of the classes; numbers where there are too few.
            top: how many classes.
        """

    @abstractmethod
    def in_words(self, document: dict[str, Any]) -> str:
        """One line of :meth:`describe`."""
