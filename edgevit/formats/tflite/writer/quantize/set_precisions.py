"""A precision for every operator of a float TFLite graph.

int8 operators get int8 inputs, weights a channel, int32 biases and int8 outputs; int16x8 ones int16
activations and int64 biases; dynamic ones int8 or 4-bit weights alone. QUANTIZE and DEQUANTIZE
stand only where a tensor goes from one side to the other, once a tensor and direction, however many
operators read it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgevit.base.errors import ExportError
from edgevit.core.target import Precision
from edgevit.formats.layer_names import layer_of_node
from edgevit.formats.tflite.operators import OPERATORS, OpSpec
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.quantize.integer import Ranges
from edgevit.quantization.levels import (
    affine_of,
    bias_floor,
    bias_levels,
    channel_scales,
    pack_4bit,
    weight_levels,
)

# TensorFlow's converter leaves smaller weights in float as well: nothing is gained.
FEWEST_WEIGHTS = 1024
LEVELS_4BIT = 7
# The largest level of weights beside float activations.
WEIGHTS_ONLY = {Precision.DYNAMIC: 127, Precision.DYNAMIC_INT4: LEVELS_4BIT}
TURNED = "TRANSPOSE_CONV"  # its inputs are sizes, weights, activation and bias, in this order
BOUNDS = ("MINIMUM", "MAXIMUM")
CHOICES = ("ARG_MAX", "ARG_MIN")
CAST16 = 3  # version of a CAST from int16
REQUANTIZE = 2  # version of a QUANTIZE from integers
POWER_OF_TWO = 2e-3  # of a scale's binary logarithm: LiteRT calls 1e-3 near enough


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
    """Symmetric int16 levels for a range, a little wider where that avoids a power of two.

    Where all scales of a sum are powers of two, LiteRT takes a kernel that cannot add an operand
    whose scale is larger than the result's, such as ``x * 2 - 1``, and does not load the file.
    """
    scale = (max(abs(low), abs(high)) or 1.0) / 32767
    power = math.log2(scale)
    if abs(power - round(power)) < POWER_OF_TWO:
        scale *= 1 + 8 * POWER_OF_TWO
    return Scale(float(np.float32(scale)), 0)


@dataclass(frozen=True)
class Arithmetic:
    """The integers that static operators compute with.

    Attributes:
        activations: their element type.
        biases: likewise.
        scale: (smallest, largest) -> levels.
        output: operator -> the (scale, zero point) that the kernel's output wants, if any.
    """

    activations: str
    biases: str
    scale: Callable[[float, float], Scale]
    output: Callable[[OpSpec], tuple[float, int] | None]


ARITHMETIC: dict[Precision, Arithmetic] = {
    Precision.INT8: Arithmetic("int8", "int32", int8_scale, lambda spec: spec.output),
    Precision.INT16X8: Arithmetic("int16", "int64", int16_scale, lambda spec: spec.output16),
}


def set_precisions(
    graph: TfliteGraph,
    ranges: Ranges,
    precisions: Sequence[Precision],
    raw: Sequence[str] = (),
    float_outputs: bool = True,
) -> None:
    """Gives every operator of a float graph, which is changed in place, its precision.

    Args:
        graph: float32, with float32 inputs.
        ranges: (smallest, largest) of activations by tensor name; needed for those that become
            int8.
        precisions: FLOAT32, DYNAMIC, DYNAMIC_INT4, and INT8 or INT16X8 for each operator, in the
            order of the file.
        raw: names of the inputs that become uint8, raw pixels 0..255.
        float_outputs: whether the other inputs and the outputs are float32, or what operators
            compute in.

    Raises:
        ExportError: an operator has no such kernel, or an activation no range.
    """
    _Writer(graph, ranges, list(precisions), float_outputs).rewrite(raw)
    graph.prune()


class _Writer:
    """Builds the list of operators anew beside the float one, then swaps them."""

    def __init__(
        self, graph: TfliteGraph, ranges: Ranges, precisions: list[Precision], float_outputs: bool
    ):
        self.graph = graph
        self.ranges = ranges
        self.precisions = precisions
        self.float_outputs = float_outputs
        self.raw: dict[int, int] = {}  # float input -> the bytes that take its place
        self.tensors = graph.tensors
        self.old = list(zip(graph.operators, graph.kinds, precisions, strict=True))
        self.new: list[Any] = []
        self.quantised: dict[int, int] = {}  # float activation -> integer tensor
        self.floats: set[int] = set()  # activations that exist in float
        self.stored: dict[tuple, int] = {}
        self.groups = self._join_scales()
        self.bounds = {
            int(index)
            for operator, kind, _ in self.old
            for index in operator.inputs
            if kind in BOUNDS and graph.is_constant(int(index))
        }
        self.entries = {int(index) for index in graph.graph.inputs}
        static = next((p for p in precisions if p in ARITHMETIC), Precision.INT8)
        self.numbers = ARITHMETIC[static]
        self.precision = static
        self.suffix = f"_{self.numbers.activations}"

    def rewrite(self, raw: Sequence[str]) -> None:
        self.floats.update(self.entries)
        for index in [self.graph.input_named(name) for name in raw]:
            self._take_bytes(index)
        for operator, kind, precision in self.old:
            if precision in ARITHMETIC and self._is_float(int(operator.outputs[0])):
                self._write_static(operator, kind)
                continue
            if kind in CHOICES and precision is Precision.INT16X8:
                self._choose_among_levels(operator)
                continue
            self._read_as_float(operator)
            if precision in WEIGHTS_ONLY:
                self._write_dynamic(operator, kind, precision)
            self.new.append(operator)
            self.floats.update(int(index) for index in operator.outputs)
        for index in map(int, self.graph.graph.outputs):
            if self.float_outputs or index not in self.quantised:
                self._float_of(index)
            else:
                self.graph.set_output(index, self.quantised[index])
        self.graph.operators = self.new

    # inputs and outputs

    def _take_bytes(self, entry: int) -> None:
        """An input becomes uint8; whoever reads it in float gets a CAST, in int8 a QUANTIZE."""
        raw = self.graph.copy_tensor(entry, "", "uint8")
        self.tensors[raw].name = self.tensors[entry].name
        self.tensors[entry].name = self.graph.name(entry) + "_float"
        self.raw[entry] = raw
        self.floats.discard(entry)
        self.graph.set_input(entry, raw)

    def _read_as_float(self, operator: Any) -> None:
        for index in operator.inputs:
            if self._is_activation(int(index)):
                self._float_of(int(index))

    def _float_of(self, index: int) -> None:
        """Makes sure that an activation exists in float."""
        if index in self.floats:
            return
        if index in self.raw:
            self.new.append(self.graph.make_int8("CAST", [self.raw[index]], [index]))
        else:
            self.new.append(self.graph.make_int8("DEQUANTIZE", [self.quantised[index]], [index]))
        self.floats.add(index)

    def _int8_of(self, index: int) -> int:
        """An activation in integers; quantises it where it is needed for the first time."""
        if index in self.quantised:
            return self.quantised[index]
        source, version = index, OPERATORS["QUANTIZE"].version or 1
        if index in self.entries and not self.float_outputs and index not in self.raw:
            return self._take_levels(index)
        if index in self.raw and index not in self.floats:
            # Levels of a raw pixel, one to one.
            self.graph.set_scale(self.raw[index], [1.0], [0])
            source, version = self.raw[index], REQUANTIZE
            if self.numbers.activations == "int16":  # there is no kernel straight from uint8
                source = self.graph.copy_tensor(index, "_int8", "int8")
                self.graph.set_scale(source, [1.0], [-128])
                self.new.append(
                    self.graph.make_operator("QUANTIZE", REQUANTIZE, [self.raw[index]], [source])
                )
        made = self._quantise(index)
        self.new.append(self.graph.make_operator("QUANTIZE", version, [source], [made]))
        return made

    def _take_levels(self, index: int) -> int:
        """An input that is no picture becomes integers with a scale."""
        made = self._quantise(index)
        name = self.graph.name(index)
        self.tensors[made].name, self.tensors[index].name = name, f"{name}_float"
        self.ranges = {**self.ranges, f"{name}_float": self.ranges[name]}
        self.graph.set_input(index, made)
        return made

    def _quantise(self, index: int) -> int:
        """The integer tensor that takes the place of an activation."""
        found = self._scale_of(index)
        made = self.graph.copy_tensor(index, self.suffix, self.numbers.activations)
        self.graph.set_scale(made, [found.scale], [found.zero_point])
        self.quantised[index] = made
        return made

    def _is_float(self, index: int) -> bool:
        return index >= 0 and self.graph.type(index) == "float32"

    def _is_activation(self, index: int) -> bool:
        return self._is_float(index) and not self.graph.is_constant(index)

    # scales

    def _join_scales(self) -> dict[int, int]:
        """Tensors that int8 operators make share one scale, each with its representative."""
        parents: dict[int, int] = {}

        def find(index: int) -> int:
            while parents.setdefault(index, index) != index:
                index = parents[index]
            return index

        for operator, kind, precision in self.old:
            spec = OPERATORS.get(kind)
            if precision not in ARITHMETIC or spec is None or not spec.same_scale:
                continue
            sides = [int(i) for i in (*operator.inputs, *operator.outputs)]
            floats = [index for index in sides if self._is_float(index)]
            for other in floats[1:]:
                parents[find(other)] = find(floats[0])
        return {index: find(index) for index in parents}

    def _scale_of(self, index: int) -> Scale:
        representative = self.groups.get(index, index)
        members = [i for i, r in self.groups.items() if r == representative] or [index]
        # A bound beyond what is compared with it saturates, and has the same effect.
        members = [i for i in members if i not in self.bounds] or members
        found = [self._range_of(member) for member in members]
        return self.numbers.scale(min(low for low, _ in found), max(high for _, high in found))

    def _range_of(self, index: int) -> tuple[float, float]:
        name = self.graph.name(index)
        if self.graph.is_constant(index):
            values = self.graph.values(index)
            return float(values.min()), float(values.max())
        if index in self.raw:
            return 0.0, 255.0
        if name not in self.ranges:
            raise ExportError(
                f"the calibration record has no range for {name!r}: it belongs to another graph. "
                "Calibrate anew with --calibration PATH."
            )
        return self.ranges[name]

    # operators

    def _write_static(self, operator: Any, kind: str) -> None:
        spec = OPERATORS.get(kind)
        version = None if spec is None else spec.version_in(self.precision)
        if spec is None or version is None:
            where = layer_of_node(self.graph.name(int(operator.outputs[0])))
            raise ExportError(
                f"{kind} of layer {where!r} has no kernel for {self.numbers.activations} "
                "activations in LiteRT. Choose another target, such as tflite-mixed."
            )
        entering = [
            self._int8_of(int(index)) if self._is_activation(int(index)) else int(index)
            for index in operator.inputs
        ]
        if spec.weights_axis is not None and self.graph.is_constant(entering[1]):
            self._write_weights(entering, spec.weights_axis)
        elif kind == TURNED and self.graph.is_constant(entering[1]):
            sizes, weights, x, *bias = entering
            ordered = [x, weights, *bias]
            self._write_weights(ordered, 0)
            entering = [sizes, ordered[1], x, *ordered[2:]]
        else:
            entering = [self._static_constant(index) for index in entering]
        operator.inputs = np.array(entering, np.int32)
        operator.opcodeIndex = self.graph.opcode(kind, version)
        (index,) = (int(number) for number in operator.outputs)
        self.new.append(operator)
        fixed = self.numbers.output(spec)
        if fixed is None:
            operator.outputs = np.array([self._quantise(index)], np.int32)
        else:
            self._give_fixed_scale(operator, index, Scale(*fixed))

    def _choose_among_levels(self, operator: Any) -> None:
        """The place of the largest or smallest: that of its level, in a type that has a kernel."""
        x, axis = (int(index) for index in operator.inputs)
        levels = self._int8_of(x)
        wide = self.graph.copy_tensor(x, "_int32", "int32")
        self.new.append(self.graph.make_operator("CAST", CAST16, [levels], [wide]))
        operator.inputs = np.array([wide, axis], np.int32)
        self.new.append(operator)
        self.floats.update(int(index) for index in operator.outputs)

    def _give_fixed_scale(self, operator: Any, index: int, fixed: Scale) -> None:
        """The kernel's own output scale, and another one behind it where readers share a group."""
        made = self.graph.copy_tensor(index, self.suffix, self.numbers.activations)
        self.graph.set_scale(made, [fixed.scale], [fixed.zero_point])
        operator.outputs = np.array([made], np.int32)
        if index in self.groups and self._scale_of(index) != fixed:
            again = self._quantise(index)
            self.new.append(self.graph.make_operator("QUANTIZE", REQUANTIZE, [made], [again]))
        else:
            self.quantised[index] = made

    def _write_weights(self, entering: list[int], axis: int) -> None:
        """Replaces weights by int8 a channel and the bias by wider integers."""
        (input_scale,) = self.graph.scales(entering[0])
        bias = None
        if len(entering) > 2 and entering[2] >= 0:
            bias = self.graph.values(entering[2])
        weights = self.graph.values(entering[1])
        floor = None if bias is None else bias_floor(bias, np.float32(input_scale))
        rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
        scales = channel_scales(rows, floor)
        entering[1] = self._integer_weights(entering[1], axis, scales)
        if bias is not None:
            bias_scales = (np.float32(input_scale) * scales).astype(np.float32)
            levels = bias_levels(bias, bias_scales).astype(self.numbers.biases)
            entering[2] = self.graph.add_constant(entering[2], f"_{self.numbers.biases}", levels)
            self.graph.set_scale(entering[2], bias_scales, np.zeros(len(levels), np.int64))

    def _integer_weights(
        self, index: int, axis: int, scales: np.ndarray, largest: int = 127
    ) -> int:
        """Weights of 8 bits, or of 4 where the largest level is 7."""
        key = (index, axis, scales.tobytes())
        if key not in self.stored:
            weights = self.graph.values(index)
            rows = np.moveaxis(weights, axis, 0)
            flat = np.clip(weight_levels(rows.reshape(len(rows), -1), scales), -largest, largest)
            levels = np.ascontiguousarray(np.moveaxis(flat.reshape(rows.shape), 0, axis))
            if largest == LEVELS_4BIT:
                found = self.graph.add_constant(index, "_int4", pack_4bit(levels), "int4")
            else:
                found = self.graph.add_constant(index, "_int8", levels)
            self.graph.set_scale(found, scales, np.zeros(len(scales), np.int64), axis)
            self.stored[key] = found
        return self.stored[key]

    def _static_constant(self, index: int) -> int:
        if not self._is_float(index) or not self.graph.is_constant(index):
            return index
        if (index,) not in self.stored:
            found = self._scale_of(index)
            limits = np.iinfo(self.numbers.activations)
            levels = np.rint(self.graph.values(index) / found.scale) + found.zero_point
            levels = np.clip(levels, limits.min, limits.max).astype(self.numbers.activations)
            made = self.graph.add_constant(index, self.suffix, levels)
            self.graph.set_scale(made, [found.scale], [found.zero_point])
            self.stored[(index,)] = made
        return self.stored[(index,)]

    def _write_dynamic(self, operator: Any, kind: str, precision: Precision) -> None:
        spec = OPERATORS.get(kind)
        version = None if spec is None else spec.version_in(precision)
        if spec is None or spec.weights_axis is None or version is None:
            raise ExportError(f"{kind} has no kernel with integer weights and float activations.")
        index = int(operator.inputs[1])
        weights = self.graph.values(index)
        if weights.size < FEWEST_WEIGHTS:
            return
        axis = spec.weights_axis
        rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
        largest = WEIGHTS_ONLY[precision]
        scales = channel_scales(rows, levels=largest)
        inputs = np.array(operator.inputs)
        inputs[1] = self._integer_weights(index, axis, scales, largest)
        operator.inputs = inputs
        operator.builtinOptions = copy.copy(operator.builtinOptions)
        if hasattr(operator.builtinOptions, "asymmetricQuantizeInputs"):
            operator.builtinOptions.asymmetricQuantizeInputs = True
        operator.opcodeIndex = self.graph.opcode(kind, version)
