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
from edgevit.tasks.classification import CLASSIFICATION, probabilities
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
FAR = 0.25  # nats of a picture's cross entropy by which another scaling is far better
ERRORS = 4  # standard errors that this is at least
CAP = 20.0  # nats: what is less likely than 2 in a billion is wrong


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


@dataclass(frozen=True, eq=False)
class Scored:
    """What the float model makes of labelled pictures.

    Attributes:
        right: bool N, whether it finds the class.
        loss: float64 N, cross entropy of the class in nats, CAP at most.
    """

    right: np.ndarray
    loss: np.ndarray

    @property
    def share(self) -> float:
        """Of the pictures whose class is found, in [0, 1]."""
        return float(self.right.mean())

    def beats(self, other: Scored) -> bool:
        """Whether no chance makes this better than another scaling of the same pictures.

        More pictures are right, and that surely (McNemar's exact test), or else they are far more
        likely: pixels 255 times too large leave many classes as they are, and put all the weight
        on one, right or wrong.
        """
        if self.share <= other.share:
            return False
        gain = PairedDrop.of(self.right.tolist(), other.right.tolist())
        won = other.loss - self.loss
        error = float(won.std()) / np.sqrt(len(won))
        return gain.p_value <= SURELY or bool(won.mean() > max(FAR, ERRORS * error))


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
    before = score_pictures(source, pictures, labels)
    found = {}
    for name, scaling in SCALINGS.items():
        if len(scaling.scale) not in (1, own.channels):
            continue
        wanted = scaling.of_channels(own.channels)
        if (wanted.scale, wanted.offset) != (own.scale, own.offset):
            contract = replace(own, scale=wanted.scale, offset=wanted.offset)
            other = _with_contract(source, contract, wanted.reversed)
            found[name] = score_pictures(other, pictures, labels)
    best = max(found, key=lambda name: found[name].share)
    share, highest = before.share, found[best].share
    if highest <= _chance(labels) or not found[best].beats(before):
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
    chance = _chance(labels)
    error = np.sqrt(chance * (1 - chance) / len(labels))
    if not share <= chance + error:
        return ""
    return (
        f"the float model is right on {100 * share:.0f} % of {len(labels)} labelled pictures, no "
        "more than by always naming the commonest class. Check the order of the class names, the "
        "scaling, and whether the weights are trained."
    )


def score_pictures(source: Source, pictures: np.ndarray, labels: np.ndarray) -> Scored:
    """What the float model of a source makes of labelled pictures."""
    output = CLASSIFICATION.main_output(source.signature)
    values = float_outputs(source, pictures)[output.name]
    shares = probabilities(values.astype(np.float64), output)
    if shares.shape[-1] == 1:
        shares = np.concatenate([1 - shares, shares], axis=-1)
    own = shares[np.arange(len(labels)), labels]
    loss = np.minimum(CAP, -np.log(np.maximum(own, np.exp(-CAP))))
    return Scored(np.asarray(choose_class(values, output) == labels), loss)


def _chance(labels: np.ndarray) -> float:
    """Share of the commonest class."""
    return float(max(np.bincount(labels)) / len(labels))


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
