"""Options of ONNX files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

from edgevit.base.errors import ConfigError
from edgevit.core.options import option
from edgevit.frontend.source import ExportOptions

OPSETS = range(17, 21)


class OnnxChoices(TypedDict, total=False):
    """The fields of :class:`OnnxOptions` as keyword arguments; see there."""

    opset: int


@dataclass(frozen=True)
class OnnxOptions(ExportOptions):
    """See :class:`ExportOptions`.

    Attributes:
        opset: one of OPSETS.

    Raises:
        ConfigError: there is no such opset here.
    """

    opset: int = field(
        default=20,
        metadata=option(
            help="Of an ONNX file, 17 to 20. 17 suits older runtimes; 20 has Gelu as one operator.",
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.opset not in OPSETS:
            raise ConfigError(
                f"--opset must be one of {', '.join(map(str, OPSETS))} (17 for older runtimes, 20 "
                f"has Gelu). Received: {self.opset}"
            )
