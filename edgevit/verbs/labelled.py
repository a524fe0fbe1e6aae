"""Samples that a model is measured on, whatever is known of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevit.core.samples import Inputs, count_samples
from edgevit.core.signature import Signature
from edgevit.data.calibration import draw_indices, has_labels, open_calibration
from edgevit.data.datasets import ImageDataset
from edgevit.data.masks import load_masks
from edgevit.data.values import load_values
from edgevit.tasks.figures import Known, Truth
from edgevit.tasks.task import Task

DRAWN = 1000  # unlabelled samples, of a folder that holds more
NONE = np.empty(0)


@dataclass(frozen=True)
class Labelled:
    """Samples, and what a model should make of them.

    Attributes:
        inputs: raw, by name, or of the only input.
        truth: of them.
        source: where they came from.
    """

    inputs: Inputs
    truth: Truth
    source: str

    def __len__(self) -> int:
        return count_samples(self.inputs)

    def sample(self, count: int | None) -> Labelled:
        """A seeded choice of so many; all if there are fewer."""
        if count is None or count >= len(self):
            return self
        chosen = draw_indices(len(self), count, seed=0)
        truth, inputs = self.truth, self.inputs
        values = truth.values[chosen] if len(truth.values) else truth.values
        taken = (
            inputs[chosen]
            if isinstance(inputs, np.ndarray)
            else {name: array[chosen] for name, array in inputs.items()}
        )
        return Labelled(taken, Truth(truth.known, values, truth.columns), self.source)


def find_known(data: str | Path, signature: Signature) -> Known:
    """What a path tells of its samples."""
    path = Path(data)
    if path.suffix.lower() in (".csv", ".tsv"):
        return Known.VALUES
    if (path / "masks").is_dir():
        return Known.MASKS
    return Known.CLASSES if has_labels(data, signature) else Known.NOTHING


def load_labelled(
    data: str | Path,
    task: Task,
    signature: Signature,
    read_classes: Callable[[], ImageDataset],
    count: int | None = None,
) -> Labelled:
    """Reads whatever there is to measure a model on.

    Args:
        data: a folder of ``images/`` and ``masks/``, a CSV of pictures and values, a dataset of
            pictures by class, or samples of which nothing is known: a plain folder of pictures, or
            arrays of every input.
        task: of the model.
        signature: of the model.
        read_classes: reads the part of a dataset that is meant.
        count: only so many samples, drawn by a fixed seed; None: all, or DRAWN unlabelled ones.

    Raises:
        ConfigError: data that the task is not measured on.
        DataError: it cannot be read.
    """
    known = find_known(data, signature)
    task.check_truth(known, signature)
    if known is Known.MASKS:
        output = task.main_output(signature)
        masks = load_masks(data, signature, output.shape[-1] or 1)
        return Labelled(masks.images, Truth(known, masks.masks), masks.source).sample(count)
    if known is Known.VALUES:
        table = load_values(data, signature)
        truth = Truth(known, table.targets, table.columns)
        return Labelled(table.inputs, truth, table.source).sample(count)
    if known is Known.CLASSES:
        dataset = read_classes()
        truth = Truth(known, dataset.labels, dataset.class_names)
        return Labelled(dataset.images, truth, dataset.source)
    drawn = open_calibration(data, signature, count or DRAWN)
    return Labelled(drawn.inputs, Truth(known, NONE), drawn.source).sample(count)
