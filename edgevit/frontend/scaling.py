"""Mistakes of preprocessing: pixels that are scaled twice, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevit.base.statistics import PairedDrop
from edgevit.core.signature import InputSpec, Signature
from edgevit.core.tensors import SCALINGS, Preprocess
from edgevit.frontend.record_reference import float_outputs
from edgevit.frontend.source import Source
from edgevit.tasks.classification import CLASSIFICATION
from edgevit.tasks.measures import choose_class

if TYPE_CHECKING:
    import keras

SCALING_LAYERS = ("Rescaling", "Normalization", "Preprocessing")
# What may stand between the pixels and a layer that scales them.
NEUTRAL = (
    *("InputLayer", "Resizing", "CenterCrop", "Cropping2D", "ZeroPadding2D", "Pad", "Identity"),
    *("RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomCrop"),
    *("RandomShear", "RandomContrast", "RandomBrightness", "RandomErasing", "Dropout", "Cast"),
    *("GetItem", "Stack", "Split", "Concatenate"),
    *("TimeDistributed", "Permute", "Transpose", "Reshape"),
)  # fmt: skip
ARITHMETIC = ("Multiply", "Divide", "TrueDivide", "Subtract", "Add")
SURELY = 0.01  # probability (McNemar's exact test) that another scaling is better by chance


def check_scaling(
    network: keras.Model, inputs: tuple[InputSpec, ...], asked: str | None
) -> tuple[str, ...]:
    """Warnings about a scaling inside the model and another outside, or neither.

    Args:
        network: without our own preprocessing.
        inputs: of the network, in its order.
        asked: the scaling that the user named; None: none.
    """
    lines = []
    for spec, tensor in zip(inputs, network.inputs, strict=True):
        if spec.preparation is None:
            continue
        inside = find_scaling_inside(network, tensor)
        scales = any(factor != 1 for factor in spec.preparation.scale)
        if inside and scales:
            what = f"--scaling {asked}" if asked else "the preprocessing in front of it"
            lines.append(
                f"{spec.name}: the model scales its pixels itself ({inside}), and {what} scales "
                "them before. Unless it was trained so, drop --scaling."
            )
        elif not inside and not scales and asked is None:
            lines.append(
                f"{spec.name}: nothing scales the pixels: the network gets 0..255. If it was "
                "trained on 0..1, -1..1, ImageNet's mean and deviation or Caffe's means, give "
                "--scaling unit, signed, imagenet or caffe (raw, if 0..255 is right)."
            )
    return tuple(lines)


def find_scaling_inside(network: keras.Model, tensor: Any) -> str:
    """The layer that scales an input before anything learns from it; empty if none does."""
    for operation in _follow(network, tensor):
        kind = type(operation).__name__
        if kind in SCALING_LAYERS or kind in ARITHMETIC:
            return f"{kind} {operation.name!r}" if kind in SCALING_LAYERS else kind
        if kind == "BatchNormalization":
            return f"{kind} {operation.name!r}"
        if kind not in NEUTRAL:
            return ""
    return ""


def _follow(network: Any, tensor: Any) -> list[Any]:
    """The operations behind an input in their order, as long as each has one reader; models inside
    are entered."""
    found: list[Any] = []
    for _ in range(64):
        readers = [
            (operation, node)
            for operation in getattr(network, "operations", ())
            for node in getattr(operation, "_inbound_nodes", ())
            if any(part is tensor for part in node.input_tensors)
        ]
        if len(readers) != 1:
            return found
        operation, node = readers[0]
        inner = getattr(operation, "operations", None)
        if inner and getattr(operation, "inputs", None):
            place = [part is tensor for part in node.input_tensors].index(True)
            return found + _follow(operation, operation.inputs[place])
        found.append(operation)
        tensor = node.output_tensors[0]
    return found


@dataclass(frozen=True)
class Suggestion:
    """What labelled pictures say of a scaling.

    Attributes:
        line: about another one with which the model is far better; empty if there is none.
        settled: whether no other is better: the pixels are scaled as the model learnt them.
        share: of the pictures whose class the float model finds, scaled as now.
    """

    line: str = ""
    settled: bool = False
    share: float = float("nan")


def suggest_scaling(source: Source, pictures: np.ndarray, labels: np.ndarray) -> Suggestion:
    """Tries every scaling on labelled pictures.

    Args:
        source: a classifier of pictures that is not ours.
        pictures: uint8 N H W C.
        labels: int N.
    """
    own = source.preprocess
    if own is None or len(source.signature.inputs) != 1:
        return Suggestion()
    before = list_right(source, pictures, labels)
    found = {}
    for name, scaling in SCALINGS.items():
        if len(scaling.scale) not in (1, own.channels):
            continue
        wanted = scaling.of_channels(own.channels)
        if (wanted.scale, wanted.offset) != (own.scale, own.offset):
            contract = replace(own, scale=wanted.scale, offset=wanted.offset)
            other = _with_contract(source, contract, wanted.reversed)
            found[name] = list_right(other, pictures, labels)
    best = max(found, key=lambda name: float(found[name].mean()))
    share, highest = float(before.mean()), float(found[best].mean())
    chance = max(np.bincount(labels)) / len(labels)
    gain = PairedDrop.of(found[best].tolist(), before.tolist())  # what is lost by scaling as now
    if highest <= max(share, chance) or gain.p_value > SURELY:
        return Suggestion(settled=share > highest, share=share)
    return Suggestion(
        f"the float model is right on {100 * share:.0f} % of {len(labels)} labelled pictures, and "
        f"on {100 * highest:.0f} % with --scaling {best}. Give that, unless labels are wrong.",
        share=share,
    )


def warn_of_scaling(source: Source, pictures: np.ndarray, labels: np.ndarray) -> Source:
    """The source with what labelled pictures say of its scaling among its warnings."""
    if source.folder is not None or source.task != CLASSIFICATION.name:
        return source
    found = suggest_scaling(source, pictures, labels)
    line = found.line or _warn_of_chance(found.share, labels)
    if line:
        return replace(source, warnings=(line,))
    return replace(source, warnings=()) if found.settled else source


def _warn_of_chance(share: float, labels: np.ndarray) -> str:
    """A line about a model that is no better than guessing; empty for any other."""
    chance = max(np.bincount(labels)) / len(labels)
    error = np.sqrt(chance * (1 - chance) / len(labels))
    if not share <= chance + error:
        return ""
    return (
        f"the float model is right on {100 * share:.0f} % of {len(labels)} labelled pictures, no "
        "more than by always naming the commonest class. Check the order of the class names, the "
        "scaling, and whether the weights are trained."
    )


def list_right(source: Source, pictures: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the float model finds the class of each picture. bool N."""
    output = CLASSIFICATION.main_output(source.signature)
    chosen = choose_class(float_outputs(source, pictures)[output.name], output)
    return np.asarray(chosen == labels)


def _with_contract(source: Source, contract: Preprocess, turned: bool) -> Source:
    (only,) = source.signature.inputs
    signature = Signature((replace(only, preparation=contract),), source.signature.outputs)
    network = reverse_channels(source.network, [True]) if turned else source.network
    return replace(source, network=network, signature=signature)


def reverse_channels(network: keras.Model, pictures: Sequence[bool]) -> keras.Model:
    """A network that takes R, G, B, made of one that takes B, G, R.

    Args:
        network: left as it is.
        pictures: which of its inputs are turned round.
    """
    import keras

    from edgevit.frontend.source import pack_inputs

    entering = [
        keras.Input(tensor.shape[1:], name=tensor.name, dtype=tensor.dtype)
        for tensor in network.inputs
    ]
    turned = [
        entry[..., ::-1] if picture else entry
        for entry, picture in zip(entering, pictures, strict=True)
    ]
    packed = pack_inputs(network, entering)
    return keras.Model(packed, network(pack_inputs(network, turned)), name=network.name)
