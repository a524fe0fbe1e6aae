"""Weights on disk: safetensors with the config of one of our architectures inside."""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevit.base.bounds import WEIGHTS_BYTES, check_regular
from edgevit.base.documents import from_plain, parse_json, to_json, to_plain
from edgevit.base.errors import InputError, ModelFileError, in_one_line
from edgevit.base.files import write_whole
from edgevit.core.format import Format
from edgevit.core.tensors import Preprocess
from edgevit.models import MODELS, has_model, split_name
from edgevit.models.bounded import bounded_weights
from edgevit.models.build import Plan, build_plan, find_variant, plan_model
from edgevit.models.shipped import WEIGHTS as WEIGHTS_FILE
from edgevit.models.shipped import folder_of

if TYPE_CHECKING:
    import keras

RANGE_FILES = {Format.TFLITE: "ranges.json", Format.ONNX: "ranges-onnx.json"}


@dataclass(frozen=True)
class _Description:
    """The network that a weights file describes."""

    model: str
    config: dict[str, Any]
    input_size: tuple[int, int]
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class TrainedModel:
    """A network with trained weights.

    Attributes:
        plan: architecture, config and preprocessing; None for a model that is not ours.
        network: takes what the network expects (no preprocessing inside). One of ours has named
            outputs; another's inputs and outputs are as its owner built them.
        class_names: of the logits; empty if unknown.
        weights_sha256: digest of the weights in memory.
        folder: where weights and ranges lie; None for a model that is not ours.
        title: what the files of a model that is not ours are called.
        preprocess: raw pixels to what a model that is not ours takes, where its publisher says so.
    """

    plan: Plan | None
    network: keras.Model
    class_names: tuple[str, ...]
    weights_sha256: str
    folder: Path | None
    title: str = "model"
    preprocess: Preprocess | None = None

    @property
    def name(self) -> str:
        """What its files are called, such as "shiftvit-nano"."""
        if self.plan is None:
            return self.title
        variant = find_variant(self.plan)
        return f"{self.plan.spec.name}-{variant}" if variant else self.plan.spec.name


def save_weights(
    path: Path, plan: Plan, weights: list[np.ndarray], class_names: tuple[str, ...], dtype: str
) -> None:
    """Writes weights, whole, with everything that is needed to build the network again.

    Args:
        path: a .safetensors file.
        plan: of the network.
        weights: in ``get_weights`` order.
        class_names: of the logits.
        dtype: "float16" or "float32" on disk.

    Raises:
        ModelFileError: a weight is not finite, or does not fit into float16.
    """
    from safetensors.numpy import save

    tensors = {}
    for number, array in enumerate(weights):
        stored = np.asarray(array, dtype=dtype, order="C")  # a scalar stays one
        if not np.isfinite(stored).all():
            raise ModelFileError(f"{path}: weight {number} is not finite in {dtype}.")
        tensors[f"{number:04d}"] = stored
    config, input_size = to_plain(plan.config), plan.preprocess.input_size
    description = _Description(plan.spec.name, config, input_size, class_names)
    write_whole(path, save(tensors, {"edgevit": to_json(description)}))


def load_weights(path: Path, outputs: tuple[str, ...] | None = None) -> TrainedModel:
    """Builds the network that a weights file describes and fills it.

    Args:
        path: a .safetensors file.
        outputs: see :func:`edgevit.models.build.build`.

    Raises:
        ModelFileError: missing, truncated, damaged, of another architecture, or not finite.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise ModelFileError(
            f"{path}: no such weights. Train them with 'edgevit train', or restore the file."
        )
    check_regular(path, WEIGHTS_BYTES, ModelFileError)
    try:
        with safe_open(str(path), framework="numpy") as file:
            text = (file.metadata() or {})["edgevit"]
            stored = [file.get_tensor(name) for name in sorted(file.keys())]
        found = from_plain(_Description, parse_json(text, str(path), "the description inside"))
        plan = plan_model(found.model, input_size=found.input_size, outputs=outputs, **found.config)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise ModelFileError(f"{path}: {error}") from None
        raise ModelFileError(
            f"{path}: truncated or damaged weights ({in_one_line(error, 160)}). "
            "Restore the file, or train again."
        ) from None
    with bounded_weights(str(path), path.stat().st_size):
        network = build_plan(plan)
    weights = [array.astype(np.float32) for array in stored]
    check_weights(path, network, weights)
    network.set_weights(weights)
    return TrainedModel(plan, network, found.class_names, digest_weights(weights), path.parent)


def load_model(
    name: str, weights: Path | None = None, outputs: tuple[str, ...] | None = None
) -> TrainedModel:
    """One of our architectures with its shipped weights, or with those of a training run.

    Args:
        name: an architecture or one of its sizes ("shiftvit:nano"), a .safetensors file or a
            folder that holds one.
        weights: weights to use instead of the shipped ones: a .safetensors file, or a folder.
        outputs: see :func:`edgevit.models.build.build`.

    Raises:
        UnknownNameError: no such architecture, and no such file.
        ModelFileError: the file cannot be used, or holds another size.
    """
    if _is_path(name):
        return load_weights(find_weights(name), outputs)
    architecture, variant = _split_size(name)
    if weights is not None and weights.is_dir():
        weights = weights / WEIGHTS_FILE
    file = weights or find_weights(name)
    model = load_weights(file, outputs)
    if model.plan is None or model.plan.spec.name != architecture:
        raise ModelFileError(f"{file}: holds weights of another architecture than {architecture}.")
    if variant and find_variant(model.plan) != variant:
        raise ModelFileError(f"{file}: holds weights of another size than {name}.")
    return model


def find_weights(name: str) -> Path:
    """The file that a trained network's weights are read from.

    Args:
        name: an architecture or one of its sizes, a .safetensors file, or a folder that holds one.

    Raises:
        UnknownNameError: no such architecture, and no such file.
        ModelFileError: its weights do not ship, or are not here.
    """
    path = Path(name)
    if _is_path(name):
        return path / WEIGHTS_FILE if path.is_dir() else path
    architecture, variant = _split_size(name)
    return folder_of(f"{architecture}:{variant}" if variant else architecture) / WEIGHTS_FILE


def _is_path(name: str) -> bool:
    path = Path(name)
    return path.suffix == ".safetensors" or (path.is_dir() and not has_model(name))


def _split_size(name: str) -> tuple[str, str | None]:
    """Architecture and size, None for the tutorial's, which has a name too."""
    architecture, variant = split_name(name)
    if variant and find_variant(plan_model(architecture, variant)) is None:
        variant = None
    return architecture, variant


def is_ported(source: str) -> bool:
    """Whether initial weights are somebody else's file or URL rather than our .safetensors."""
    return source.startswith(("http://", "https://")) or source.endswith((".keras", ".h5"))


def load_ported(plan: Plan, source: str) -> list[np.ndarray]:
    """Weights that others published for an architecture, in our order.

    Args:
        plan: of the network that they are for.
        source: file or URL.

    Raises:
        ModelFileError: no reader for this architecture, or the file does not fit.
    """
    if plan.spec.ported is None:
        readable = [name for name, spec in MODELS.items() if spec.ported]
        raise ModelFileError(
            f"{source}: for {plan.spec.name} only .safetensors weights of edgevit can be read. "
            f"Published ones can for {', '.join(readable)}."
        )
    return importlib.import_module(plan.spec.ported).read_ported(
        source, build_plan(plan), plan.config
    )


def digest_weights(weights: list[np.ndarray]) -> str:
    """sha256 over shapes and float32 values, as hex."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()


def check_weights(path: Path | str, network: keras.Model, weights: list[np.ndarray]) -> None:
    """Checks that weights fit a network, in ``get_weights`` order, and that they are finite.

    Args:
        path: where they come from, for the message.
        network: what they are for.
        weights: the arrays.

    Raises:
        ModelFileError: another number of them, another shape, or NaN.
    """
    expected = network.weights
    if len(weights) != len(expected):
        raise ModelFileError(
            f"{path}: {len(weights)} weight arrays, where the network has {len(expected)}."
        )
    for variable, array in zip(expected, weights, strict=True):
        if tuple(variable.shape) != array.shape:
            raise ModelFileError(
                f"{path}: {variable.path} is {array.shape}, where the network has "
                f"{tuple(variable.shape)}."
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelFileError(
                f"{path}: {variable.path} holds NaN or infinity, so every answer would be wrong. "
                "Train again, or restore the file."
            )
