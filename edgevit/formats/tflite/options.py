"""Options of TFLite files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

from edgevit.base.errors import ConfigError
from edgevit.core.options import option
from edgevit.core.target import Precision
from edgevit.frontend.source import INPUT_TYPES, ExportOptions
from edgevit.quantization.recipe import Recipe


class TfliteChoices(TypedDict, total=False):
    """The fields of :class:`TfliteOptions` as keyword arguments; see there."""

    surgery: tuple[str, ...] | None
    recipe: Recipe | None
    output_dtype: str | None


@dataclass(frozen=True)
class TfliteOptions(ExportOptions):
    """See :class:`ExportOptions`.

    Attributes:
        surgery: names of the passes that rewrite the graph, in the order of
            :mod:`edgevit.formats.tflite.writer.passes`; None: those that run by default.
        recipe: precisions of a tflite-mixed file; None: planned by the table of kernel costs.
        output_dtype: element type of the outputs of an int8 file, one of INPUT_TYPES; None is
            float32 where the input is, and else int8.
    """

    surgery: tuple[str, ...] | None = field(
        default=None,
        metadata=option(
            metavar="NAME[,NAME...]",
            help="Passes that rewrite a TFLite graph exactly before it is quantised: default, all, "
            "none, names, or no-NAME to leave one out. See 'edgevit targets'.",
            read="edgevit.formats.tflite.writer.passes:find_passes",
        ),
    )
    recipe: Recipe | None = field(
        default=None,
        metadata=option(
            flag="--recipe-file",
            metavar="FILE",
            help="tflite-mixed: precisions of a recipe, as --max-drop writes them, instead of a "
            "search.",
            read="edgevit.quantization.recipe:read_recipe",
            precisions=(Precision.MIXED,),
        ),
    )
    output_dtype: str | None = field(
        default=None,
        metadata=option(
            help="tflite-int8: element type of the outputs. MediaPipe takes uint8 and float32.",
            choices=INPUT_TYPES,
            shown_default="int8, float32 where the input is float32",
            precisions=(Precision.INT8,),
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_dtype not in (None, *INPUT_TYPES):
            raise ConfigError(
                f"--output-dtype must be one of {', '.join(INPUT_TYPES)}. "
                f"Received: {self.output_dtype!r}"
            )
