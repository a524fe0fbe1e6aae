"""The images that activation ranges are measured on: seeded, training images only, identified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevit.base.errors import DataError
from edgevit.data.datasets import ImageDataset, digest_arrays, load_dataset
from edgevit.data.images import is_image_name, read_image


@dataclass(frozen=True)
class CalibrationSample:
    """Raw images for calibration.

    Attributes:
        images: uint8 B H W 3.
        source: dataset and split.
        digest: sha256 of the pixels, whatever their order.
    """

    images: np.ndarray
    source: str
    digest: str

    @classmethod
    def of_array(cls, images: np.ndarray, size: tuple[int, int], source: str = "array"):
        """Takes images as they are.

        Raises:
            DataError: not uint8 B H W 3 of the given (rows, columns), or none.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (*size, 3):
            raise DataError(
                f"calibration images must be uint8 B {size[0]} {size[1]} 3. "
                f"Received: {images.dtype} {images.shape}"
            )
        if len(images) == 0:
            raise DataError("calibration needs at least one image. Received: 0")
        return cls(images, source, digest_images(images))


def sample_images(dataset: ImageDataset, count: int, seed: int = 0) -> CalibrationSample:
    """A seeded sample with the same number of images of every class, as far as there are.

    Raises:
        DataError: the dataset is a test or validation split: their images must stay unseen.
    """
    if dataset.split not in ("train", "all"):
        raise DataError(
            f"calibration draws from training images only. Received: split={dataset.split!r}"
        )
    groups = dataset.shuffle_classes(seed)
    # One of each class in turn, until there are enough.
    longest = max(len(group) for group in groups)
    turns = [group[turn] for turn in range(longest) for group in groups if turn < len(group)]
    chosen = np.sort(np.array(turns[:count], dtype=np.int64))
    sample = CalibrationSample.of_array(dataset.images[chosen], dataset.images.shape[1:3])
    return CalibrationSample(sample.images, f"{dataset.source}, train", sample.digest)


def sample_source(
    source: str | Path, size: tuple[int, int], count: int, seed: int = 0
) -> CalibrationSample:
    """A sample of the training images of a dataset, or of a plain folder of pictures.

    Args:
        source: as for :func:`edgevit.data.datasets.load_dataset`; a folder of pictures without
            class folders is taken as one class.
        size: (rows, columns) that images are resized to.
        count: how many.
        seed: of the draw.

    Raises:
        DataError: no image there.
    """
    path = Path(source)
    if path.is_dir():
        pictures = _plain_pictures(path)
        if pictures:
            rng = np.random.default_rng(seed)
            chosen = sorted(rng.permutation(len(pictures))[:count])
            images = np.stack([read_image(pictures[index], size) for index in chosen])
            return CalibrationSample.of_array(images, size, f"{path.name}, pictures")
    return sample_images(load_dataset(source, "train", size), count, seed)


def leave_out(sample: CalibrationSample, unseen: np.ndarray) -> tuple[CalibrationSample, int]:
    """A sample without those images that are among others too, pixel by pixel.

    Args:
        sample: for calibration.
        unseen: uint8 B H W 3 of the same size: the test images.

    Returns:
        (the sample, how many were left out).

    Raises:
        DataError: nothing is left: these are the test images.
    """
    others = {image.tobytes() for image in unseen}
    kept = np.array([image.tobytes() not in others for image in sample.images])
    if kept.all():
        return sample, 0
    if not kept.any():
        raise DataError(
            f"{sample.source}: every calibration image is also a test image. Calibrate on other "
            "images, or accuracy will look better than it is."
        )
    images = sample.images[kept]
    return CalibrationSample(images, sample.source, digest_images(images)), int((~kept).sum())


def load_unseen(source: str | Path, size: tuple[int, int]) -> np.ndarray | None:
    """The test images of what :func:`sample_source` samples; None for a plain folder of pictures.

    Args:
        source: as there.
        size: (rows, columns) that images are resized to.
    """
    path = Path(source)
    if path.is_dir() and _plain_pictures(path):
        return None
    return load_dataset(source, "test", size).images


def digest_images(images: np.ndarray) -> str:
    """sha256 over a set of images that does not depend on their order, as hex."""
    order = sorted(range(len(images)), key=lambda index: images[index].tobytes())
    return digest_arrays(images[order])


def _plain_pictures(folder: Path) -> list[Path]:
    entries = sorted(folder.iterdir())
    if any(entry.is_dir() for entry in entries):
        return []
    return [entry for entry in entries if entry.is_file() and is_image_name(entry.name)]
