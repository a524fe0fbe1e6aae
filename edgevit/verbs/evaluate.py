"""Accuracy of an exported file or of a float model over a dataset's test or validation images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.core.parity import AccuracyReport
from edgevit.data.degradations import DEGRADATIONS
from edgevit.data.evaluation import load_test, load_validation
from edgevit.formats.registry import open_session
from edgevit.formats.session import image_size
from edgevit.frontend.opening import Opening, is_exported, open_source
from edgevit.verbs.verify import logits_of
from edgevit.verification.parity import measure_accuracy

if TYPE_CHECKING:
    from edgevit.data.datasets import ImageDataset

AS_IS = "as is"
TEST, VALIDATION = SPLITS = ("test", "validation")
Status = Callable[[str], None]
Progress = Callable[[int, int], None]


def evaluate(
    model: str | Path,
    data: str | Path,
    limit: int | None = None,
    kernels: str | None = None,
    status: Status | None = None,
    progress: Progress | None = None,
    split: str = TEST,
    **opening: Unpack[Opening],
) -> AccuracyReport:
    """Top-1 and top-5 over a dataset's test images, or those that choices are made by.

    Args:
        model: an exported file, an architecture's name, or a .keras or .safetensors file.
        data: a dataset; see :func:`edgevit.data.datasets.load_dataset`.
        limit: only so many images, drawn by a fixed seed; None: all.
        kernels: a kernel set, for an exported file.
        status: called with a line about what is being done.
        progress: called with (images done, images in all).
        split: "test", or "validation": the training images that were held out from all that is
            behind a float model's weights (:func:`edgevit.data.evaluation.load_validation`).
        **opening: for a float model: see :class:`edgevit.frontend.opening.Opening`.

    Raises:
        ConfigError: validation images of an exported file, which does not tell what its weights
            have seen; an unknown split.
    """
    with _opened(model, data, limit, kernels, status, opening, split) as tested:
        return tested.measure(tested.dataset.images, progress)


def evaluate_robustness(
    model: str | Path,
    data: str | Path,
    limit: int | None = None,
    kernels: str | None = None,
    status: Status | None = None,
    progress: Progress | None = None,
    split: str = TEST,
    **opening: Unpack[Opening],
) -> dict[str, AccuracyReport]:
    """Accuracy on the images as they are, and after each of :data:`DEGRADATIONS`.

    Args:
        model: see :func:`evaluate`; so are the others.

    Returns:
        "as is", then the name of each degradation. All on the same images.
    """
    say = status or (lambda line: None)
    found = {}
    with _opened(model, data, limit, kernels, status, opening, split) as tested:
        dataset = tested.dataset
        for name, degrade in {
            AS_IS: lambda images: images,
            **{way.name: way.apply for way in DEGRADATIONS},
        }.items():
            say(f"{name}: {len(dataset):,} {split} images")
            found[name] = tested.measure(degrade(dataset.images), progress)
    return found


@dataclass(frozen=True)
class _Tested:
    """What is measured: logits of raw images, on the images of a dataset."""

    run: Callable[[np.ndarray], np.ndarray]
    runtime: str
    dataset: ImageDataset

    def measure(self, images: np.ndarray, progress: Progress | None) -> AccuracyReport:
        """Accuracy on the dataset's images, or on what was made of them."""
        labels, source = self.dataset.labels, self.dataset.source
        return measure_accuracy(self.run, images, labels, self.runtime, source, progress)


@contextmanager
def _opened(
    model: str | Path,
    data: str | Path,
    limit: int | None,
    kernels: str | None,
    status: Status | None,
    opening: Opening,
    split: str,
) -> Iterator[_Tested]:
    say = status or (lambda line: None)
    if split not in SPLITS:
        raise ConfigError(f"split must be one of {SPLITS}. Received: split={split!r}")
    path = Path(model)
    if is_exported(path):
        if split != TEST:
            raise ConfigError(
                f"{path}: an exported file does not tell which images its weights learnt from. "
                "Evaluate the model that it was made of, or drop --split."
            )
        with open_session(path, kernels) as session:
            say("reading the test images")
            names = session.manifest.class_names if session.manifest else ()
            dataset = load_test(data, image_size(session), names, limit)
            yield _Tested(logits_of(session), session.runtime, dataset)
        return
    from edgevit.frontend.record_reference import float_logits

    say("loading the model")
    source = open_source(model, **opening)
    say(f"reading the {split} images")
    size, names = source.preprocess.input_size, source.class_names
    if split == TEST:
        dataset = load_test(data, size, names, limit)
    else:
        dataset = load_validation(data, size, names, limit, source.share_unseen)
    yield _Tested(lambda images: float_logits(source, images), "keras", dataset)
