"""Writes a float TFLite graph anew with a precision for every operator.

int8 operators get int8 inputs, weights a channel, int32 biases and int8 outputs; int16x8 ones int16
activations and int64 biases; dynamic ones int8 or 4-bit weights alone. QUANTIZE and DEQUANTIZE
stand only where a tensor goes from one side to the other, once a tensor and direction, however many
operators read it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgevit.base.errors import ExportError
from edgevit.core.target import Precision
from edgevit.formats.layer_names import layer_of_node
from edgevit.formats.tflite.operators import KINDS, Kind
from edgevit.formats.tflite.runtime.file import tensor_name, tensor_type
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.quantization.levels import affine_of, bias_floor, bias_levels, weight_levels

Ranges = dict[str, tuple[float, float]]
# TensorFlow's converter leaves smaller weights in float as well: nothing is gained.
FEWEST_WEIGHTS = 1024


LEVELS_4BIT = 7
# The largest level of weights beside float activations.
WEIGHTS_ONLY = {Precision.DYNAMIC: 127, Precision.DYNAMIC_INT4: LEVELS_4BIT}


@dataclass(frozen=True)
class Scale:
    """``x = (level - zero_point) * scale``."""

    scale: float
    zero_point: int


def int8_scale(low: float, high: float) -> Scale:
    """int8 levels for a range. Zero is always a level."""
    found = affine_of(low, high)
    return Scale(float(found.scale), found.zero_point - 128)


def int16_scale(low: float, high: float) -> Scale:
    """Symmetric int16 levels for a range."""
    largest = max(abs(low), abs(high))
    return Scale(float(np.float32((largest or 1.0) / 32767)), 0)


@dataclass(frozen=True)
class Arithmetic:
    """The integers that static operators compute with.

    Attributes:
        activations: their element type.
        biases: likewise.
        scale: (smallest, largest) -> levels.
        fixed: row of KINDS -> the output scale that the kernel wants, if any.
        version: row of KINDS -> version of the operator.
    """

    activations: str
    biases: str
    scale: Callable[[float, float], Scale]
    fixed: Callable[[Kind], tuple[float, int] | None]
    version: Callable[[Kind], int | None]


ARITHMETIC: dict[Precision, Arithmetic] = {
    Precision.INT8: Arithmetic(
        "int8", "int32", int8_scale, lambda row: row.output, lambda row: row.version
    ),
    Precision.INT16X8: Arithmetic(
        "int16", "int64", int16_scale, lambda row: row.output16, lambda row: row.version16
    ),
}


def write_mixed(
    graph: bytes,
    ranges: Ranges,
    precisions: Sequence[Precision],
    input_type: str = "float32",
    float_outputs: bool = True,
) -> bytes:
    """The graph with every operator in its precision.

    Args:
        graph: float32 .tflite with one float32 input.
        ranges: (smallest, largest) of activations by tensor name; needed for those that become
            int8.
        precisions: FLOAT32, DYNAMIC, DYNAMIC_INT4, and INT8 or INT16X8 for each operator, in the
            order of the file.
        input_type: "float32", or "uint8" for a graph that takes raw pixels 0..255.
        float_outputs: whether outputs are float32, or what the last operator computes in.

    Raises:
        ExportError: an operator has no such kernel, or an activation no range.
    """
    editor = TfliteGraph(graph)
    _Writer(editor, ranges, list(precisions), input_type).rewrite(float_outputs)
    return editor.to_bytes()


class _Writer:
    """Builds the list of operators anew beside the float one, then swaps them."""

    def __init__(
        self, editor: TfliteGraph, ranges: Ranges, precisions: list[Precision], input_type: str
    ):
        self.editor = editor
        self.ranges = ranges
        self.precisions = precisions
        self.input_type = input_type
        self.tensors = editor.tensors
        self.old = list(zip(editor.operators, editor.kinds, precisions, strict=True))
        self.new: list[Any] = []
        self.twins: dict[int, int] = {}  # float activation -> int8 tensor
        self.floats: set[int] = set()  # activations that exist in float
        self.stored: dict[tuple, int] = {}
        self.groups = self._join_scales()
        self.entry = int(editor.graph.inputs[0])
        static = next((p for p in precisions if p in ARITHMETIC), Precision.INT8)
        self.numbers = ARITHMETIC[static]
        self.suffix = f"_{self.numbers.activations}"

    def rewrite(self, float_outputs: bool) -> None:
        self.floats.update(int(index) for index in self.editor.graph.inputs)
        if self.input_type == "uint8":
            self._take_bytes()
        for operator, kind, precision in self.old:
            if precision in ARITHMETIC and self._is_float(int(operator.outputs[0])):
                self._write_static(operator, kind)
                continue
            self._read_as_float(operator)
            if precision in WEIGHTS_ONLY:
                self._write_dynamic(operator, kind, precision)
            self.new.append(operator)
            self.floats.update(int(index) for index in operator.outputs)
        for index in map(int, self.editor.graph.outputs):
            if float_outputs or index not in self.twins:
                self._float_of(index)
            else:
                self.editor.set_output(index, self.twins[index])
        self.editor.operators = self.new

    # inputs and outputs

    def _take_bytes(self) -> None:
        """The input becomes uint8; whoever reads it in float gets a CAST, in int8 a QUANTIZE."""
        raw = self.editor.copy_tensor(self.entry, "", "uint8")
        self.tensors[raw].name = self.tensors[self.entry].name
        self.tensors[self.entry].name = tensor_name(self.tensors[self.entry]) + "_float"
        self.raw = raw
        self.floats.discard(self.entry)
        self.editor.set_input(self.entry, raw)

    def _read_as_float(self, operator: Any) -> None:
        for index in operator.inputs:
            if self._is_activation(int(index)):
                self._float_of(int(index))

    def _float_of(self, index: int) -> None:
        """Makes sure that an activation exists in float."""
        if index in self.floats:
            return
        if index == self.entry:
            self.new.append(self.editor.make_operator("CAST", 1, [self.raw], [index]))
        else:
            self.new.append(
                self.editor.make_operator("DEQUANTIZE", 2, [self.twins[index]], [index])
            )
        self.floats.add(index)

    def _int8_of(self, index: int) -> int:
        """The int8 twin of an activation; quantises it where it is needed for the first time."""
        if index in self.twins:
            return self.twins[index]
        source, version = index, 1
        if index == self.entry and index not in self.floats:
            # Levels of a raw pixel, one to one.
            self.editor.set_scale(self.raw, [1.0], [0])
            source, version = self.raw, 2
            if self.numbers.activations == "int16":  # there is no kernel straight from uint8
                source = self.editor.copy_tensor(index, "_int8", "int8")
                self.editor.set_scale(source, [1.0], [-128])
                self.new.append(self.editor.make_operator("QUANTIZE", 2, [self.raw], [source]))
        twin = self._make_twin(index)
        self.new.append(self.editor.make_operator("QUANTIZE", version, [source], [twin]))
        return twin

    def _make_twin(self, index: int) -> int:
        found = self._scale_of(index)
        twin = self.editor.copy_tensor(index, self.suffix, self.numbers.activations)
        self.editor.set_scale(twin, [found.scale], [found.zero_point])
        self.twins[index] = twin
        return twin

    def _is_float(self, index: int) -> bool:
        return index >= 0 and tensor_type(self.tensors[index]) == "float32"

    def _is_activation(self, index: int) -> bool:
        return self._is_float(index) and not self.editor.is_constant(index)

    # scales

    def _join_scales(self) -> dict[int, int]:
        """Tensors that int8 operators make share one scale, each with its representative."""
        parents: dict[int, int] = {}

        def find(index: int) -> int:
            while parents.setdefault(index, index) != index:
                index = parents[index]
            return index

        for operator, kind, precision in self.old:
            if precision not in ARITHMETIC or kind not in KINDS or not KINDS[kind].same_scale:
                continue
            sides = [int(i) for i in (*operator.inputs, *operator.outputs)]
            floats = [index for index in sides if self._is_float(index)]
            for other in floats[1:]:
                parents[find(other)] = find(floats[0])
        return {index: find(index) for index in parents}

    def _scale_of(self, index: int) -> Scale:
        representative = self.groups.get(index, index)
        members = [i for i, r in self.groups.items() if r == representative] or [index]
        found = [self._range_of(member) for member in members]
        return self.numbers.scale(min(low for low, _ in found), max(high for _, high in found))

    def _range_of(self, index: int) -> tuple[float, float]:
        name = tensor_name(self.tensors[index])
        if self.editor.is_constant(index):
            values = self.editor.values(index)
            return float(values.min()), float(values.max())
        if index == self.entry and self.input_type == "uint8":
            return 0.0, 255.0
        if name not in self.ranges:
            raise ExportError(
                f"the calibration record has no range for {name!r}: it belongs to another graph. "
                "Calibrate anew with --calibration PATH."
            )
        return self.ranges[name]

    # operators

    def _write_static(self, operator: Any, kind: str) -> None:
        row = KINDS.get(kind)
        version = None if row is None else self.numbers.version(row)
        if row is None or version is None:
            where = layer_of_node(tensor_name(self.tensors[int(operator.outputs[0])]))
            raise ExportError(
                f"{kind} of layer {where!r} has no kernel for {self.numbers.activations} "
                "activations in LiteRT. Choose another target, such as tflite-mixed."
            )
        entering = [
            self._int8_of(int(index)) if self._is_activation(int(index)) else int(index)
            for index in operator.inputs
        ]
        if row.weights_axis is not None and self.editor.is_constant(entering[1]):
            self._write_weights(entering, row.weights_axis)
        else:
            entering = [self._static_constant(index) for index in entering]
        operator.inputs = np.array(entering, np.int32)
        operator.opcodeIndex = self.editor.opcode(kind, version)
        (index,) = (int(number) for number in operator.outputs)
        self.new.append(operator)
        fixed = self.numbers.fixed(row)
        if fixed is None:
            operator.outputs = np.array([self._make_twin(index)], np.int32)
        else:
            self._give_fixed_scale(operator, index, Scale(*fixed))

    def _give_fixed_scale(self, operator: Any, index: int, fixed: Scale) -> None:
        """The kernel's own output scale, and another one behind it where readers share a group."""
        made = self.editor.copy_tensor(index, self.suffix, self.numbers.activations)
        self.editor.set_scale(made, [fixed.scale], [fixed.zero_point])
        operator.outputs = np.array([made], np.int32)
        if index in self.groups and self._scale_of(index) != fixed:
            twin = self._make_twin(index)
            self.new.append(self.editor.make_operator("QUANTIZE", 2, [made], [twin]))
        else:
            self.twins[index] = made

    def _write_weights(self, entering: list[int], axis: int) -> None:
        """Replaces weights by int8 a channel and the bias by wider integers."""
        (input_scale,) = self.editor.scales(entering[0])
        bias = None
        if len(entering) > 2 and entering[2] >= 0:
            bias = self.editor.values(entering[2])
        weights = self.editor.values(entering[1])
        floor = None if bias is None else bias_floor(bias, np.float32(input_scale))
        rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
        scales = channel_scales(rows, floor)
        entering[1] = self._integer_weights(entering[1], axis, scales)
        if bias is not None:
            bias_scales = (np.float32(input_scale) * scales).astype(np.float32)
            levels = bias_levels(bias, bias_scales).astype(self.numbers.biases)
            entering[2] = self.editor.add_constant(entering[2], f"_{self.numbers.biases}", levels)
            self.editor.set_scale(entering[2], bias_scales, np.zeros(len(levels), np.int64))

    def _integer_weights(
        self, index: int, axis: int, scales: np.ndarray, largest: int = 127
    ) -> int:
        """Weights of 8 bits, or of 4 where the largest level is 7."""
        key = (index, axis, scales.tobytes())
        if key not in self.stored:
            weights = self.editor.values(index)
            rows = np.moveaxis(weights, axis, 0)
            flat = np.clip(weight_levels(rows.reshape(len(rows), -1), scales), -largest, largest)
            levels = np.ascontiguousarray(np.moveaxis(flat.reshape(rows.shape), 0, axis))
            if largest == LEVELS_4BIT:
                found = self.editor.add_constant(index, "_int4", pack_4bit(levels), "int4")
            else:
                found = self.editor.add_constant(index, "_int8", levels)
            self.editor.set_scale(found, scales, np.zeros(len(scales), np.int64), axis)
            self.stored[key] = found
        return self.stored[key]

    def _static_constant(self, index: int) -> int:
        if not self._is_float(index) or not self.editor.is_constant(index):
            return index
        if (index,) not in self.stored:
            found = self._scale_of(index)
            limits = np.iinfo(self.numbers.activations)
            levels = np.rint(self.editor.values(index) / found.scale) + found.zero_point
            levels = np.clip(levels, limits.min, limits.max).astype(self.numbers.activations)
            made = self.editor.add_constant(index, self.suffix, levels)
            self.editor.set_scale(made, [found.scale], [found.zero_point])
            self.stored[(index,)] = made
        return self.stored[(index,)]

    def _write_dynamic(self, operator: Any, kind: str, precision: Precision) -> None:
        row = KINDS.get(kind)
        if row is None or row.weights_axis is None or not has_kernel(kind, precision):
            raise ExportError(f"{kind} has no kernel with integer weights and float activations.")
        index = int(operator.inputs[1])
        weights = self.editor.values(index)
        if weights.size < FEWEST_WEIGHTS:
            return
        rows = np.moveaxis(weights, row.weights_axis, 0).reshape(
            weights.shape[row.weights_axis], -1
        )
        largest = WEIGHTS_ONLY[precision]
        scales = channel_scales(rows, levels=largest)
        inputs = np.array(operator.inputs)
        inputs[1] = self._integer_weights(index, row.weights_axis, scales, largest)
        operator.inputs = inputs
        operator.builtinOptions = copy.copy(operator.builtinOptions)
        if hasattr(operator.builtinOptions, "asymmetricQuantizeInputs"):
            operator.builtinOptions.asymmetricQuantizeInputs = True
        version = row.dynamic_version if precision is Precision.DYNAMIC else row.int4_version
        operator.opcodeIndex = self.editor.opcode(kind, version or 1)


def pack_4bit(levels: np.ndarray) -> np.ndarray:
    """Two 4-bit levels a byte, the first in the lower half. uint8, flat."""
    nibbles = levels.reshape(-1).view(np.uint8) & 15
    nibbles = np.append(nibbles, np.zeros(len(nibbles) % 2, np.uint8))
    return nibbles[0::2] | (nibbles[1::2] << 4)


def channel_scales(
    rows: np.ndarray, floor: np.ndarray | None = None, levels: int = 127
) -> np.ndarray:
    """One scale an output channel for symmetric weights. float32 N.

    Args:
        rows: N K.
        floor: smallest scale of each channel, so that its bias fits into int32; None: no limit.
        levels: the largest level: 127 for 8 bits, 7 for 4.
    """
    scales = np.abs(rows).max(axis=1, initial=0) / levels
    if floor is not None:
        scales = np.maximum(scales, floor)
    largest = scales.max(initial=0)
    # A channel of zeros needs a scale as well, of a size that kernels can work with.
    return np.where(scales > largest * 1e-6, scales, largest or 1 / levels).astype(np.float32)


def has_kernel(kind: str, precision: Precision) -> bool:
    """Whether an operator of this kind can be written in a precision."""
    row = KINDS.get(kind)
    if precision is Precision.FLOAT32:
        return True
    if row is None:
        return False
    if precision in ARITHMETIC:
        return ARITHMETIC[precision].version(row) is not None
    found = {Precision.DYNAMIC: row.dynamic_version, Precision.DYNAMIC_INT4: row.int4_version}
    return found.get(precision) is not None
