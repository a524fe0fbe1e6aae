"""From whatever the user named to the bare float network that the exporters start from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from edgevit.base.errors import ConfigError, ModelFileError, UnknownNameError
from edgevit.core.tensors import Preprocess, find_scaling

if TYPE_CHECKING:
    import keras

    from edgevit.core.format import Format
    from edgevit.frontend.source import Source
    from edgevit.models.weights import TrainedModel
    from edgevit.quantization.ranges import RangeRecord


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
    """Opens a model, strips preprocessing off it, names its outputs and finds its ranges.

    Args:
        model: an architecture's name (shipped weights), a .keras or .safetensors file, a training
            run's folder, or a keras.Model with one image input.
        **opening: see :class:`Opening`.

    Raises:
        ModelFileError: no such file, a damaged one, or no output that can be compared.
        UnknownNameError: no such architecture, scaling or output.
        ConfigError: a scaling for weights that have their own, or not as many class names as
            logits.
    """
    from edgevit.frontend.source import Source

    trained, name = _load(model, opening)
    network, inside = _strip_preprocessing(trained.network)
    contract = _find_contract(trained, name, inside, opening)
    size = _image_size(network)
    if contract.network_size != size:
        contract = replace(contract, network_size=size, resize=None)
    image_size = opening.get("image_size")
    if image_size is not None:
        contract = replace(contract, input_size=image_size)
    # An architecture of ours was built with the outputs that were asked for.
    chosen = opening.get("outputs") if trained.plan is None else None
    network = _keep_outputs(_name_outputs(network), chosen)
    names = opening.get("class_names", ()) or trained.class_names
    classes = network.output["logits"].shape[-1]
    if names and len(names) != classes:
        raise ConfigError(f"{name}: {len(names)} class names for {classes} logits.")
    return Source(
        name=name,
        network=network,
        preprocess=contract,
        class_names=names,
        weights_sha256=trained.weights_sha256,
        ranges=_read_ranges(trained.folder),
        folder=trained.folder,
    )


def is_exported(path: Path) -> bool:
    """Whether a path names a file or folder that a runtime opens, not a model in Keras."""
    return path.suffix in (".tflite", ".onnx") or (path / "saved_model.pb").exists()


def _load(model: str | Path | keras.Model, opening: Opening) -> tuple[TrainedModel, str]:
    """(the trained model, its name for files)."""
    from edgevit.frontend.sources.network import describe_network
    from edgevit.frontend.sources.table import load_source

    if not isinstance(model, (str, Path)):
        trained = describe_network(model, model.name, model.name)
        return trained, trained.name
    weights = opening.get("weights")
    trained = load_source(
        str(model),
        Path(weights) if weights is not None else None,
        opening.get("trust_code", False),
        opening.get("outputs"),
    )
    return trained, trained.name


def _find_contract(
    trained: TrainedModel, name: str, inside: Preprocess | None, opening: Opening
) -> Preprocess:
    """What is asked for; else our own contract, or that of a layer inside; else raw 0..255."""
    scaling, asked = opening.get("scaling"), opening.get("preprocess", True)
    size = _image_size(trained.network)
    if scaling is not None:
        if trained.plan is not None:
            raise ConfigError(
                f"{name}: its weights come with their own scaling of the pixels. Drop --scaling."
            )
        found = find_scaling(scaling)
        return Preprocess(size, size, scale=found.scale, offset=found.offset)
    if isinstance(asked, Preprocess):
        return asked
    own = trained.plan.preprocess if trained.plan else trained.preprocess or inside
    return own or Preprocess(size, size, scale=(1.0, 1.0, 1.0))


def _image_size(network: keras.Model) -> tuple[int, int]:
    """(rows, columns) of a network's input."""
    rows, columns = network.inputs[0].shape[1:3]
    return int(rows), int(columns)


def _strip_preprocessing(network: keras.Model) -> tuple[keras.Model, Preprocess | None]:
    """Cuts our Preprocessing layer off the front of a model, if it begins with one."""
    import keras

    from edgevit.layers.preprocessing import Preprocessing

    if isinstance(network, keras.Sequential):  # as the functional model inside it
        network = keras.Model(network.inputs[0], network.outputs[0], name=network.name)
    if isinstance(network, keras.src.models.functional.Functional):
        for layer in network.layers[1:2]:
            if isinstance(layer, Preprocessing):
                contract = replace(layer.contract, input_size=_image_size(network))
                bare = keras.Model(layer.output, network.output, name=network.name)
                return bare, contract
    return network, None


def _name_outputs(network: keras.Model) -> keras.Model:
    """A model whose outputs are a dict with "logits" among them."""
    outputs = network(network.inputs[0]) if network.outputs is None else network.output
    if isinstance(outputs, dict) and "logits" in outputs:
        return network
    import keras

    named = _named(outputs, network)
    return keras.Model(network.inputs[0], named, name=network.name)


def _named(outputs: Any, network: keras.Model) -> dict[str, Any]:
    if isinstance(outputs, dict):
        items = dict(outputs)
    elif isinstance(outputs, (list, tuple)):
        names = network.output_names
        items = dict(zip(names, outputs, strict=True))
    else:
        return {"logits": outputs}
    if len(items) == 1:
        return {"logits": next(iter(items.values()))}
    if "logits" in items:
        return items
    ranks = [name for name, value in items.items() if len(value.shape) == 2]
    if not ranks:
        raise ModelFileError(
            f"{network.name}: none of its outputs {', '.join(items)} has the shape B classes. "
            "Name one of them 'logits'."
        )
    return {"logits" if name == ranks[0] else name: value for name, value in items.items()}


def _keep_outputs(network: keras.Model, outputs: tuple[str, ...] | None) -> keras.Model:
    """The network with some of its outputs; "logits" always stays.

    Raises:
        UnknownNameError: it has no such output.
    """
    if outputs is None or "all" in outputs:
        return network
    import keras

    for name in outputs:
        if name not in network.output:
            raise UnknownNameError(f"output of {network.name}", name, network.output)
    kept = {
        name: value for name, value in network.output.items() if name == "logits" or name in outputs
    }
    return keras.Model(network.inputs[0], kept, name=network.name)


def _read_ranges(folder: Path | None) -> dict[Format, RangeRecord]:
    """Activation ranges that ship with the weights in a folder, by format."""
    from edgevit.models.weights import RANGE_FILES
    from edgevit.quantization.ranges import RangeRecord

    files = {kind: folder / name for kind, name in RANGE_FILES.items()} if folder else {}
    return {
        kind: RangeRecord.from_text(file.read_text(), str(file))
        for kind, file in files.items()
        if file.exists()
    }
