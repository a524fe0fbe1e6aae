"""Signatures of models: inputs with their preparation, outputs with their roles."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edgevit.core.tensors import Preprocess

IMAGES = "images"  # what the one input of our own architectures is called


class Role(StrEnum):
    """What the numbers of an output are, which says what it means that two of them agree."""

    LOGITS = "logits"  # scores of classes before a softmax or sigmoid: B C
    PROBABILITIES = "probabilities"  # of classes, after it: B C
    MASK = "mask"  # scores or probabilities of classes for every pixel: B H W C
    EMBEDDING = "embedding"  # compared by direction: B D
    VALUES = "values"  # measured quantities, each column in its own unit: B D
    LABELS = "labels"  # integers, such as an argmax inside the model chooses: B ...
    MAP = "map"  # anything else: attention, features, boxes


class Activation(StrEnum):
    """What an output ends in."""

    LINEAR = "linear"
    SOFTMAX = "softmax"  # over the last axis
    SIGMOID = "sigmoid"  # of each number


@dataclass(frozen=True)
class InputSpec:
    """One input of a model.

    Attributes:
        name: as the model calls it.
        shape: of what enters the network, the batch first; None where it is free.
        dtype: numpy name of what enters the network: a float type, or an integer type for indices.
        preparation: raw pixels of 0..255 to what enters the network; None: the tensor as it is.
        levels: of an integer input: its values are 0 .. levels - 1; 0 for a float one.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    preparation: Preprocess | None = None
    levels: int = 0

    @property
    def raw_shape(self) -> tuple[int | None, ...]:
        """What a caller hands over, without the batch: pixels H W C, frames T H W C, or anything.

        Sizes of pictures are those of the raw image, before the resize.
        """
        if self.preparation is None:
            return self.shape[1:]
        return (*self.shape[1:-3], *self.preparation.input_size, self.shape[-1])

    @property
    def raw_dtype(self) -> str:
        """numpy name of what a caller hands over."""
        return self.dtype if self.preparation is None else "uint8"


@dataclass(frozen=True)
class OutputSpec:
    """One output of a model.

    Attributes:
        name: as the model calls it, in every format.
        shape: the batch first; None where it is free.
        dtype: numpy name.
        role: what its numbers are.
        activation: what it ends in.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    role: Role
    activation: Activation = Activation.LINEAR

    @property
    def names_classes(self) -> bool:
        """Whether its last axis tells classes apart."""
        return self.role in (Role.LOGITS, Role.PROBABILITIES, Role.MASK)


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a model, in its own order.

    Attributes:
        inputs: at least one.
        outputs: at least one.
    """

    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]

    @property
    def picture(self) -> InputSpec | None:
        """The first input that takes a picture, if any does."""
        pictures = (spec for spec in self.inputs if spec.preparation and len(spec.shape) == 4)
        return next(pictures, None)

    def output(self, name: str) -> OutputSpec:
        """The output of this name.

        Raises:
            KeyError: there is none.
        """
        return {spec.name: spec for spec in self.outputs}[name]
