"""The source of an export: a bare float network and everything known about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.core.format import Format
from edgevit.core.options import option
from edgevit.core.signature import Signature
from edgevit.core.tensors import Preprocess
from edgevit.data.datasets import HELD_OUT
from edgevit.frontend.dropped_values import values_dropped
from edgevit.models.history import read_run, share_unseen

if TYPE_CHECKING:
    import keras

    from edgevit.quantization.ranges import RangeRecord


@dataclass(frozen=True)
class Source:
    """A trained model on its way out.

    Attributes:
        name: of the architecture, or of the .keras file.
        network: float32 in, a dict of named outputs; without preprocessing.
        signature: its inputs with their preparation, in the order of ``network.inputs``, and its
            outputs with what they mean.
        task: what it is for, a key of :data:`edgevit.tasks.TASKS`.
        class_names: of the first output that tells classes apart; empty if unknown.
        weights_sha256: digest of the weights as they are exported.
        ranges: activation ranges that ship with the weights, by the format whose graph they are of.
        folder: where the weights lie; None for a .keras file, or a model in memory.
        warnings: what a user should know of it before believing a figure, a line each.
        lowered: graphs that were made of it already, with their steps, since several targets start
            from the same one; by whatever the exporter chooses as a key.
    """

    name: str
    network: keras.Model
    signature: Signature
    task: str
    class_names: tuple[str, ...]
    weights_sha256: str
    ranges: Mapping[Format, RangeRecord] = field(default_factory=dict)
    folder: Path | None = None
    warnings: tuple[str, ...] = ()
    lowered: dict[Any, tuple[Any, tuple[str, ...]]] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    @property
    def preprocess(self) -> Preprocess | None:
        """Of the first input that takes a picture; None where none does."""
        picture = self.signature.picture
        return picture.preparation if picture else None

    @property
    def weights_bytes(self) -> int:
        """Of all weights, in float32."""
        return 4 * int(self.network.count_params())

    @property
    def picture_size(self) -> tuple[int, int]:
        """(rows, columns) of the raw pictures that it takes.

        Raises:
            ConfigError: it takes no picture.
        """
        if self.preprocess is None:
            raise ConfigError(f"{self.name}: takes no picture, so none can be given to it.")
        return self.preprocess.input_size

    @property
    def channels(self) -> int:
        """Of the raw pictures that it takes; 3 where it takes none."""
        return self.preprocess.channels if self.preprocess else 3

    def prepare(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Raw inputs as the network takes them, in its order."""
        return [
            spec.preparation.apply(inputs[spec.name]) if spec.preparation else inputs[spec.name]
            for spec in self.signature.inputs
        ]

    def call(self, entering: Sequence[Any]) -> dict[str, Any]:
        """Runs the network on prepared tensors; its outputs by name."""
        with values_dropped():
            packed = pack_inputs(self.network, entering)
            outputs: dict[str, Any] = self.network(packed, training=False)
        return outputs

    def share_unseen(self, data: str) -> float:
        """Share of a dataset's training images that nothing behind the weights has learnt from.

        Args:
            data: name of the dataset (``ImageDataset.source``).

        Raises:
            ModelFileError: the run's file beside the weights is damaged.
        """
        run = read_run(self.folder) if self.folder is not None else None
        return share_unseen([run], data, HELD_OUT)


def pack_inputs(network: keras.Model, tensors: Sequence[Any]) -> Any:
    """Tensors in the order of ``network.inputs``, as the network wants to be called."""
    import keras

    struct = getattr(network, "_inputs_struct", None)
    if struct is None:
        return tensors[0] if len(tensors) == 1 else list(tensors)
    return keras.tree.pack_sequence_as(struct, list(tensors))


INPUT_TYPES = ("uint8", "int8", "float32")


class ExportChoices(TypedDict, total=False):
    """The fields of :class:`ExportOptions` as keyword arguments; see there."""

    batch: int | None
    io_dtype: str | None
    author: str
    license: str


@dataclass(frozen=True)
class ExportOptions:
    """Options of every target; each format's own class adds to them.

    Attributes:
        batch: images a run; None leaves it free.
        preprocess: whether the file takes raw images, or the network's own float input.
        io_dtype: element type of the input, one of INPUT_TYPES; None is uint8 for a file that takes
            raw images and float32 for a bare network.
        author: who made the model, for the metadata inside the file.
        license: of the model, likewise, such as an SPDX identifier.

    Raises:
        ConfigError: values that make no sense, or not together.
    """

    batch: int | None = field(
        default=1,
        metadata=option(
            help="Images a run.",
            metavar="N|dynamic",
            read="edgevit.core.options:read_batch",
        ),
    )
    preprocess: bool = field(
        default=True,
        metadata=option(
            help="Take raw images (uint8, 0..255) and resize and scale inside, or export the "
            "bare network.",
        ),
    )
    io_dtype: str | None = field(
        default=None,
        metadata=option(
            help="Element type of the input.",
            choices=INPUT_TYPES,
            shown_default="uint8 for raw images, float32 for a bare network",
        ),
    )
    author: str = field(
        default="",
        metadata=option(
            metavar="TEXT",
            help="Who made the model, for the file's metadata.",
            shown_default="none",
        ),
    )
    license: str = field(
        default="",
        metadata=option(
            metavar="TEXT",
            help="The model's licence, for the file's metadata, such as Apache-2.0.",
            shown_default="none",
        ),
    )

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise ConfigError(f"the batch must be at least 1, or dynamic. Received: {self.batch}")
        if self.io_dtype not in (None, *INPUT_TYPES):
            raise ConfigError(
                f"--io-dtype must be one of {', '.join(INPUT_TYPES)}. Received: {self.io_dtype!r}"
            )
        if not self.preprocess and self.io_dtype == "uint8":
            raise ConfigError(
                "a bare network (--no-preprocess) takes float32 or int8, not raw uint8 pixels. "
                "Drop --io-dtype, or keep the preprocessing inside."
            )

    @property
    def input_type(self) -> str:
        """Element type of the input."""
        return self.io_dtype or ("uint8" if self.preprocess else "float32")
