"""Labelled images from class folders, archives of class folders, npz files or keras.datasets."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgevit.base.bounds import CLASSES
from edgevit.base.errors import ConfigError, DataError, in_one_line
from edgevit.base.progress import Progress
from edgevit.core.class_names import CIFAR10_CLASSES
from edgevit.data.archives import (
    SPLITS,
    ImageFile,
    find_archive,
    list_archive,
    list_folder,
    read_file,
)
from edgevit.data.images import decode_image, resize_image
from edgevit.data.npz import open_npz

KERAS_DATASETS = ("cifar10", "cifar100")
ENVIRONMENT_VARIABLE = "EDGEVIT_DATA"
HELD_OUT = 0.2  # share of the training images that is validated on, where nothing else is said


@dataclass(frozen=True)
class ImageDataset:
    """Labelled images of one size.

    Attributes:
        images: uint8 N H W C.
        labels: int64 N, an index into class_names.
        class_names: sorted names of the classes.
        split: "train", "validation", "test" or "all".
        source: where the images came from, for reports (a file's name, never its folder).
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    split: str
    source: str

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def digest(self) -> str:
        """sha256 over pixels and labels, as hex."""
        return digest_arrays(self.images, self.labels)

    def select(self, indices: np.ndarray, split: str | None = None) -> ImageDataset:
        """The images at these indices, in this order."""
        images, labels = self.images[indices], self.labels[indices]
        return replace(self, images=images, labels=labels, split=split or self.split)

    def shuffle_classes(self, seed: int) -> list[np.ndarray]:
        """The indices of each class's images, in a seeded order."""
        rng = np.random.default_rng(seed)
        classes = range(len(self.class_names))
        return [rng.permutation(np.flatnonzero(self.labels == label)) for label in classes]


def digest_arrays(*arrays: np.ndarray) -> str:
    """sha256 over shapes, types and bytes of arrays, as hex."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def find_source(data: str | None) -> str:
    """The dataset that was asked for: ``--data``, else the variable EDGEVIT_DATA.

    EDGEVIT_DATA may also name a folder that holds one archive of class folders.

    Raises:
        DataError: neither is given.
    """
    source = data or os.environ.get(ENVIRONMENT_VARIABLE)
    if not source:
        raise DataError(
            f"no dataset. Give --data PATH (class folders, tar, zip, npz, or cifar10) or set "
            f"{ENVIRONMENT_VARIABLE}."
        )
    return source


def load_dataset(
    source: str | Path,
    split: str = "train",
    size: tuple[int, int] | None = None,
    progress: Progress | None = None,
    at_most: tuple[int, int] | None = None,
    channels: int = 3,
) -> ImageDataset:
    """Reads one split of a dataset into memory.

    Args:
        source: a directory of class folders (directly, or below ``train/`` and ``test/``), a tar
            (optionally gz, bz2 or xz) or zip of the same, an npz with ``x_train y_train x_test
            y_test``, or the name of a Keras dataset (cifar10, cifar100; needs a network).
        split: "train" or "test". Without ``train/`` and ``test/`` folders, the same seeded fifth
            of every class is held out as "test".
        size: (rows, columns) that every image is resized to. None: the images' own size, which
            must then be the same for all.
        progress: called with (images read, images in all or 0).
        at_most: (rows, columns) that images are resized to where they are larger, or of
            different sizes; smaller ones of one size stay. Used if ``size`` is None.
        channels: of every image; see :func:`edgevit.data.images.decode_image`. Arrays in an npz
            are N H W channels, or N H W of one channel. Class folders of images that no picture
            file can hold, of 2 or 5 channels, are of .npy files.

    Raises:
        DataError: nothing there, no image in it, damaged files, unsafe archive.
        ConfigError: an unknown split.
    """
    if split not in SPLITS:
        raise ConfigError(f"split must be one of {SPLITS}. Received: split={split!r}")
    if str(source) in KERAS_DATASETS and not Path(source).exists():
        return _resize(_load_keras(str(source), split, channels), size, at_most)
    path = find_archive(Path(source))
    if path.suffix == ".npz" and not path.is_dir():
        return _resize(_load_npz(path, split, channels), size, at_most)
    files = (list_folder if path.is_dir() else list_archive)(path, channels)
    return _read_class_folders(files, split, size, at_most, channels, path.name, progress)


def split_validation(
    dataset: ImageDataset, held_out: float = HELD_OUT, seed: int = 0
) -> tuple[ImageDataset, ImageDataset]:
    """A seeded stratified split: the same share of every class is held out.

    50,000 CIFAR training images give 40,000 and 10,000, as in the Keras tutorials. With the same
    seed a smaller share holds out some of the images of a larger one.

    Returns:
        (train, validation).
    """
    if not 0.0 < held_out < 1.0:
        raise ConfigError(f"held_out must lie between 0 and 1. Received: held_out={held_out}")
    kept, held = [], []
    for members in dataset.shuffle_classes(seed):
        count = round(len(members) * held_out)
        held.append(members[:count])
        kept.append(members[count:])
    train = dataset.select(np.sort(np.concatenate(kept)), "train")
    return train, dataset.select(np.sort(np.concatenate(held)), "validation")


def limit_images(dataset: ImageDataset, count: int, seed: int = 0) -> ImageDataset:
    """A seeded choice of ``count`` images, the same share of every class; all if there are fewer.

    Every class keeps at least one image, so the result may hold a few more than ``count``.
    """
    if count >= len(dataset):
        return dataset
    kept = [
        members[: max(1, round(len(members) * count / len(dataset)))]
        for members in dataset.shuffle_classes(seed)
    ]
    return dataset.select(np.sort(np.concatenate(kept)))


def _read_class_folders(
    files: Iterator[ImageFile],
    split: str,
    size: tuple[int, int] | None,
    at_most: tuple[int, int] | None,
    channels: int,
    source: str,
    progress: Progress | None,
) -> ImageDataset:
    images: list[np.ndarray] = []
    labels: list[str] = []
    names: list[str] = []
    splits: set[str] = set()
    classes: set[str] = set()
    for file in files:
        classes.add(file.label)
        splits.add(file.split)
        if file.split in ("", split):
            name = f"{source}/{file.name}"
            image = decode_image(read_file(file, source), name, size, channels)
            if size is None and at_most is not None and _is_other(image, images, at_most):
                size = at_most
                images = [resize_image(kept, size) for kept in images]
                image = resize_image(image, size)
            images.append(image)
            labels.append(file.label)
            names.append(file.name)
            if progress and len(images) % 500 == 0:
                progress(len(images), 0)
    if "" in splits and len(splits) > 1:
        raise DataError(
            f"{source}: holds images both inside and outside train/ and test/ folders. "
            "Use one layout."
        )
    if not images:
        raise DataError(
            f"{source}: no image for the split {split!r}. Expected class folders such as "
            f"{split}/cat/1.jpg or cat/1.jpg."
        )
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise DataError(
            f"{source}: images of {len(shapes)} different sizes. Give one size to resize them to."
        )
    order = np.argsort(np.asarray(names), kind="stable")
    class_names = tuple(sorted(classes))
    index = {name: number for number, name in enumerate(class_names)}
    dataset = ImageDataset(
        images=np.stack(images)[order],
        labels=np.array([index[label] for label in labels], dtype=np.int64)[order],
        class_names=class_names,
        split=split,
        source=source,
    )
    if "" not in splits:
        return dataset
    train, held = split_validation(dataset, HELD_OUT, seed=0)
    return replace(train if split == "train" else held, split=split)


def _is_other(image: np.ndarray, before: list[np.ndarray], at_most: tuple[int, int]) -> bool:
    """Whether an image is larger than wanted, or of another size than those before."""
    (rows, columns), (most_rows, most_columns) = image.shape[:2], at_most
    larger = rows > most_rows or columns > most_columns
    return larger or (bool(before) and image.shape != before[0].shape)


def _resize(
    dataset: ImageDataset, size: tuple[int, int] | None, at_most: tuple[int, int] | None
) -> ImageDataset:
    """Images of an array at the size that is wanted."""
    if size is None and at_most is not None and _is_other(dataset.images[0], [], at_most):
        size = at_most
    if size is None or dataset.images.shape[1:3] == tuple(size):
        return dataset
    return replace(dataset, images=np.stack([resize_image(each, size) for each in dataset.images]))


def _load_npz(path: Path, split: str, channels: int) -> ImageDataset:
    try:
        with open_npz(path) as arrays:
            images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
            all_labels = [arrays[f"y_{name}"] for name in SPLITS if f"y_{name}" in arrays]
            names = arrays["class_names"] if "class_names" in arrays.files else None
    except KeyError as error:
        raise DataError(
            f"{path}: {error}. An npz dataset holds x_train, y_train, x_test and y_test."
        ) from None
    return _from_arrays(images, labels, all_labels, names, split, path.name, channels)


def _from_arrays(
    images, labels, all_labels, names, split: str, source: str, channels: int
) -> ImageDataset:
    """Checks arrays; ``all_labels`` are those of every split, so that all have the same classes."""
    labels = np.asarray(labels).reshape(-1)
    if channels == 1 and images.ndim == 3:
        images = images[..., None]  # N H W 1
    fits = images.ndim == 4 and images.shape[-1] == channels and 0 not in images.shape[1:]
    if not fits or images.dtype != np.uint8:
        raise DataError(
            f"{source}: images must be uint8 N H W {channels}. "
            f"Received: {images.dtype} {images.shape}"
        )
    if len(labels) != len(images) or not len(labels) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{source}: {len(images)} images need as many integer labels. "
            f"Received: {labels.dtype} {labels.shape}"
        )
    odd = [np.asarray(part).dtype for part in all_labels if np.asarray(part).dtype.kind not in "iu"]
    if odd:
        raise DataError(f"{source}: labels of every split must be integers. Received: {odd[0]}")
    if int(labels.min()) < 0:
        raise DataError(f"{source}: labels must count from 0. Received: {int(labels.min())}")
    last = max(int(np.max(part)) for part in all_labels if np.size(part))
    if last >= CLASSES:
        raise DataError(f"{source}: at most {CLASSES:,} classes. Received: label {last}")
    if names is None:
        names = [str(number) for number in range(last + 1)]
    if last >= len(names):
        raise DataError(f"{source}: class_names has {len(names)} names. Received: label {last}")
    return ImageDataset(
        images=images,
        labels=labels.astype(np.int64),
        class_names=tuple(str(name) for name in names),
        split=split,
        source=source,
    )


def _load_keras(name: str, split: str, channels: int) -> ImageDataset:
    import keras

    try:
        train, test = getattr(keras.datasets, name).load_data()
    except Exception as error:
        raise DataError(
            f"{name}: keras.datasets could not download it ({in_one_line(error)}). "
            "Give --data PATH instead."
        ) from None
    images, labels = train if split == "train" else test
    names = CIFAR10_CLASSES if name == "cifar10" else None
    all_labels = [train[1], test[1]]
    source = f"keras.datasets.{name}"
    return _from_arrays(images, labels, all_labels, names, split, source, channels)
