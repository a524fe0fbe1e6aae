"""C++ of a model for TensorFlow Lite Micro: what kits for microcontrollers and for NPUs share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.core.tensors import TensorSpec
from edgevit.formats.tflite.runtime.file import (
    op_names,
    pack_model,
    parse_model,
    signature_specs,
)
from edgevit.kits.place import Files, common_words, read_templates
from edgevit.kits.subject import Subject

COUNT = 3  # golden vectors: they lie in flash
ROUND = 1024  # bytes that the arena is rounded up to
TEMPLATES = "microcontroller"
# What the resolver of TensorFlow Lite Micro can add, as micro_mutable_op_resolver.h calls it.
KERNELS = (
    "Abs Add AddN ArgMax ArgMin AssignVariable AveragePool2D BatchMatMul BatchToSpaceNd "
    "BroadcastArgs BroadcastTo CallOnce Cast Ceil CircularBuffer Concatenation Conv2D Cos CumSum "
    "DepthToSpace DepthwiseConv2D Dequantize Div DynamicUpdateSlice Elu EmbeddingLookup Equal "
    "EthosU Exp ExpandDims Fill Floor FloorDiv FloorMod FullyConnected Gather GatherNd Greater "
    "GreaterEqual HardSwish If L2Normalization L2Pool2D LeakyRelu Less LessEqual Log LogSoftmax "
    "LogicalAnd LogicalNot LogicalOr Logistic MaxPool2D Maximum Mean Minimum MirrorPad Mul Neg "
    "NotEqual Pack Pad PadV2 Prelu Quantize ReadVariable ReduceAll ReduceMax ReduceMin Relu Relu6 "
    "Reshape ResizeBilinear ResizeNearestNeighbor ReverseV2 Round Rsqrt SelectV2 Shape Sin Slice "
    "Softmax SpaceToBatchNd SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze "
    "StridedSlice Sub Sum Svdf Tanh Transpose TransposeConv UnidirectionalSequenceLSTM Unpack "
    "VarHandle While ZerosLike"
)
_BY_LETTERS = {name.lower(): name for name in KERNELS.split()}
_TYPES = {  # numpy -> C
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "float32": "float",
}


Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Border:
    """One input or output: its levels are (value / scale) + zero; no scale: values as they are."""

    spec: TensorSpec
    scale: float
    zero: int

    @property
    def elements(self) -> int:
        return int(np.prod([size or 1 for size in self.spec.shape]))

    def levels(self, values: np.ndarray) -> np.ndarray:
        """Values in the element type of the file."""
        kind = np.dtype(self.spec.dtype)
        if kind.kind == "f" or values.dtype == kind or not self.scale:
            return values.astype(kind)
        limits = np.iinfo(kind)
        levels = np.rint(values.astype(np.float64) / self.scale) + self.zero
        return np.clip(levels, limits.min, limits.max).astype(kind)


@dataclass(frozen=True)
class Firmware:
    """A model as C++.

    Attributes:
        subject: the file.
        content: what goes into flash: a TFLite file without metadata.
        inputs: of it.
        outputs: of it.
        goldens: the arrays of each golden vector, inputs first, in the file's types.
        tolerances: by output, what a value of it may be off.
        golden_source: what computed them, as a name.
        adders: the resolver's methods, less their "Add".
        arena: bytes of working memory.
        arena_note: where that number comes from, a comment of C++.
    """

    subject: Subject
    content: bytes
    inputs: Sequence[Border]
    outputs: Sequence[Border]
    goldens: Sequence[Sequence[np.ndarray]]
    tolerances: Sequence[float]
    golden_source: str
    adders: Sequence[str]
    arena: int
    arena_note: str

    def words(self) -> dict[str, Any]:
        """Words of the templates."""
        return {
            **common_words(self.subject),
            "OPERATORS": "\n".join(f"    resolver.Add{name}();" for name in self.adders),
            "OPERATOR_COUNT": len(self.adders),
            "OPERATOR_LIST": ", ".join(f"`{name}`" for name in self.adders),
            "ARENA": _round_up(self.arena),
            "ARENA_NOTE": self.arena_note,
            "MODEL_BYTES": f"{len(self.content):,}",
            "FILE_BYTES": f"{self.subject.path.stat().st_size:,}",
            "MACROS": _macros(self.inputs, self.outputs),
            "TOLERANCES": "\n".join(
                f"#define OUTPUT_{number}_TOLERANCE {value:g}"
                for number, value in enumerate(self.tolerances)
            ),
            "SETTERS": _cases(self.inputs, "input"),
            "READERS": _cases(self.outputs, "output"),
            "COUNT": len(self.goldens),
            "GOLDEN_SOURCE": self.golden_source,
            "CHECKS": _checks(self.outputs),
            "COPIES": _copies(self.inputs),
            "GOLDEN_DECLARATIONS": _declare(self.inputs, self.outputs),
        }

    def files(self, words: Mapping[str, Any]) -> Files:
        """The sources, and the templates of a kit for microcontrollers.

        Args:
            words: of the templates, beside :meth:`words`.
        """
        labels = self.subject.manifest.class_names
        return {
            **read_templates(TEMPLATES, {**self.words(), **words}),
            "model_data.cc": _array("model_data", self.content).encode(),
            "golden.cc": _golden_source(self.goldens, self.inputs, self.outputs).encode(),
            "labels.h": _labels_source(labels).encode(),
        }


def check(subject: Subject, target: str) -> None:
    """Refuses what firmware cannot hold.

    Args:
        subject: any file.
        target: what to export instead.

    Raises:
        ConfigError: with what to export instead.
    """
    path = subject.path
    if not subject.is_tflite:
        raise ConfigError(
            f"{path}: firmware of TensorFlow Lite Micro holds TFLite files. Export {target} and "
            "deploy that."
        )
    if any(meaning.preparation for _, meaning in subject.inputs) and not (
        subject.manifest.preprocess_inside
    ):
        raise ConfigError(
            f"{path}: takes scaled pixels, which its caller makes. Export it without "
            "--no-preprocess, so that a camera's bytes go in as they are."
        )
    for spec in (*subject.manifest.inputs, *subject.manifest.outputs):
        if spec.dtype not in _TYPES:
            raise ConfigError(
                f"{path}: {spec.name!r} holds {spec.dtype}, and the kit's C++ has "
                f"{', '.join(_TYPES)}. Deploy it --to python."
            )
    sizes = [spec.shape for spec in (*subject.manifest.inputs, *subject.manifest.outputs)]
    if any(size is None for shape in sizes for size in shape):
        raise ConfigError(
            f"{path}: leaves a size free, and the arena has a fixed one. Export it with --batch 1."
        )


def find_adders(content: bytes, path: Path) -> list[str]:
    """The methods of the resolver that a file needs, less their "Add".

    Args:
        content: of the file.
        path: its name, for the error.

    Raises:
        ConfigError: an operator without a kernel there.
    """
    names = sorted({name for graph in op_names(parse_model(content, str(path))) for name in graph})
    found = {name: _BY_LETTERS.get(re.sub("[_-]", "", name).lower()) for name in names}
    if absent := [name for name, adder in found.items() if adder is None]:
        raise ConfigError(
            f"{path}: TensorFlow Lite Micro has no kernel for {', '.join(absent)}. Export "
            "tflite-int8-micro and deploy that."
        )
    return [adder for adder in found.values() if adder]


def strip(path: Path, named: bool = False) -> bytes:
    """A TFLite file without metadata, signatures and names, which no interpreter needs to run it.

    Args:
        path: of the file.
        named: keep the names of all tensors, not those of inputs and outputs alone.
    """
    model = parse_model(path.read_bytes(), str(path))
    for entry in model.metadata or []:
        model.buffers[entry.buffer].data = None
    model.metadata = None
    model.description = ""
    for graph in model.subgraphs:
        borders = {int(index) for side in (graph.inputs, graph.outputs) for index in side}
        graph.name = ""
        for index, tensor in enumerate(graph.tensors):
            if index not in borders and not named:
                tensor.name = ""
    return pack_model(model)


def read_borders(bare: bytes) -> tuple[list[Border], list[Border]]:
    """(inputs, outputs) of a TFLite file."""
    model = parse_model(bare, "model.tflite")
    graph = model.subgraphs[0]
    inputs, outputs = signature_specs(model)
    return _find_levels(graph, inputs, graph.inputs), _find_levels(graph, outputs, graph.outputs)


def _find_levels(graph: Any, specs: Sequence[TensorSpec], places: Sequence[int]) -> list[Border]:
    return [
        _border(spec, graph.tensors[int(place)]) for spec, place in zip(specs, places, strict=True)
    ]


def _border(spec: TensorSpec, tensor: Any) -> Border:
    found = tensor.quantization
    if found is None or found.scale is None or not len(found.scale):
        return Border(spec, 0.0, 0)
    return Border(spec, float(found.scale[0]), int(found.zeroPoint[0]))


def run_goldens(
    subject: Subject, run: Run, inputs: Sequence[Border], outputs: Sequence[Border]
) -> list[list[np.ndarray]]:
    """The arrays of each golden vector, inputs first, in the file's types.

    Args:
        subject: the file.
        run: one batch in the file's own input types -> float32 outputs by name.
        inputs: of the file.
        outputs: of the file.
    """
    found = []
    for golden in subject.goldens[:COUNT]:
        entering = _enter({**golden.inputs, **golden.pixels}, inputs)
        values = run(entering)
        leaving = [border.levels(values[border.spec.name]) for border in outputs]
        found.append([*entering.values(), *leaving])
    return found


def _enter(sample: Mapping[str, np.ndarray], inputs: Sequence[Border]) -> dict[str, np.ndarray]:
    """One sample as the file takes it: as often as its batch, in its element types."""
    found = {}
    for border in inputs:
        batch = np.repeat(sample[border.spec.name][None], border.spec.shape[0] or 1, axis=0)
        found[border.spec.name] = np.ascontiguousarray(border.levels(batch))
    return found


def _round_up(arena: int) -> int:
    return -(-arena // ROUND) * ROUND


def _macros(inputs: Sequence[Border], outputs: Sequence[Border]) -> str:
    """Sizes, types, scale and zero point of each input and output."""
    lines = []
    for side, borders in (("INPUT", inputs), ("OUTPUT", outputs)):
        lines.append(f"#define {side}_COUNT {len(borders)}")
        for number, border in enumerate(borders):
            word = f"{side}_{number}"
            lines += [
                f"#define {word}_NAME {_quote(border.spec.name)}",
                f"#define {word}_TYPE {_TYPES[border.spec.dtype]}",
                f"#define {word}_ELEMENTS {border.elements}",
                f"#define {word}_SHAPE {{{', '.join(str(size) for size in border.spec.shape)}}}",
                f"#define {word}_SCALE {border.scale!r}f",
                f"#define {word}_ZERO_POINT {border.zero}",
            ]
    return "\n".join(lines)


def _cases(borders: Sequence[Border], side: str) -> str:
    return "\n".join(
        f"    case {number}: return interpreter->{side}({number})->data.data;"
        for number in range(len(borders))
    )


def _copies(inputs: Sequence[Border]) -> str:
    return "\n".join(
        f"    memcpy(model_input({number}), golden_input_{number}[sample], "
        f"sizeof(golden_input_{number}[sample]));"
        for number in range(len(inputs))
    )


def _checks(outputs: Sequence[Border]) -> str:
    return "\n".join(
        f"    wrong += count_different((const OUTPUT_{number}_TYPE *)model_output({number}), "
        f"golden_output_{number}[sample], OUTPUT_{number}_ELEMENTS, OUTPUT_{number}_TOLERANCE);"
        for number in range(len(outputs))
    )


def _declare(inputs: Sequence[Border], outputs: Sequence[Border]) -> str:
    return "\n".join(
        f"extern const {side.upper()}_{number}_TYPE "
        f"golden_{side}_{number}[GOLDEN_COUNT][{side.upper()}_{number}_ELEMENTS];"
        for side, borders in (("input", inputs), ("output", outputs))
        for number in range(len(borders))
    )


def _golden_source(
    goldens: Sequence[Sequence[np.ndarray]], inputs: Sequence[Border], outputs: Sequence[Border]
) -> str:
    names = [f"input_{number}" for number in range(len(inputs))]
    names += [f"output_{number}" for number in range(len(outputs))]
    lines = ["// Golden vectors, in the element types of the model.", '#include "golden.h"', ""]
    for place, name in enumerate(names):
        kind, size = f"{name.upper()}_TYPE", f"[GOLDEN_COUNT][{name.upper()}_ELEMENTS]"
        rows = [f"  {{{_numbers(golden[place].ravel())}}}" for golden in goldens]
        lines += [f"const {kind} golden_{name}{size} = {{", ",\n".join(rows), "};", ""]
    return "\n".join(lines)


def _numbers(values: np.ndarray) -> str:
    if values.dtype.kind == "f":
        return ", ".join(f"{float(value)!r}f" for value in values)
    return ", ".join(str(int(value)) for value in values)


def _array(name: str, content: bytes) -> str:
    """C++ source of bytes, aligned as the interpreter wants flatbuffers."""
    return "\n".join(
        [
            "// The model, without metadata.",
            f'#include "{name}.h"',
            "",
            f"alignas(16) const unsigned char {name}[] = {{",
            *_rows(content),
            "};",
            f"const unsigned int {name}_len = {len(content)};",
            "",
        ]
    )


def _rows(content: bytes, width: int = 16) -> Iterable[str]:
    for start in range(0, len(content), width):
        yield "  " + "".join(f"0x{byte:02x}," for byte in content[start : start + width])


def _quote(text: str) -> str:
    """A string of C."""
    words = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{words}"'


def _labels_source(labels: Sequence[str]) -> str:
    names = ", ".join(map(_quote, labels))
    shown = f"{{{names}}}" if labels else "{0}"
    return (
        "// Class names: number k of the scores belongs to entry k.\n#pragma once\n"
        f"#define LABEL_COUNT {len(labels)}\n"
        f"static const char *const labels[] = {' '.join(shown.split())};\n"
    )
