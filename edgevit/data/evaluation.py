"""The images that a model is measured on: test images, or validation images it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgevit.data.datasets import (
    HELD_OUT,
    ImageDataset,
    limit_images,
    load_dataset,
    split_validation,
)


def load_test(
    data: str | Path,
    size: tuple[int, int] | None,
    class_names: tuple[str, ...],
    limit: int | None = None,
    channels: int = 3,
) -> ImageDataset:
    """The test images of a dataset.

    Args:
        data: the dataset; see :func:`edgevit.data.datasets.load_dataset`.
        size: (rows, columns) that every image is resized to; None: the images' own.
        class_names: of the logits.
        limit: only so many images, drawn by a fixed seed; None: all.
        channels: of every image.

    Raises:
        DataError: no such dataset, or a damaged one.
    """
    dataset = _by_class_names(load_dataset(data, "test", size, channels=channels), class_names)
    if limit is not None and limit < len(dataset):
        chosen = np.random.default_rng(0).permutation(len(dataset))[:limit]
        dataset = dataset.select(np.sort(chosen))
    return dataset


def load_validation(
    data: str | Path,
    size: tuple[int, int] | None,
    class_names: tuple[str, ...],
    count: int | None,
    share_unseen: Callable[[str], float] = lambda source: HELD_OUT,
    channels: int = 3,
) -> ImageDataset:
    """A stratified sample of the validation images: of the seeded fifth of the training images that
    ``edgevit train`` holds out too, or of as much of it as the weights have not learnt from. Never
    test images.

    Args:
        data, size, class_names: as for :func:`load_test`.
        count: images wanted; fewer where fewer are held out. None: all.
        share_unseen: name of a dataset -> share of its training images that the weights have not
            learnt from, such as :meth:`edgevit.frontend.source.Source.share_unseen`.
        channels: of every image.

    Raises:
        DataError: no such dataset, or a damaged one.
    """
    dataset = load_dataset(data, "train", size, channels=channels)
    _, held = split_validation(dataset, share_unseen(dataset.source))
    return _by_class_names(limit_images(held, count or len(held)), class_names)


def renumber(
    labels: np.ndarray, names: tuple[str, ...], class_names: tuple[str, ...]
) -> np.ndarray | None:
    """Labels in the numbers of other classes; None where one is not among these.

    Args:
        labels: int64 N, an index into ``names``.
        names: of the classes that are labelled.
        class_names: of the classes that count.
    """
    places = {name: number for number, name in enumerate(class_names)}
    if not all(name in places for name in names):
        return None
    return np.array([places[name] for name in names])[labels]


def _by_class_names(dataset: ImageDataset, class_names: tuple[str, ...]) -> ImageDataset:
    """By name: the dataset may hold some of the model's classes only, or in another order."""
    labels = renumber(dataset.labels, dataset.class_names, class_names)
    return dataset if labels is None else replace(dataset, labels=labels, class_names=class_names)
