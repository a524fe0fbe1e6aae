"""What the exporters start from: a bare float network and everything known about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevit.core.target import Format
from edgevit.core.tensors import Preprocess
from edgevit.quantization.recipe import Recipe

if TYPE_CHECKING:
    import keras

    from edgevit.quantization.ranges import RangeRecord


@dataclass(frozen=True)
class Source:
    """A trained model on its way out.

    Attributes:
        name: of the architecture, or of the .keras file.
        network: float32 in, named outputs; without preprocessing.
        preprocess: raw pixels to what the network takes.
        class_names: of the logits; empty if unknown.
        weights_sha256: digest of the weights as they are exported.
        ranges: activation ranges that ship with the weights, for TFLite, if any.
        onnx_ranges: likewise, for ONNX.
        folder: where the weights lie; None for a .keras file, or a model in memory.
        lowered: graphs that were made of it already, with their steps, since several targets start
            from the same one; by whatever the exporter chooses as a key.
    """

    name: str
    network: keras.Model
    preprocess: Preprocess
    class_names: tuple[str, ...]
    weights_sha256: str
    ranges: RangeRecord | None = None
    onnx_ranges: RangeRecord | None = None
    folder: Path | None = None
    lowered: dict[Any, tuple[Any, tuple[str, ...]]] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    def shipped_ranges(self, kind: Format) -> RangeRecord | None:
        """The activation ranges that ship with the weights, for one format."""
        return self.onnx_ranges if kind is Format.ONNX else self.ranges


@dataclass(frozen=True)
class ExportOptions:
    """What a user may choose for any target.

    Attributes:
        batch: images a run; None leaves it free.
        preprocess: whether the file takes raw images, or the network's own float input.
        io_dtype: element type of the input: "uint8", "int8" or "float32"; None is uint8 for a
            file that takes raw images and float32 for a bare network.
        opset: of an ONNX file; 20 is the first that has Gelu.
        surgery: names of the steps that rewrite a TFLite graph, in the order of
            :mod:`edgevit.formats.tflite.writer.passes`; None: those that are done by default.
        recipe: precisions of a tflite-mixed file; None: planned by the table of kernel costs.
        micro: an integer-only TFLite file in operators that TensorFlow Lite Micro has.
        optimize: "cpu" for an onnx-float32 file with rewrites that pay on CPUs only.
    """

    batch: int | None = 1
    preprocess: bool = True
    io_dtype: str | None = None
    opset: int = 20
    surgery: tuple[str, ...] | None = None
    recipe: Recipe | None = None
    micro: bool = False
    optimize: str | None = None
