"""ONNX files in OpenVINO, Intel's runtime, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgevit.formats.onnx.runtime.session import Infer, OtherOnnxSession


class OpenVINOSession(OtherOnnxSession):
    """See :class:`edgevit.formats.onnx.runtime.session.OtherOnnxSession`.

    What is float32 in the file is computed in float32: left to itself, OpenVINO takes bfloat16
    where the processor multiplies it faster.
    """

    library = "OpenVINO"

    def load(self, model: Any, threads: int) -> None:
        import openvino

        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
        }
        if gathers_rounded_values(model.graph):
            options["LP_TRANSFORMS_MODE"] = False
            self.runtime += "-without-lpt"
        network = openvino.Core().compile_model(str(self.path), "CPU", options)
        self._tensor, self._request = openvino.Tensor, network.create_infer_request()

    def prepare(self, batch: dict[str, np.ndarray]) -> Infer:
        request, places = self._request, range(len(self.outputs))
        # It shares no memory that is read-only.
        ready = [np.require(batch[spec.name], requirements="W") for spec in self.inputs]
        for place, values in enumerate(ready):
            request.set_input_tensor(place, self._tensor(values, shared_memory=True))

        def infer(ready: list[np.ndarray] = ready) -> Sequence[Any]:  # whose memory it reads
            request.infer()
            return [request.get_output_tensor(place).data for place in places]

        return infer

    def close(self) -> None:
        self._request = None


def gathers_rounded_values(graph: Any) -> bool:
    """Whether OpenVINO's low-precision transformations (LPT) would end the process.

    They turn operators between QuantizeLinear and DequantizeLinear to integers. Their rule for
    Gather asks a zero point for its size along the gathered axis, also where it is one number and
    has no axes: a segmentation fault in version 2026.4. Without them the same values are computed
    in float32.
    """
    computed = {name for node in graph.node for name in node.output}
    operators = {node.op_type for node in graph.node}
    return "QuantizeLinear" in operators and any(
        node.op_type == "Gather" and node.input[0] in computed for node in graph.node
    )
