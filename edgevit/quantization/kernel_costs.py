"""What kernels cost: lines fitted to measurements of single operators, kept as a table.

``tools/measure_kernel_costs.py`` makes it on a machine; the one that ships decides about every
``tflite-mixed`` export, so that the same model gives the same file everywhere.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from edgevit.base.errors import ModelFileError
from edgevit.core.target import Precision

TABLE = "kernel_costs.json"


@dataclass(frozen=True)
class OpSize:
    """How much one operator reads, writes and multiplies.

    Attributes:
        elements: of all activations that it reads and writes.
        macs: multiply-accumulates; 0 for all but matrix products and convolutions.
        weights: numbers that it reads; with few rows, streaming them is what takes the time.
    """

    elements: int
    macs: int = 0
    weights: int = 0


@dataclass(frozen=True)
class Line:
    """``fixed + element * elements + mac * macs + weight * weights``, in ns."""

    fixed: float
    element: float
    mac: float
    weight: float = 0.0

    def at(self, size: OpSize) -> float:
        """The cost of an operator of this size, in ns."""
        activations = self.fixed + self.element * size.elements
        return activations + self.mac * size.macs + self.weight * size.weights


@dataclass(frozen=True)
class KernelCosts:
    """A table of lines.

    Attributes:
        machine: where it was measured.
        lines: by kind of operator, then by precision. QUANTIZE and DEQUANTIZE have one row each,
            under int8.
    """

    machine: str
    lines: Mapping[str, Mapping[Precision, Line]]

    def cost(self, kind: str, precision: Precision, size: OpSize) -> float | None:
        """ns of one operator; None where the table does not know."""
        line = self.lines.get(kind, {}).get(precision)
        return None if line is None else line.at(size)

    @classmethod
    def from_text(cls, text: str, name: str) -> KernelCosts:
        """Reads the table's JSON.

        Raises:
            ModelFileError: it is damaged.
        """
        try:
            document = json.loads(text)
            lines = {
                kind: {Precision(key): Line(*map(float, line)) for key, line in row.items()}
                for kind, row in document["ns"].items()
            }
            return cls(str(document["machine"]), lines)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFileError(f"{name}: the table of costs is damaged ({error}).") from None


@functools.cache
def shipped_costs() -> KernelCosts:
    """The table that comes with edgevit."""
    text = files("edgevit.quantization").joinpath(TABLE).read_text()
    return KernelCosts.from_text(text, TABLE)
