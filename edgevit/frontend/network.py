"""From a trained model to the bare float network that the exporters start from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevit.base.errors import ConfigError, ModelFileError, UnknownNameError
from edgevit.core.tensors import Preprocess
from edgevit.frontend.source import Source
from edgevit.models.weights import ONNX_RANGES_FILE, RANGES_FILE, TrainedModel
from edgevit.quantization.ranges import RangeRecord

if TYPE_CHECKING:
    import keras


def bare_source(
    model: TrainedModel,
    name: str,
    contract: Preprocess | None,
    class_names: tuple[str, ...],
    outputs: tuple[str, ...] | None = None,
) -> Source:
    """Strips preprocessing off a network, names its outputs and finds its ranges.

    Args:
        model: a loaded model.
        name: for file names.
        contract: preprocessing of a model that is not ours. None: our own contract, that of a
            Preprocessing layer inside, or raw 0..255 as float.
        class_names: of a model that is not ours.
        outputs: which to keep beside "logits"; None: all.

    Raises:
        ModelFileError: no output that can be compared.
        UnknownNameError: no output of this name.
        ConfigError: not as many class names as logits.
    """
    network, inside = strip_preprocessing(as_functional(model.network))
    rows, columns = (int(size) for size in network.inputs[0].shape[1:3])
    own = model.plan.preprocess if model.plan else inside
    found = contract or own or Preprocess(input_size=(rows, columns), scale=(1.0, 1.0, 1.0))
    if found.network_size != (rows, columns):
        found = replace(found, network_size=(rows, columns), resize=None)
    network = keep_outputs(name_outputs(network), outputs)
    names = class_names or model.class_names
    classes = network.output["logits"].shape[-1]
    if names and len(names) != classes:
        raise ConfigError(f"{name}: {len(names)} class names for {classes} logits.")
    return Source(
        name=name,
        network=network,
        preprocess=found,
        class_names=names,
        weights_sha256=model.weights_sha256,
        ranges=_read_ranges(model.folder, RANGES_FILE),
        onnx_ranges=_read_ranges(model.folder, ONNX_RANGES_FILE),
        folder=model.folder,
    )


def keep_outputs(network: keras.Model, outputs: tuple[str, ...] | None) -> keras.Model:
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


def as_functional(network: keras.Model) -> keras.Model:
    """A Sequential model as the functional one inside it; any other as it is."""
    import keras

    if isinstance(network, keras.Sequential):
        return keras.Model(network.inputs[0], network.outputs[0], name=network.name)
    return network


def strip_preprocessing(network: keras.Model) -> tuple[keras.Model, Preprocess | None]:
    """Cuts our Preprocessing layer off the front of a functional model, if it begins with one."""
    import keras

    from edgevit.layers.preprocessing import Preprocessing

    if isinstance(network, keras.src.models.functional.Functional):
        for layer in network.layers[1:2]:
            if isinstance(layer, Preprocessing):
                size = network.inputs[0].shape[1:3]
                contract = replace(layer.contract, input_size=tuple(size))
                bare = keras.Model(layer.output, network.output, name=network.name)
                return bare, contract
    return network, None


def name_outputs(network: keras.Model) -> keras.Model:
    """A model whose outputs are a dict with "logits" among them."""
    outputs = network(network.inputs[0]) if network.outputs is None else network.output
    if isinstance(outputs, dict) and "logits" in outputs:
        return network
    import keras

    named = _named(outputs, network)
    return keras.Model(network.inputs[0], named, name=network.name)


def _read_ranges(folder: Path | None, name: str) -> RangeRecord | None:
    if folder is None or not (folder / name).exists():
        return None
    file = folder / name
    return RangeRecord.from_text(file.read_text(), str(file))


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
