"""The inputs that activation ranges are measured on: seeded, of training data only, identified."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgevit.base.errors import DataError
from edgevit.core.signature import IMAGES, Signature
from edgevit.data.archives import find_archive
from edgevit.data.datasets import KERAS_DATASETS, ImageDataset, digest_arrays, load_dataset
from edgevit.data.images import ARRAY_SUFFIX, is_image_name, read_image
from edgevit.data.inputs import (
    ask_for_arrays,
    describe,
    fit_inputs,
    list_arrays,
    read_array,
    read_arrays,
    sole_input,
)

FEWEST = 10  # samples of which some can be held out
HELD_OUT = 5  # one sample of so many is
SOLE_KEYS = ("x_train", "arr_0")  # of an npz that is not keyed by the only input's name

# Arrays of inputs, or where they are.
Given = np.ndarray | Mapping[str, np.ndarray] | str | Path


@dataclass(frozen=True)
class CalibrationSample:
    """Raw inputs for calibration.

    Attributes:
        inputs: by name, in the model's order; all N ..., with the same N.
        source: dataset and split.
        digest: sha256 of the values, whatever the order of the samples.
        labels: int64 N, an index into class_names; None where there are no class folders.
        class_names: of the folders.
    """

    inputs: dict[str, np.ndarray]
    source: str
    digest: str
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def images(self) -> np.ndarray:
        """The first input: uint8 N H W C where it takes pictures."""
        return next(iter(self.inputs.values()))

    @classmethod
    def of_inputs(cls, inputs: dict[str, np.ndarray], source: str) -> CalibrationSample:
        """Takes arrays as they are, and identifies them."""
        return cls(inputs, source, digest_inputs(inputs))

    def select(self, indices: np.ndarray, source: str | None = None) -> CalibrationSample:
        """The samples at these indices, in this order."""
        inputs = {name: array[indices] for name, array in self.inputs.items()}
        chosen = self.of_inputs(inputs, source or self.source)
        labels = None if self.labels is None else self.labels[indices]
        return replace(chosen, labels=labels, class_names=self.class_names)


def open_calibration(
    given: Given, signature: Signature, count: int, seed: int = 0
) -> CalibrationSample:
    """The calibration sample of any model, out of whatever the user has.

    Args:
        given: an array, for a model of one input; arrays by the names of the inputs; an .npz of
            such arrays, or of ``x_train``; a .npy of one array; or pictures, for a model that takes
            one picture and nothing else: see :func:`sample_source`.
        signature: of the model.
        count: how many samples are drawn from files. Arrays in memory are used whole.
        seed: of the draw.

    Raises:
        DataError: nothing there, or nothing that the model takes; see
            :func:`edgevit.data.inputs.fit_inputs`.
    """
    if isinstance(given, np.ndarray):
        given = {sole_input(signature, "array").name: given}
    if isinstance(given, Mapping):
        return CalibrationSample.of_inputs(fit_inputs(given, signature, "arrays"), "arrays")
    path = _find_arrays(given)
    arrays = None if path is None else _read_arrays(path, signature)
    if path is None or arrays is None:
        name, size, channels = _sole_picture(given, signature)
        return sample_source(given, size, count, seed, channels, name)
    inputs = fit_inputs(arrays, signature, str(path))
    chosen = draw_indices(len(next(iter(inputs.values()))), count, seed)
    drawn = {name: array[chosen] for name, array in inputs.items()}
    return CalibrationSample.of_inputs(drawn, path.name)


def open_unseen(given: Given, signature: Signature) -> np.ndarray | None:
    """The test images beside what :func:`open_calibration` samples; None where there are none.

    Raises:
        DataError: as there.
    """
    if isinstance(given, (np.ndarray, Mapping)):
        return None
    path = _find_arrays(given)
    if path is None or (path.suffix != ARRAY_SUFFIX and _read_arrays(path, signature) is None):
        _, size, channels = _sole_picture(given, signature)
        return load_unseen(given, size, channels)
    return None


def has_labels(given: str | Path, signature: Signature) -> bool:
    """Whether a source is a dataset that says the class of every picture.

    Raises:
        DataError: a file of arrays that cannot be read.
    """
    path = _find_arrays(given)
    if path is not None:
        keys = () if path.suffix == ARRAY_SUFFIX else list_arrays(path)
        return SOLE_KEYS[0] in keys and _has_classes(path, keys)
    picture = signature.picture
    channels = picture.preparation.channels if picture and picture.preparation else 3
    return not _plain_pictures(Path(given), channels)


def _find_arrays(source: str | Path) -> Path | None:
    """The .npz or .npy file that is meant; None: pictures are."""
    if str(source) in KERAS_DATASETS and not Path(source).exists():
        return None
    path = find_archive(Path(source))
    return path if path.suffix in (".npz", ARRAY_SUFFIX) and not path.is_dir() else None


def _read_arrays(path: Path, signature: Signature) -> dict[str, np.ndarray] | None:
    """Arrays by input out of a file; None where it is a dataset of pictures with classes."""
    if path.suffix == ARRAY_SUFFIX:
        return {sole_input(signature, str(path)).name: read_array(path)}
    keys = list_arrays(path)
    named = [spec.name for spec in signature.inputs if spec.name in keys]
    if named:
        return read_arrays(path, named)
    sole = next((key for key in SOLE_KEYS if key in keys), None)
    if sole is None or len(signature.inputs) > 1:
        raise DataError(
            f"{path}: holds {', '.join(keys) or 'nothing'}. {ask_for_arrays(signature)}"
        )
    if signature.picture and sole == "x_train" and _has_classes(path, keys):
        return None
    return {signature.inputs[0].name: read_arrays(path, [sole])[sole]}


def _has_classes(path: Path, keys: tuple[str, ...]) -> bool:
    return "y_train" in keys and read_arrays(path, ["y_train"])["y_train"].dtype.kind in "iu"


def _sole_picture(source: str | Path, signature: Signature) -> tuple[str, tuple[int, int], int]:
    """Name, (rows, columns) and channels of the one input of a model that takes a picture only."""
    spec = signature.picture
    if spec is None or spec.preparation is None or len(signature.inputs) > 1:
        raise DataError(
            f"{source}: pictures alone do not serve this model. {describe(signature)} "
            f"{ask_for_arrays(signature)}"
        )
    return spec.name, spec.preparation.input_size, spec.preparation.channels


def sample_images(
    dataset: ImageDataset, count: int, seed: int = 0, name: str = IMAGES
) -> CalibrationSample:
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
    images = CalibrationSample.of_inputs({name: dataset.images[chosen]}, f"{dataset.source}, train")
    return replace(images, labels=dataset.labels[chosen], class_names=dataset.class_names)


def sample_source(
    source: str | Path,
    size: tuple[int, int],
    count: int,
    seed: int = 0,
    channels: int = 3,
    name: str = IMAGES,
) -> CalibrationSample:
    """A sample of the training images of a dataset, or of a plain folder of pictures.

    Args:
        source: as for :func:`edgevit.data.datasets.load_dataset`; a folder of pictures without
            class folders is taken as one class, and so is ``images/`` beside ``masks/``.
        size: (rows, columns) that images are resized to.
        count: how many.
        seed: of the draw.
        channels: of every image.
        name: of the model's input.

    Raises:
        DataError: no image there.
    """
    pictures = _plain_pictures(Path(source), channels)
    if pictures:
        chosen = draw_indices(len(pictures), count, seed)
        images = np.stack([read_image(pictures[index], size, channels) for index in chosen])
        return CalibrationSample.of_inputs({name: images}, f"{Path(source).name}, pictures")
    dataset = load_dataset(source, "train", size, channels=channels)
    return sample_images(dataset, count, seed, name)


def draw_indices(length: int, count: int, seed: int) -> np.ndarray:
    """A seeded choice of ``count`` of so many samples, ascending; all if there are fewer."""
    return np.sort(np.random.default_rng(seed).permutation(length)[:count])


def leave_out(sample: CalibrationSample, unseen: np.ndarray) -> tuple[CalibrationSample, int]:
    """A sample without those whose picture is among others too, pixel by pixel.

    Args:
        sample: for calibration.
        unseen: uint8 N H W C of the same size: the test images.

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
    return sample.select(np.flatnonzero(kept)), int((~kept).sum())


def load_unseen(source: str | Path, size: tuple[int, int], channels: int = 3) -> np.ndarray | None:
    """The test images of what :func:`sample_source` samples; None for a plain folder of pictures.

    Args:
        source: as there.
        size: (rows, columns) that images are resized to.
        channels: of every image.
    """
    if _plain_pictures(Path(source), channels):
        return None
    return load_dataset(source, "test", size, channels=channels).images


def hold_out(
    sample: CalibrationSample, most: int = 64
) -> tuple[CalibrationSample, CalibrationSample | None]:
    """Sets a seeded fifth of a sample aside, which calibration does not see.

    The choice depends on the set of samples alone, not on their order. Equal samples count once,
    so that none lies on both sides.

    Args:
        sample: at least ten different samples; of fewer, none is held out.
        most: samples that are held out at most.

    Returns:
        (what is left for calibration, what is held out or None).
    """
    places = _list_places(sample)
    if len(places) < FEWEST:
        return sample, None
    keys = sorted(places)
    count = min(len(keys) // HELD_OUT, most)
    held = {keys[index] for index in draw_indices(len(keys), count, seed=0)}
    kept = sorted(index for key in keys if key not in held for index in places[key])
    aside = sorted(places[key][0] for key in held)
    return (
        sample.select(np.array(kept)),
        sample.select(np.array(aside), f"{sample.source}, held out"),
    )


def split_off(
    sample: CalibrationSample, learnt: int, judged: int
) -> tuple[CalibrationSample, CalibrationSample] | None:
    """Two parts of a sample, of different samples; None if there are too few.

    The choice, and the order within each part, depend on the set of samples alone.

    Args:
        sample: at least ten different samples.
        learnt: samples of the first part at most; it takes a half.
        judged: of the second part at most.

    Returns:
        (what is learnt from, what is judged by).
    """
    places = _list_places(sample)
    if len(places) < FEWEST:
        return None
    first = np.array([places[key][0] for key in sorted(places)])
    count = min(len(first) // 2, learnt)
    return sample.select(first[:count]), sample.select(first[count : count + judged])


def _list_places(sample: CalibrationSample) -> dict[bytes, list[int]]:
    """Where each different sample stands, by its digest."""
    places: dict[bytes, list[int]] = {}
    for index in range(len(sample)):
        key = hashlib.sha256(_bytes_at(sample.inputs, index)).digest()
        places.setdefault(key, []).append(index)
    return places


def digest_inputs(inputs: dict[str, np.ndarray]) -> str:
    """sha256 over a set of samples that does not depend on their order, as hex.

    The name of an only input does not count.
    """
    names = sorted(inputs)
    length = len(inputs[names[0]])
    order = sorted(range(length), key=lambda index: _bytes_at(inputs, index))
    digests = [digest_arrays(inputs[name][order]) for name in names]
    if len(names) == 1:
        return digests[0]
    told = "".join(f"{name}:{digest}\n" for name, digest in zip(names, digests, strict=True))
    return hashlib.sha256(told.encode()).hexdigest()


def _bytes_at(inputs: dict[str, np.ndarray], index: int) -> bytes:
    """One sample of all inputs, in the order of their names."""
    return b"".join(inputs[name][index].tobytes() for name in sorted(inputs))


def _plain_pictures(folder: Path, channels: int) -> list[Path]:
    """The pictures that lie in a folder, without class folders; none where it is no such folder."""
    if not folder.is_dir():
        return []
    entries = sorted(folder.iterdir())
    folders = {entry.name for entry in entries if entry.is_dir()}
    if folders >= {"images", "masks"}:  # of segmentation: masks are no pictures to calibrate on
        entries, folders = sorted((folder / "images").rglob("*")), set()
    if folders:
        return []
    return [entry for entry in entries if entry.is_file() and is_image_name(entry.name, channels)]
