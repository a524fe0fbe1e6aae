"""From whatever the user named to the bare float network that the exporters start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from edgevit.base.documents import read_text
from edgevit.base.errors import ConfigError
from edgevit.base.packages import KERAS, require
from edgevit.core.signature import IMAGES, InputSpec, OutputSpec, Role, Signature
from edgevit.core.tensors import Preprocess, find_scaling
from edgevit.tasks import find_task, guess_task

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
            that the architecture always has; all of any other model's.
        scaling: for a model that is not ours, how it wants its pixels: a key of
            :data:`edgevit.core.tensors.SCALINGS`. None: raw 0..255, or what a Preprocessing layer
            inside says.
        image_size: (rows, columns) of the raw image; resized to the network's size. None: the size
            of the training images, or the network's own.
        input_shape: sizes of inputs that the model leaves free, by the input's name, the batch
            first, such as {"images": (1, 224, 224, 3)}.
        task: what the model is for, a key of :data:`edgevit.tasks.TASKS`. None: guessed from its
            outputs.
    """

    weights: str | Path | None
    preprocess: bool | Preprocess
    class_names: tuple[str, ...]
    trust_code: bool
    outputs: tuple[str, ...] | None
    scaling: str | None
    image_size: tuple[int, int] | None
    input_shape: Mapping[str, tuple[int | None, ...]] | None
    task: str | None


def open_source(model: str | Path | keras.Model, **opening: Unpack[Opening]) -> Source:
    """Opens a model, strips preprocessing off it, names its outputs and finds its ranges.

    Args:
        model: an architecture's name (shipped weights), a file or folder that holds a model, a
            training run's folder, or a keras.Model.
        **opening: see :class:`Opening`.

    Raises:
        ModelFileError: no such file, or a damaged one.
        UnknownNameError: no such architecture, scaling, output or task.
        ConfigError: a scaling for weights that have their own, a free size that nothing fixes, or
            class names that no output has a place for.
    """
    from edgevit.frontend.naming import choose_outputs, name_inputs, name_outputs
    from edgevit.frontend.scaling import check_scaling, reverse_channels
    from edgevit.frontend.shapes import fix_shapes
    from edgevit.frontend.source import Source

    asked = opening.get("task")
    task = find_task(asked) if asked else None  # before anything slow
    require("Opening a Keras model", KERAS)
    trained, name = _load(model, opening)
    network, inside = _strip_preprocessing(trained.network)
    ours = trained.plan is not None
    names = (IMAGES,) if ours else name_inputs(network)
    network = fix_shapes(network, names, opening.get("input_shape") or {}, opening, name)
    inputs = _describe_inputs(trained, network, name, names, inside, opening)
    told = ours or trained.preprocess is not None
    warnings = () if told else check_scaling(network, inputs, opening.get("scaling"))
    if find_scaling(opening.get("scaling") or "raw").reversed:
        if told:
            raise ConfigError(f"{name}: comes with its own scaling of the pixels. Drop --scaling.")
        network = reverse_channels(network, [spec.preparation is not None for spec in inputs])
    # An architecture of ours was built with the outputs that were asked for.
    pictures = [spec.shape for spec in inputs if spec.preparation]
    network, outputs = name_outputs(network, pictures, trained.network)
    if not ours:
        network, outputs = choose_outputs(network, outputs, opening.get("outputs"))
    signature = Signature(inputs, _override_roles(outputs, task))
    classes = opening.get("class_names", ()) or trained.class_names
    _check_class_names(name, classes, signature)
    return Source(
        name=name,
        network=network,
        signature=signature,
        task=(task or guess_task(signature)).name,
        class_names=classes,
        weights_sha256=trained.weights_sha256,
        ranges=_read_ranges(trained.folder),
        folder=trained.folder,
        warnings=warnings,
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


def _describe_inputs(
    trained: TrainedModel,
    network: keras.Model,
    name: str,
    names: tuple[str, ...],
    inside: Preprocess | None,
    opening: Opening,
) -> tuple[InputSpec, ...]:
    """The inputs with their preparation."""
    import keras

    from edgevit.frontend.shapes import count_levels, is_picture

    contract = opening.get("preprocess", True)
    found = []
    for place, (key, tensor) in enumerate(zip(names, network.inputs, strict=True)):
        shape = (None, *tuple(tensor.shape)[1:])
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        if "float" not in dtype and not is_picture(shape):
            levels = count_levels(network, tensor)
            found.append(InputSpec(key, shape, "int32", None, levels))
            continue
        preparation = None
        if is_picture(shape):
            given = contract if isinstance(contract, Preprocess) else None
            own = trained.plan.preprocess if trained.plan else None
            if own is None and place == 0:
                own = trained.preprocess or inside
            preparation = _find_contract(name, shape, given, own, opening, trained.plan is not None)
        found.append(InputSpec(key, shape, "float32", preparation))
    if not any(spec.preparation for spec in found):
        for option in ("scaling", "image_size"):
            if opening.get(option) is not None:
                flag = f"--{option.replace('_', '-')}"
                raise ConfigError(f"{name}: takes no picture, so {flag} says nothing. Drop it.")
    return tuple(found)


def _find_contract(
    name: str,
    shape: tuple[int | None, ...],
    given: Preprocess | None,
    own: Preprocess | None,
    opening: Opening,
    ours: bool,
) -> Preprocess:
    """What is asked for; else our own contract, or that of a layer inside; else raw 0..255."""
    scaling = opening.get("scaling")
    rows, columns, channels = (int(size or 0) for size in shape[-3:])
    size = (rows, columns)
    if scaling is not None:
        if ours:
            raise ConfigError(
                f"{name}: its weights come with their own scaling of the pixels. Drop --scaling."
            )
        wanted = find_scaling(scaling).of_channels(channels)
        contract = Preprocess(size, size, scale=wanted.scale, offset=wanted.offset)
    elif given is not None:
        contract = given
    else:
        plain = Preprocess(size, size, scale=(1.0,) * channels, offset=(0.0,) * channels)
        contract = own or plain
    if contract.channels != channels:
        raise ConfigError(
            f"{name}: takes pictures of {channels} channels, and the preprocessing is for "
            f"{contract.channels}."
        )
    if contract.network_size != size:
        contract = replace(contract, network_size=size, resize=None)
    image_size = opening.get("image_size")
    return contract if image_size is None else replace(contract, input_size=image_size)


def _strip_preprocessing(network: keras.Model) -> tuple[keras.Model, Preprocess | None]:
    """Cuts our Preprocessing layer off the front of a model, if it begins with one."""
    import keras

    from edgevit.layers.preprocessing import Preprocessing

    functional = isinstance(network, keras.src.models.functional.Functional)
    if functional and len(network.inputs) == 1:
        for layer in network.layers[1:2]:
            if isinstance(layer, Preprocessing):
                rows, columns = (int(size) for size in network.inputs[0].shape[1:3])
                contract = replace(layer.contract, input_size=(rows, columns))
                bare = keras.Model(layer.output, network.output, name=network.name)
                return bare, contract
    return network, None


def _override_roles(outputs: tuple[OutputSpec, ...], task: Any) -> tuple[OutputSpec, ...]:
    """Outputs with what the task says of those that could be anything.

    Raises:
        ConfigError: no output can be what the task is about.
    """
    if task is None or any(output.role in task.roles for output in outputs):
        return outputs
    role = task.roles[0]
    rank = 4 if role is Role.MASK else 2
    if role is Role.MAP:
        return tuple(replace(output, role=Role.MAP) for output in outputs)
    changed = tuple(
        replace(output, role=role)
        if len(output.shape) == rank and output.role is not Role.LABELS
        else output
        for output in outputs
    )
    if changed == outputs:
        shapes = ", ".join(f"{output.name} {output.shape}" for output in outputs)
        raise ConfigError(
            f"--task {task.name}: none of the outputs ({shapes}) can be what it is about."
        )
    return changed


def _check_class_names(name: str, names: tuple[str, ...], signature: Signature) -> None:
    """Class names must fit an output.

    Raises:
        ConfigError: there is none with so many classes.
    """
    if not names:
        return
    told = [output for output in signature.outputs if output.names_classes]
    told = told or [output for output in signature.outputs if output.role is Role.VALUES]
    counts = [output.shape[-1] for output in told]
    if len(names) in counts or (1 in counts and len(names) <= 2):
        return
    if not told:
        raise ConfigError(f"{name}: no output tells classes apart, so no labels belong to it.")
    many = " or ".join(str(count) for count in dict.fromkeys(counts))
    raise ConfigError(f"{name}: {len(names)} class names for {many} {told[0].role}.")


def _read_ranges(folder: Path | None) -> dict[Format, RangeRecord]:
    """Activation ranges that ship with the weights in a folder, by format."""
    from edgevit.models.weights import RANGE_FILES
    from edgevit.quantization.ranges import RangeRecord

    files = {kind: folder / name for kind, name in RANGE_FILES.items()} if folder else {}
    return {
        kind: RangeRecord.from_text(read_text(file), str(file))
        for kind, file in files.items()
        if file.exists()
    }
