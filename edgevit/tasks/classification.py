"""Which classes a picture shows: one of several, yes or no, or several at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.core.class_names import class_name
from edgevit.core.signature import Activation, OutputSpec, Role, Signature
from edgevit.tasks.figures import Known, Outputs, Score, Truth
from edgevit.tasks.measures import threshold
from edgevit.tasks.scores import score_classes, score_labels
from edgevit.tasks.task import Task


class Classification(Task):
    """See :class:`edgevit.tasks.task.Task`."""

    def check_truth(self, known: Known, signature: Signature) -> None:
        super().check_truth(known, signature)
        output = self.main_output(signature)
        if known is Known.CLASSES and len(output.shape) != 2:
            raise ConfigError(
                f"{known} say one class for each picture, and the output {output.name!r} says one "
                "for each of many places. Give unlabelled samples, beside the float model."
            )

    def score(
        self, found: Outputs, truth: Truth, signature: Signature, names: tuple[str, ...]
    ) -> Score:
        output = self.main_output(signature)
        if truth.known is Known.CLASSES:
            return score_classes(found[output.name], truth.values, output)
        if truth.known is Known.VALUES:
            return score_labels(found[output.name], truth.values, truth.columns, output)
        return super().score(found, truth, signature, names)

    def describe(
        self, outputs: dict[str, np.ndarray], signature: Signature, names: tuple[str, ...], top: int
    ) -> dict[str, Any]:
        output = self.main_output(signature)
        scores = outputs[output.name]
        if scores.ndim > 1:  # a class for each position, as of text
            return {"classes": [class_name(int(c), names) for c in np.argmax(scores, axis=-1)]}
        shares = probabilities(scores, output)
        if threshold(output) is not None and len(shares) == 1:
            return {"classes": _yes_or_no(float(shares[0]), names)}
        order = np.argsort(-shares, kind="stable")[:top]
        return {
            "classes": [
                {
                    "class": class_name(int(index), names),
                    "index": int(index),
                    "probability": float(shares[index]),
                }
                for index in order
            ]
        }

    def in_words(self, document: dict[str, Any]) -> str:
        return ", ".join(
            found if isinstance(found, str)
            else f"{found['class']} {100 * found['probability']:.1f} %"
            for found in document["classes"]
        )  # fmt: skip


def probabilities(scores: np.ndarray, output: OutputSpec) -> np.ndarray:
    """Probabilities of classes; what is one already stays as it is.

    Args:
        scores: float ... C.
        output: that they are of.
    """
    if output.activation is not Activation.LINEAR or output.role is Role.PROBABILITIES:
        return scores
    if output.shape[-1] == 1:
        return 1 / (1 + np.exp(-scores))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def class_shares(scores: np.ndarray, output: OutputSpec) -> np.ndarray:
    """Probabilities of two classes or more: a single number is how likely the second of two is.

    Args:
        scores: float ... C.
        output: that they are of.
    """
    shares = probabilities(scores, output)
    return np.concatenate([1 - shares, shares], axis=-1) if shares.shape[-1] == 1 else shares


def both_classes(scores: np.ndarray, output: OutputSpec) -> np.ndarray:
    """Scores with a column for each class, where a single one says how likely the second is.

    Args:
        scores: float N C.
        output: that they are of.

    Returns:
        float N C, C >= 2, of which the largest of a row is the class.
    """
    limit = threshold(output)
    if scores.shape[-1] > 1 or limit is None:
        return scores
    return np.concatenate([2 * limit - scores, scores], axis=-1)


NO_OR_YES = ("no", "yes")


def _yes_or_no(share: float, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """One probability: of the second of two named classes, or of the only one."""
    if len(names) == 2:
        pairs = [(names[1], 1, share), (names[0], 0, 1 - share)]
    elif len(names) == 1:
        pairs = [(names[0], 0, share)]
    else:
        pairs = [(NO_OR_YES[1], 1, share), (NO_OR_YES[0], 0, 1 - share)]
    found = [{"class": name, "index": index, "probability": p} for name, index, p in pairs]
    return sorted(found, key=lambda entry: -float(str(entry["probability"])))


CLASSIFICATION = Classification(
    "classification",
    "classes of a picture: one of several, yes or no, or several at once",
    (Role.LOGITS, Role.PROBABILITIES),
    (Known.CLASSES, Known.VALUES),
)
