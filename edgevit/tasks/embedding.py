"""A vector for each picture: near ones are alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.core.signature import Role, Signature
from edgevit.tasks.task import Task


class Embedding(Task):
    """See :class:`edgevit.tasks.task.Task`."""

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
    "embedding", "a vector for each picture: near ones are alike", (Role.EMBEDDING,)
)
