"""A vector for each picture: near ones are alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.core.signature import Role, Signature
from edgevit.tasks.figures import Known, Outputs, Score, Truth
from edgevit.tasks.scores import score_neighbours
from edgevit.tasks.task import Task


class Embedding(Task):
    """See :class:`edgevit.tasks.task.Task`."""

    def score(
        self, found: Outputs, truth: Truth, signature: Signature, names: tuple[str, ...]
    ) -> Score:
        if truth.known is Known.CLASSES:
            output = self.main_output(signature)
            return score_neighbours(found[output.name], truth.values, truth.columns)
        return super().score(found, truth, signature, names)

    def describe(
        self, outputs: dict[str, np.ndarray], signature: Signature, names: tuple[str, ...], top: int
    ) -> dict[str, Any]:
        vector = outputs[self.main_output(signature).name].reshape(-1)
        return {
            "embedding": [float(value) for value in vector],
            "length": float(np.linalg.norm(vector)),
        }

    def in_words(self, document: dict[str, Any]) -> str:
        size = len(document["embedding"])
        return f"a vector of {size} numbers, of length {document['length']:.4g}"


EMBEDDING = Embedding(
    "embedding",
    "a vector for each picture: near ones are alike",
    (Role.EMBEDDING,),
    (Known.CLASSES,),
)
