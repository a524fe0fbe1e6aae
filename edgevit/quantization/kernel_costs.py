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
class Work:
    """The size of one operator.

    Attributes:
        elements: of all activations that it reads and writes.
        products: multiply-accumulates; 0 for all but matrix products and convolutions.
        stored: weights that it reads; with few rows, streaming them is what takes the time.
    """

    elements: int
    products: int = 0
    stored: int = 0


@dataclass(frozen=True)
class Line:
    """``fixed + element * elements + product * products + weight * stored``, in ns."""

    fixed: float
    element: float
    product: float
    weight: float = 0.0

    def at(self, work: Work) -> float:
        """The cost of an operator of this size, in ns."""
        activations = self.fixed + self.element * work.elements
        return activations + self.product * work.products + self.weight * work.stored


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

    def cost(self, kind: str, precision: Precision, work: Work) -> float | None:
        """ns of one operator; None where the table does not know."""
        line = self.lines.get(kind, {}).get(precision)
        return None if line is None else line.at(work)

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
