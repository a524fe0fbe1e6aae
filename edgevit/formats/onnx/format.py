"""The ONNX format and its runtimes."""

from __future__ import annotations

from edgevit.base.packages import KERAS, Need
from edgevit.core.format import Format, FormatSpec
from edgevit.core.runtime import Runtime

_LIBRARIES = ("onnx", "onnx_ir", "onnxruntime", "onnxscript", "tf2onnx")

SPEC = FormatSpec(
    Format.ONNX,
    suffix=".onnx",
    inspect="edgevit.formats.onnx.runtime.inspect:inspect_onnx",
    read_metadata="edgevit.formats.onnx.runtime.onnxruntime:read_metadata",
    count_cost="edgevit.formats.onnx.runtime.cost:count_cost",
    open_intermediate="edgevit.formats.onnx.runtime.intermediate:OnnxIntermediateReader",
    profile="edgevit.formats.onnx.runtime.profiler:profile_onnx",
    options="edgevit.formats.onnx.options:OnnxOptions",
    observe="edgevit.formats.onnx.writer.convert:observe_onnx",
    writer_needs=(*KERAS, *(Need(package, "onnx") for package in _LIBRARIES)),
)

_SESSION = "edgevit.formats.onnx.runtime.onnxruntime:OnnxRuntimeSession"

# The first of each device is the one that is used unless another is asked for.
RUNTIMES = (
    Runtime("onnxruntime", Format.ONNX, "cpu", _SESSION, "onnxruntime", "onnx"),
    Runtime(
        "openvino",
        Format.ONNX,
        "openvino",
        "edgevit.formats.onnx.runtime.openvino:OpenVINOSession",
        "openvino",
        "openvino",
    ),
    Runtime(
        "tract",
        Format.ONNX,
        "tract",
        "edgevit.formats.onnx.runtime.tract:TractSession",
        "tract",
        "tract",
    ),
    # x86 processors without VNNI add pairs of 8-bit products in 16 bits. These kernels do not; they
    # are slower there, and the same elsewhere.
    Runtime("onnxruntime-wide", Format.ONNX, "wide", _SESSION, "onnxruntime", "onnx"),
    Runtime("onnxruntime-cuda", Format.ONNX, "cuda", _SESSION, "onnxruntime", "gpu", "gpu"),
)
