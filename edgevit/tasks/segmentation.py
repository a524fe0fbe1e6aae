"""A class for every pixel."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.core.class_names import class_name
from edgevit.core.signature import Role, Signature
from edgevit.tasks.figures import Known, Outputs, Score, Truth
from edgevit.tasks.measures import decide
from edgevit.tasks.scores import score_masks
from edgevit.tasks.task import Task


class Segmentation(Task):
    """See :class:`edgevit.tasks.task.Task`."""

    def score(
        self, found: Outputs, truth: Truth, signature: Signature, names: tuple[str, ...]
    ) -> Score:
        if truth.known is Known.MASKS:
            output = self.main_output(signature)
            return score_masks(found[output.name], truth.values, output, names)
        return super().score(found, truth, signature, names)

    def describe(
        self, outputs: dict[str, np.ndarray], signature: Signature, names: tuple[str, ...], top: int
    ) -> dict[str, Any]:
        mask = self.mask(outputs, signature)
        labels, counts = np.unique(mask, return_counts=True)
        shares = sorted(zip(counts / mask.size, labels, strict=True), reverse=True)
        return {
            "size": list(mask.shape),
            "classes": [
                {"class": class_name(int(label), names), "index": int(label), "share": float(share)}
                for share, label in shares
            ],
        }

    def in_words(self, document: dict[str, Any]) -> str:
        return ", ".join(
            f"{found['class']} {100 * found['share']:.1f} % of the pixels"
            for found in document["classes"]
        )

    def mask(self, outputs: dict[str, np.ndarray], signature: Signature) -> np.ndarray:
        """The class of every pixel of one sample, uint8 H W; of several at once the first."""
        output = self.main_output(signature)
        chosen = decide(outputs[output.name], output)
        if chosen.dtype == bool:
            alone = chosen.shape[-1] == 1
            chosen = chosen[..., 0] if alone else (np.argmax(chosen, -1) + 1) * chosen.any(-1)
        return chosen.astype(np.uint8)


SEGMENTATION = Segmentation("segmentation", "a class for every pixel", (Role.MASK,), (Known.MASKS,))
