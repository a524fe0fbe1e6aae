"""Anything else: boxes, maps, labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.core.signature import Role, Signature
from edgevit.tasks.task import Task

FEW = 64  # numbers of an output that are shown as they are


class Generic(Task):
    """See :class:`edgevit.tasks.task.Task`."""

    def suits(self, signature: Signature) -> bool:
        return True

    def describe(
        self, outputs: dict[str, np.ndarray], signature: Signature, names: tuple[str, ...], top: int
    ) -> dict[str, Any]:
        return {
            "outputs": {
                name: {
                    "shape": list(values.shape),
                    "low": float(values.min()),
                    "high": float(values.max()),
                    **({"values": values.tolist()} if values.size <= FEW else {}),
                }
                for name, values in outputs.items()
            }
        }

    def in_words(self, document: dict[str, Any]) -> str:
        return "; ".join(
            f"{name}: {' x '.join(map(str, found['shape'])) or 'a number'}, "
            f"{found['low']:.4g} to {found['high']:.4g}"
            for name, found in document["outputs"].items()
        )


GENERIC = Generic("generic", "anything else: boxes, maps, labels", (Role.MAP, Role.LABELS))
