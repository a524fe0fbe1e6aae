"""Training batches: seeded, and the same after a kill as without one."""

from __future__ import annotations

import io

import keras
import numpy as np
from PIL import Image

from edgevit.data.datasets import ImageDataset
from edgevit.training.recipe import Recipe


class AugmentedBatches(keras.utils.PyDataset):
    """One epoch of augmented batches of raw images.

    Every batch is a function of (seed, epoch, index) alone, so a resumed run sees exactly the
    batches that the uninterrupted run would have seen.

    Yields:
        uint8 B H W 3, float32 B classes (smoothed and mixed targets).
    """

    def __init__(self, dataset: ImageDataset, recipe: Recipe, seed: int):
        super().__init__(workers=1)
        self.dataset = dataset
        self.recipe = recipe
        self.seed = seed
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Shuffles for this epoch (from 0)."""
        self.epoch = epoch
        self.order = np.random.default_rng((self.seed, epoch)).permutation(len(self.dataset))

    def __len__(self) -> int:
        return max(1, len(self.dataset) // self.recipe.batch_size)

    def __getitem__(self, index: int):
        recipe = self.recipe
        rng = np.random.default_rng((self.seed, self.epoch, index))
        size = recipe.batch_size
        chosen = self.order[index * size : (index + 1) * size]
        images = self.dataset.images[chosen]  # B H W 3
        images = crop_and_flip(images, recipe.crop_padding, recipe.flip, rng)
        images = reencode_jpeg(images, recipe.jpeg_probability, recipe.jpeg_quality, rng)
        classes = len(self.dataset.class_names)
        targets = np.eye(classes, dtype=np.float32)[self.dataset.labels[chosen]]  # B classes
        targets += recipe.label_smoothing * (np.float32(1 / classes) - targets)
        mixing = self.epoch < recipe.mixing_until * recipe.epochs
        if mixing and rng.random() < recipe.cutmix_probability:
            images, targets = cutmix(images, targets, rng)
        return images, targets


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
    count, (rows, columns) = len(images), images.shape[1:3]
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = np.pad(images, around, mode="reflect") if padding else images
    top = rng.integers(0, 2 * padding + 1, count)
    left = rng.integers(0, 2 * padding + 1, count)
    mirrored = rng.random(count) < (0.5 if flip else 0.0)
    result = np.empty_like(images)
    for number in range(count):
        window = padded[
            number, top[number] : top[number] + rows, left[number] : left[number] + columns
        ]
        result[number] = window[:, ::-1] if mirrored[number] else window
    return result


def reencode_jpeg(
    images: np.ndarray, probability: float, quality: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Re-encodes a random share of the images as JPEG of a random quality. uint8 B H W 3."""
    result = images.copy()
    for number in np.flatnonzero(rng.random(len(images)) < probability):
        stream = io.BytesIO()
        level = int(rng.integers(quality[0], quality[1] + 1))
        Image.fromarray(images[number]).save(stream, "JPEG", quality=level)
        result[number] = np.asarray(Image.open(stream))
    return result


def cutmix(
    images: np.ndarray, targets: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pastes one rectangle of a shuffled batch into the batch and mixes targets by area.

    Source: Yun et al. 2019 (arXiv:1905.04899), section 3.1, with one box a batch.
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
    replaced = np.float32((bottom - top) * (right - left) / (rows * columns))
    return mixed, targets * (1 - replaced) + targets[partner] * replaced
