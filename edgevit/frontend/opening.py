"""From whatever the user named to a bare float network, or to images with labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.core.tensors import Preprocess, find_scaling

if TYPE_CHECKING:
    import keras

    from edgevit.data.datasets import ImageDataset
    from edgevit.frontend.source import Source


class Opening(TypedDict, total=False):
    """How a model is read; the keyword arguments that every verb on a model takes.

    Attributes:
        weights: weights to use instead of the shipped ones (file, or a training run's folder).
        preprocess: whether the file takes raw images (uint8, 0..255); or the contract to put
            inside for a model that is not ours.
        class_names: of the logits, for a model that is not ours.
        trust_code: whether a .keras file may run Python code that it contains.
        outputs: names of the outputs, such as ("logits", "attention"), or ("all",). None: those
            that the architecture always has; all of a .keras file's.
        scaling: for a model that is not ours, how it wants its pixels: a key of
            :data:`edgevit.core.tensors.SCALINGS`. None: raw 0..255, or what a Preprocessing layer
            inside says.
        image_size: (rows, columns) of the raw image; resized to the network's size. None: the size
            of the training images, or the network's own.
    """

    weights: str | Path | None
    preprocess: bool | Preprocess
    class_names: tuple[str, ...]
    trust_code: bool
    outputs: tuple[str, ...] | None
    scaling: str | None
    image_size: tuple[int, int] | None


def open_source(model: str | Path | keras.Model, **opening: Unpack[Opening]) -> Source:
    """The bare float network of whatever the user named.

    Args:
        model: an architecture's name (shipped weights), a .keras or .safetensors file, a training
            run's folder, or a keras.Model with one image input.
        **opening: see :class:`Opening`.

    Raises:
        EdgevitError: see :mod:`edgevit.base.errors`.
    """
    from edgevit.frontend.network import bare_source
    from edgevit.models.weights import describe_network, load_model

    outputs = opening.get("outputs")
    if isinstance(model, (str, Path)):
        weights = opening.get("weights")
        trained = load_model(
            str(model),
            Path(weights) if weights is not None else None,
            opening.get("trust_code", False),
            outputs,
        )
        name = trained.name or Path(model).stem
    else:
        name = model.name
        trained = describe_network(model, name, name)
    contract = opening.get("preprocess", True)
    scaling, image_size = opening.get("scaling"), opening.get("image_size")
    if scaling is not None:
        if trained.plan is not None:
            raise ConfigError(
                f"{name}: its weights come with their own scaling of the pixels. Drop --scaling."
            )
        rows, columns = (int(length) for length in trained.network.inputs[0].shape[1:3])
        found = find_scaling(scaling)
        contract = Preprocess(
            input_size=(rows, columns),
            network_size=(rows, columns),
            scale=found.scale,
            offset=found.offset,
        )
    source = bare_source(
        trained,
        name,
        contract if isinstance(contract, Preprocess) else None,
        opening.get("class_names", ()),
        outputs if trained.plan is None else None,
    )
    if image_size is None:
        return source
    return replace(source, preprocess=replace(source.preprocess, input_size=image_size))


def is_exported(path: Path) -> bool:
    """Whether a path names a file or folder that a runtime opens, not a model in Keras."""
    return path.suffix in (".tflite", ".onnx") or (path / "saved_model.pb").exists()


def load_test(
    data: str | Path,
    contract: Preprocess | None,
    class_names: tuple[str, ...],
    limit: int | None = None,
) -> ImageDataset:
    from edgevit.data.datasets import load_dataset

    size = contract.input_size if contract else None
    dataset = _by_class_names(load_dataset(data, "test", size), class_names)
    if limit is not None and limit < len(dataset):
        chosen = np.random.default_rng(0).permutation(len(dataset))[:limit]
        dataset = dataset.select(np.sort(chosen))
    return dataset


def load_validation(
    data: str | Path,
    contract: Preprocess,
    class_names: tuple[str, ...],
    count: int | None,
    folder: Path | None = None,
) -> ImageDataset:
    """A stratified sample of the validation images: of the seeded fifth of the training images that
    ``edgevit train`` holds out too, or of as much of it as the weights have not learnt from. Never
    test images.

    Args:
        data: the dataset.
        contract: raw images are of its input size.
        class_names: of the logits.
        count: images wanted; fewer where fewer are held out. None: all.
        folder: where the weights lie; None: nothing is known of their training.
    """
    from edgevit.data.datasets import HELD_OUT, limit_images, load_dataset, split_validation
    from edgevit.models.history import read_run, share_unseen

    dataset = load_dataset(data, "train", contract.input_size)
    run = read_run(folder) if folder is not None else None
    _, held = split_validation(dataset, share_unseen([run], dataset.source, HELD_OUT))
    return _by_class_names(limit_images(held, count or len(held)), class_names)


def _by_class_names(dataset: ImageDataset, class_names: tuple[str, ...]) -> ImageDataset:
    """By name: the dataset may hold some of the model's classes only, or in another order."""
    places = {name: number for number, name in enumerate(class_names)}
    if not all(name in places for name in dataset.class_names):
        return dataset
    labels = np.array([places[name] for name in dataset.class_names])[dataset.labels]
    return replace(dataset, labels=labels, class_names=class_names)
