"""Roles of a Keras model's outputs, guessed from its graph, its names and its values."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevit.core.signature import Activation, OutputSpec, Role, Signature

if TYPE_CHECKING:
    import keras

# Layers and operations that hand on what an activation made.
PASSING = ("Dropout", "Flatten", "Reshape", "Identity", "Permute", "Squeeze", "ExpandDims", "Cast")
ACTIVATIONS = {"softmax": Activation.SOFTMAX, "sigmoid": Activation.SIGMOID}
UNIT_LENGTH = ("UnitNormalization", "Normalize", "L2Normalize")
# Words in the name of an output that ends in no activation; the first that fits counts.
NAMED: tuple[tuple[str, Role], ...] = (
    (r"attention|attn", Role.MAP),
    (r"logit|class|categor", Role.LOGITS),
    (r"embed|descriptor|feature_vec", Role.EMBEDDING),
    (r"box|coord|offset|landmark|keypoint|pose|regress|value|angle|age|distance|depth|speed"
     r"|price|count|size|location|position|quantit", Role.VALUES),
    (r"mask|segment", Role.MASK),
)  # fmt: skip
LOSSES: tuple[tuple[str, Role], ...] = (
    (r"crossentropy|focal|hinge|ctc", Role.LOGITS),
    (r"squared|absolute|mse|mae|huber|log_?cosh|poisson|percentage", Role.VALUES),
    (r"cosine|triplet|contrastive", Role.EMBEDDING),
)
CLASSES = 2  # columns from which on a row without any hint is taken for scores of classes
SPREAD = 8.0  # columns of scores do not differ by more in their deviation: they share a unit


def describe_output(
    name: str,
    tensor: Any,
    pictures: list[tuple[int | None, ...]],
    loss: str = "",
    vectors: Container[tuple[int | None, ...]] = (),
) -> OutputSpec:
    """One output of a functional model.

    Args:
        name: as the model calls it.
        tensor: KerasTensor.
        pictures: shapes B H W C of the inputs that take pictures.
        loss: name of the loss that the model was compiled with; "" if unknown.
        vectors: shapes B D of the inputs that are rows of numbers.
    """
    import keras

    shape = tuple(tensor.shape)
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if "float" not in dtype:
        return OutputSpec(name, shape, dtype, Role.LABELS)
    activation, layer = find_ending(tensor)
    spec = OutputSpec(name, shape, "float32", Role.MAP, activation)
    role = _guess_role(spec, layer, pictures, loss, repainted=shape in vectors)
    return replace(spec, role=role)


def _guess_role(
    spec: OutputSpec,
    layer: str,
    pictures: list[tuple[int | None, ...]],
    loss: str,
    repainted: bool,
) -> Role:
    rank, classes = len(spec.shape), spec.shape[-1]
    linear = spec.activation is Activation.LINEAR
    if rank == 4:
        return _guess_role_of_map(spec, pictures)
    if rank not in (2, 3):
        return Role.MAP
    if layer in UNIT_LENGTH and rank == 2:
        return Role.EMBEDDING
    told = _find_word(NAMED, spec.name)
    by_loss = _find_word(LOSSES, loss)
    if told is Role.MAP and not by_loss:
        return told
    if not linear:
        plain = told is Role.VALUES or by_loss is Role.VALUES
        sigmoid = spec.activation is Activation.SIGMOID
        return Role.VALUES if sigmoid and plain else Role.PROBABILITIES
    if rank == 3:
        return Role.LOGITS if Role.LOGITS in (told, by_loss) else Role.MAP
    found = by_loss or told
    if found is not None and found is not Role.MASK:
        return found
    scores = classes is not None and classes >= CLASSES and not repainted
    return Role.LOGITS if scores else Role.VALUES  # an autoencoder gives back what it gets


def _guess_role_of_map(spec: OutputSpec, pictures: list[tuple[int | None, ...]]) -> Role:
    """A map of the input's size tells classes apart, unless it is a picture itself."""
    if _find_word(NAMED, spec.name) in (Role.VALUES, Role.MAP):
        return Role.MAP
    whole = [picture for picture in pictures if picture[1:3] == spec.shape[1:3]]
    if not whole:
        return Role.MASK if spec.activation is Activation.SOFTMAX else Role.MAP
    if spec.activation is Activation.SOFTMAX:
        return Role.MASK
    own = _find_word(NAMED, spec.name) is Role.MASK
    repainted = spec.shape[-1] == whole[0][-1] and spec.shape[-1] != 1 and not own
    if spec.activation is Activation.SIGMOID:
        return Role.MAP if repainted else Role.MASK
    return Role.MASK if own or ((spec.shape[-1] or 0) >= CLASSES and not repainted) else Role.MAP


def _find_word(table: tuple[tuple[str, Role], ...], text: str) -> Role | None:
    return next((role for pattern, role in table if re.search(pattern, text.lower())), None)


def find_ending(tensor: Any) -> tuple[Activation, str]:
    """(the activation that a KerasTensor ends in, class of the operation that made it)."""
    classes = tensor.shape[-1] if len(tensor.shape) else None
    for _ in range(100):  # a chain of layers that only hand on is short
        history = getattr(tensor, "_keras_history", None)
        if history is None or history.operation is None:
            return Activation.LINEAR, ""
        operation = history.operation
        kind = type(operation).__name__
        outputs = getattr(operation, "outputs", None)
        if outputs and hasattr(operation, "layers") and hasattr(operation, "inputs"):
            tensor = outputs[history.tensor_index]  # of a model inside
            continue
        if kind in PASSING or _is_linear(operation, kind):
            node = operation._inbound_nodes[history.node_index]
            tensor = node.input_tensors[0]
            continue
        found = _activation_of(operation, kind)
        moved = found is Activation.SOFTMAX and tensor.shape[-1] != classes
        return Activation.LINEAR if moved else found, kind
    return Activation.LINEAR, ""


def _is_linear(operation: Any, kind: str) -> bool:
    """Whether it is an activation that changes nothing, as one that only turns into float32."""
    function = getattr(operation, "activation", None)
    return kind == "Activation" and getattr(function, "__name__", "") == "linear"


def _activation_of(operation: Any, kind: str) -> Activation:
    if kind.lower() in ACTIVATIONS:  # a layer, or keras.ops
        axis = getattr(operation, "axis", -1)
        last = axis in (-1, None)
        return ACTIVATIONS[kind.lower()] if last or kind == "Sigmoid" else Activation.LINEAR
    function = getattr(operation, "activation", None)
    if kind in ("TimeDistributed", "Bidirectional"):
        function = getattr(getattr(operation, "layer", None), "activation", None)
        function = function if kind == "TimeDistributed" else None
    return ACTIVATIONS.get(getattr(function, "__name__", ""), Activation.LINEAR)


def refine_roles(signature: Signature, outputs: dict[str, np.ndarray]) -> Signature:
    """Corrects roles by the values of the float model's outputs, where the graph tells nothing.

    A subclassed model hides its last activation: rows that sum to one are probabilities. Columns
    whose deviations differ many times over have units of their own, and are no scores of classes.

    Args:
        signature: of the graph.
        outputs: float32 M ... by name, on golden inputs.
    """
    found = []
    for spec in signature.outputs:
        values = outputs[spec.name]
        if spec.role is Role.LOGITS and len(spec.shape) == 2 and spec.activation == "linear":
            spec = _refine_scores(spec, values)
        elif _may_be_mask(spec) and _sums_to_one(values):
            spec = replace(spec, role=Role.MASK, activation=Activation.SOFTMAX)
        found.append(spec)
    return Signature(signature.inputs, tuple(found))


def _may_be_mask(spec: OutputSpec) -> bool:
    """Whether nothing but its values tells that an output is no mask."""
    named = _find_word(NAMED, spec.name)
    return spec.role is Role.MAP and len(spec.shape) == 4 and named not in (Role.MAP, Role.VALUES)


def _refine_scores(spec: OutputSpec, values: np.ndarray) -> OutputSpec:
    if _sums_to_one(values):
        return replace(spec, role=Role.PROBABILITIES, activation=Activation.SOFTMAX)
    if len(values) < 8 or spec.name == "logits":
        return spec
    if values.min() >= 0 and values.max() <= 1 and np.ptp(values) > 0.1:
        return replace(spec, role=Role.PROBABILITIES, activation=Activation.SIGMOID)
    lengths = np.linalg.norm(values, axis=-1)
    if np.ptp(lengths) < 1e-4 * max(lengths.max(), 1e-30) and abs(lengths.mean() - 1) < 1e-4:
        return replace(spec, role=Role.EMBEDDING)
    spreads = values.std(axis=0)
    uneven = spreads.max() > SPREAD * max(float(np.median(spreads)), 1e-30)
    uneven = uneven or float(np.median(spreads)) > SPREAD * max(float(spreads.min()), 1e-30)
    return replace(spec, role=Role.VALUES) if uneven else spec


def _sums_to_one(values: np.ndarray) -> bool:
    if values.shape[-1] < 2 or values.min() < 0:
        return False
    return bool(np.abs(values.sum(axis=-1) - 1).max() < 1e-3)


def find_losses(network: keras.Model, names: list[str]) -> dict[str, str]:
    """Name of the loss of each output of a compiled model; empty where it is not compiled."""
    loss = getattr(network, "loss", None)
    if loss is None:
        return {}
    if isinstance(loss, dict):
        return {name: _loss_name(part) for name, part in loss.items() if part is not None}
    parts = loss if isinstance(loss, (list, tuple)) else [loss] * (1 if len(names) == 1 else 0)
    return {name: _loss_name(part) for name, part in zip(names, parts, strict=False) if part}


def _loss_name(loss: Any) -> str:
    if isinstance(loss, str):
        return loss
    return getattr(loss, "name", None) or getattr(loss, "__name__", "") or type(loss).__name__
