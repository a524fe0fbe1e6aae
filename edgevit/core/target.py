"""Targets of an export, and what a writer of one returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from edgevit.core.format import Format
from edgevit.core.tensors import TensorSpec
from edgevit.core.tolerance import Tolerance


class Precision(StrEnum):
    """Number format of weights and arithmetic."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"  # float16 weights; in TFLite with float32 arithmetic
    DYNAMIC = "dynamic"  # int8 weights, activations quantised on the fly
    DYNAMIC_INT4 = "dynamic-int4"  # likewise with 4-bit weights
    INT8 = "int8"  # int8 weights, activations quantised with calibrated ranges
    INT16X8 = "int16x8"  # int8 weights, int16 activations
    MIXED = "mixed"  # each operator in what is fastest: float32, dynamic or int8


@dataclass(frozen=True)
class Target:
    """One kind of file. What is written differently is another target.

    Attributes:
        name: as typed on the command line; part of the file's name.
        format: file format.
        precision: of weights and arithmetic.
        suffix: of the file name; "" for a folder.
        runtimes: names of the runtimes that verify it; the first is what devices run.
        write: ``(source, options, ranges, staged) -> Written``, written "module:attribute".
        tolerance: policy of the verdict.
        summary: one line for people.
        needs_calibration: whether activation ranges are needed.
        integer_only: whether a float tensor anywhere is a defect.
        fixed_batch: whether its runtime cannot resize an input.
        runtimes_if_installed: names of runtimes that verify it as well where they are installed.
        clients: what takes a file with default borders, and which option others want; one line.
    """

    name: str
    format: Format
    precision: Precision
    suffix: str
    runtimes: tuple[str, ...]
    write: str
    tolerance: Tolerance
    summary: str
    needs_calibration: bool = False
    integer_only: bool = False
    fixed_batch: bool = False
    runtimes_if_installed: tuple[str, ...] = ()
    clients: str = ""

    def file_name(self, model: str) -> str:
        """What the file of a model is called."""
        return f"{model}-{self.name}{self.suffix}"


@dataclass(frozen=True)
class Written:
    """A lowered model whose file is not finished: the documents that travel inside it are missing.

    Attributes:
        steps: what was done, for the manifest.
        inputs: as the file's runtime will declare them.
        outputs: likewise.
        finish: text documents by key -> None; writes the file, or the folder, to its staged place
            with the documents inside.
        caveats: where the file will not do what it does here, a line each.
    """

    steps: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    finish: Callable[[Mapping[str, str]], None]
    caveats: tuple[str, ...] = ()
