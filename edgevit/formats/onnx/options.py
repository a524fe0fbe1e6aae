"""Options of ONNX files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

from edgevit.base.errors import ConfigError
from edgevit.core.options import option
from edgevit.core.target import Precision
from edgevit.frontend.source import ExportOptions

OPSETS = range(17, 21)
VNNI, ANY = "vnni", "any"
X86 = (VNNI, ANY)


class OnnxChoices(TypedDict, total=False):
    """The fields of :class:`OnnxOptions` as keyword arguments; see there."""

    opset: int
    x86: str


@dataclass(frozen=True)
class OnnxOptions(ExportOptions):
    """See :class:`ExportOptions`.

    Attributes:
        opset: one of OPSETS.
        x86: one of X86: which processors the weights of 8-bit convolutions are written for.

    Raises:
        ConfigError: there is no such opset here, or no such kind of processor.
    """

    opset: int = field(
        default=20,
        metadata=option(
            help="Of an ONNX file, 17 to 20. 17 suits older runtimes; 20 has Gelu as one operator.",
        ),
    )

    x86: str = field(
        default=VNNI,
        metadata=option(
            help="8-bit convolutions: 'any' also suits x86 processors without VNNI, whose sums of "
            "products saturate at 16 bits, at up to 3 dB of the outputs' signal-to-noise ratio.",
            choices=X86,
            precisions=(Precision.INT8,),
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.opset not in OPSETS:
            raise ConfigError(
                f"--opset must be one of {', '.join(map(str, OPSETS))} (17 for older runtimes, 20 "
                f"has Gelu). Received: {self.opset}"
            )
        if self.x86 not in X86:
            raise ConfigError(f"--x86 must be one of {', '.join(X86)}. Received: {self.x86}")
