"""What a task must say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.core.signature import OutputSpec, Role, Signature
from edgevit.tasks.figures import Known, Outputs, Score, Truth
from edgevit.tasks.scores import score_closeness


@dataclass(frozen=True)
class Task(ABC):
    """What a model is for.

    Attributes:
        name: as typed on the command line.
        summary: one line for people.
        roles: of the outputs that make a model one of this task; the first is what an output is
            of which neither graph nor name says anything.
        truths: what it can be measured on, the usual one first; unlabelled samples serve any.
    """

    name: str
    summary: str
    roles: tuple[Role, ...]
    truths: tuple[Known, ...] = ()

    def suits(self, signature: Signature) -> bool:
        """Whether a model with these outputs is one of this task."""
        return any(output.role in self.roles for output in signature.outputs)

    def main_output(self, signature: Signature) -> OutputSpec:
        """The output that the task is about."""
        own = (output for output in signature.outputs if output.role in self.roles)
        return next(own, signature.outputs[0])

    def measured_outputs(self, signature: Signature, known: Known) -> tuple[OutputSpec, ...]:
        """The outputs that its figures are about: all where nothing is known of samples."""
        return signature.outputs if known is Known.NOTHING else (self.main_output(signature),)

    def check_truth(self, known: Known, signature: Signature) -> None:
        """Refuses what this task cannot be measured on.

        Raises:
            ConfigError: it cannot.
        """
        if known in (*self.truths, Known.NOTHING):
            return
        output = self.main_output(signature)
        wanted = " or ".join(self.truths) or "unlabelled samples, beside the float model"
        raise ConfigError(
            f"a model for {self.name}, whose output {output.name!r} holds {output.role}, is "
            f"measured on {wanted}. Received: {known}. --task says what else it may be for."
        )

    def score(
        self, found: Outputs, truth: Truth, signature: Signature, names: tuple[str, ...]
    ) -> Score:
        """How far outputs are from what is true.

        Args:
            found: of the model.
            truth: one of :attr:`truths`, or the float model's outputs on unlabelled samples.
            signature: of the model.
            names: of the classes; numbers where there are too few.

        Raises:
            DataError: it does not fit the model.
        """
        assert truth.outputs is not None  # of unlabelled samples
        return score_closeness(found, truth.outputs, signature.outputs)

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
