"""The TFLite format and its runtimes."""

from __future__ import annotations

from edgevit.base.packages import KERAS, Need
from edgevit.core.format import Format, FormatSpec
from edgevit.core.runtime import Runtime

SPEC = FormatSpec(
    Format.TFLITE,
    suffix=".tflite",
    inspect="edgevit.formats.tflite.runtime.inspect:inspect_tflite",
    read_metadata="edgevit.formats.tflite.runtime.file:read_metadata",
    count_cost="edgevit.formats.tflite.runtime.cost:count_cost",
    open_intermediate="edgevit.formats.tflite.runtime.intermediate:LiteRTIntermediateReader",
    profile="edgevit.formats.tflite.runtime.kernel_times:profile_tflite",
    options="edgevit.formats.tflite.options:TfliteOptions",
    observe="edgevit.formats.tflite.writer.convert:observe_tflite",
    describe_graph="edgevit.formats.tflite.writer.passes:describe_passes",
    writer_needs=(*KERAS, Need("ai_edge_litert", "litert")),
)

_SESSION = "edgevit.formats.tflite.runtime.litert:LiteRTSession"
_LITERT = "ai_edge_litert.interpreter"
_WIDE = "edgevit.formats.tflite.runtime.wide_softmax:find_wide_softmax"
_MICRO = "tflite_micro.python.tflite_micro.runtime"

# The first is the one that is used unless another is asked for.
RUNTIMES = (
    Runtime("litert", Format.TFLITE, "xnnpack", _SESSION, _LITERT, "litert"),
    Runtime("litert-builtin", Format.TFLITE, "builtin", _SESSION, _LITERT, "litert"),
    Runtime(
        "litert-reference",
        Format.TFLITE,
        "reference",
        _SESSION,
        _LITERT,
        "litert",
        slow=True,
        find_end=_WIDE,
    ),
    Runtime(
        "tflm",
        Format.TFLITE,
        "micro",
        "edgevit.formats.tflite.runtime.tflm:MicroSession",
        _MICRO,
        "tflm",
        slow=True,
        find_end=_WIDE,
    ),
)
