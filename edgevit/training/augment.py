"""Training batches: seeded, and the same after a kill as without one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, fields

import keras
import numpy as np

from edgevit.data.datasets import ImageDataset
from edgevit.data.images import encode_jpegs
from edgevit.training.distort import distort, draw_distortions
from edgevit.training.recipe import Recipe
from edgevit.training.teacher import TEACHER_BATCH, TeacherAnswers, average_answers

MOST_WORKERS = 8


class AugmentedBatches(keras.utils.PyDataset):
    """One epoch of augmented batches of raw images.

    Every batch is a function of (seed, epoch, index) alone, so a resumed run sees exactly the
    batches that the uninterrupted run would have seen. With a teacher, what an image looks like is
    a function of (seed, view) and of the image, whatever batch it falls into; ``start_epoch`` comes
    before the first batch.

    Args:
        dataset: what is learnt from.
        recipe: how.
        seed: of everything random.
        teacher: answers to the views; None: no teacher.

    Yields:
        uint8 B H W 3, float32 B classes (smoothed and mixed targets). With a teacher float32
        B 2*classes: the targets, then the teacher's logits.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        recipe: Recipe,
        seed: int,
        teacher: TeacherAnswers | None = None,
    ):
        # Threads that prepare batches ahead: JPEGs are encoded outside of Python's lock.
        super().__init__(workers=max(1, min(MOST_WORKERS, (os.cpu_count() or 1) // 2)))
        self.dataset = dataset
        self.recipe = recipe
        self.seed = seed
        self.teacher = teacher
        self.answered: int | None = None  # the view that the answers are to
        if teacher is None:
            self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Shuffles for this epoch (from 0), and has the teacher answer to its view."""
        self.epoch = epoch
        self.order = np.random.default_rng((self.seed, epoch)).permutation(len(self.dataset))
        view = epoch % self.recipe.views if self.recipe.views else epoch
        if self.teacher is not None and self.answered != view:
            self.view = draw_view(len(self.dataset), self.recipe, (self.seed, view))
            self.answers = self.teacher.to_view(view, self._in_order())  # N classes
            self.answered = view

    def _in_order(self) -> Iterator[np.ndarray]:
        """All images as this epoch shows them, in the dataset's order. uint8 B H W 3 each."""
        size = TEACHER_BATCH
        for start in range(0, len(self.dataset), size):
            yield self._seen(np.arange(start, min(start + size, len(self.dataset))))

    def _seen(self, chosen: np.ndarray) -> np.ndarray:
        return self.view.select(chosen).apply(self.dataset.images[chosen], self.recipe.crop_padding)

    def __len__(self) -> int:
        return max(1, len(self.dataset) // self.recipe.batch_size)

    def __getitem__(self, index: int):
        recipe = self.recipe
        rng = np.random.default_rng((self.seed, self.epoch, index))
        size = recipe.batch_size
        chosen = self.order[index * size : (index + 1) * size]
        classes = len(self.dataset.class_names)
        targets = np.eye(classes, dtype=np.float32)[self.dataset.labels[chosen]]  # B classes
        targets += recipe.label_smoothing * (np.float32(1 / classes) - targets)
        answers = None
        if self.teacher is not None:
            images, answers = self._seen(chosen), self.answers[chosen]  # B H W 3, B classes
        else:
            images = self.dataset.images[chosen]
            images = crop_and_flip(images, recipe.crop_padding, recipe.flip, rng)
            images = distort(images, *draw_distortions(len(images), recipe.trivial_augment, rng))
            images = reencode_jpeg(images, recipe.jpeg_probability, recipe.jpeg_quality, rng)
        mixing = self.epoch < recipe.mixing_until * recipe.epochs
        if mixing and rng.random() < recipe.cutmix_probability:
            images, partner, replaced = cutmix(images, rng)
            shares = 1 - replaced, replaced
            targets = targets * shares[0] + targets[partner] * shares[1]
            if answers is not None:
                both = answers, answers[partner]
                answers = average_answers(both, recipe.temperature, shares)
        return images, targets if answers is None else np.concatenate([targets, answers], axis=1)


@dataclass(frozen=True)
class View:
    """How images are augmented, one row an image.

    Attributes:
        top: first row of the window in the padded image. int64 N.
        left: first column of it. int64 N.
        mirrored: whether it is mirrored left to right. bool N.
        operation: what distorts it then, a place in
            :data:`edgevit.training.distort.OPERATIONS`. int64 N.
        strength: of that, in [-1, 1]. float64 N.
        quality: of the JPEG that it is encoded as; 0: it is not. int64 N.
    """

    top: np.ndarray
    left: np.ndarray
    mirrored: np.ndarray
    operation: np.ndarray
    strength: np.ndarray
    quality: np.ndarray

    def select(self, indices: np.ndarray) -> View:
        """The rows at these indices."""
        return View(*(getattr(self, field.name)[indices] for field in fields(self)))

    def apply(self, images: np.ndarray, padding: int) -> np.ndarray:
        """The images, augmented. uint8 N H W 3."""
        moved = cut_windows(images, padding, self.top, self.left, self.mirrored)
        return encode_jpegs(distort(moved, self.operation, self.strength), self.quality)


def draw_view(count: int, recipe: Recipe, seed: tuple[int, ...]) -> View:
    """A view of so many images: crops, mirroring, distortions and JPEG qualities of a recipe."""
    rng = np.random.default_rng((*seed, 0, 1))  # unlike an epoch's or a batch's
    top = rng.integers(0, 2 * recipe.crop_padding + 1, count)
    left = rng.integers(0, 2 * recipe.crop_padding + 1, count)
    mirrored = rng.random(count) < (0.5 if recipe.flip else 0.0)
    quality = rng.integers(recipe.jpeg_quality[0], recipe.jpeg_quality[1] + 1, count)
    encoded = rng.random(count) < recipe.jpeg_probability
    distortions = draw_distortions(count, recipe.trivial_augment, rng)
    return View(top, left, mirrored, *distortions, np.where(encoded, quality, 0))


def crop_and_flip(
    images: np.ndarray, padding: int, flip: bool, rng: np.random.Generator
) -> np.ndarray:
    """Random translation by up to ``padding`` pixels (mirrored border) and random mirroring.

    Args:
        images: uint8 B H W 3.
        padding: largest translation in pixels.
        flip: whether half of the images are mirrored left to right.
        rng: source of randomness.

    Returns:
        uint8 B H W 3.
    """
    count = len(images)
    top = rng.integers(0, 2 * padding + 1, count)
    left = rng.integers(0, 2 * padding + 1, count)
    mirrored = rng.random(count) < (0.5 if flip else 0.0)
    return cut_windows(images, padding, top, left, mirrored)


def cut_windows(
    images: np.ndarray, padding: int, top: np.ndarray, left: np.ndarray, mirrored: np.ndarray
) -> np.ndarray:
    """One window of each image, padded with its own reflection. uint8 B H W 3."""
    rows, columns = images.shape[1:3]
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = np.pad(images, around, mode="reflect") if padding else images
    result = np.empty_like(images)
    for number in range(len(images)):
        window = padded[
            number, top[number] : top[number] + rows, left[number] : left[number] + columns
        ]
        result[number] = window[:, ::-1] if mirrored[number] else window
    return result


def reencode_jpeg(
    images: np.ndarray, probability: float, quality: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Re-encodes a random share of the images as JPEG of a random quality. uint8 B H W 3."""
    levels = np.zeros(len(images), np.int64)
    for number in np.flatnonzero(rng.random(len(images)) < probability):
        levels[number] = rng.integers(quality[0], quality[1] + 1)
    return encode_jpegs(images, levels)


def cutmix(images: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """Pastes one rectangle of a shuffled batch into the batch.

    Source: Yun et al. 2019 (arXiv:1905.04899), section 3.1, with one box a batch.

    Args:
        images: uint8 B H W 3.
        rng: source of randomness.

    Returns:
        mixed images; the image (int64 B) that each took its rectangle from; the rectangle's share
        of the area, which is that image's share of the target.
    """
    _, rows, columns, _ = images.shape
    share = 1.0 - rng.beta(1.0, 1.0)  # area that is replaced
    height, width = int(rows * share**0.5), int(columns * share**0.5)
    middle_row, middle_column = rng.integers(rows), rng.integers(columns)
    top, bottom = np.clip((middle_row - height // 2, middle_row + height // 2), 0, rows)
    left, right = np.clip((middle_column - width // 2, middle_column + width // 2), 0, columns)
    partner = rng.permutation(len(images))
    mixed = images.copy()
    mixed[:, top:bottom, left:right] = images[partner, top:bottom, left:right]
    replaced = float((bottom - top) * (right - left)) / (rows * columns)
    return mixed, partner, replaced
