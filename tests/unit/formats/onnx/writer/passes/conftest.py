"""Small graphs in ONNX's text form, before and after a pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import numpy_helper

from edgevit.formats.onnx.writer.passes.library import infer_shapes
from edgevit.formats.passes import PassReport

HEADER = '<ir_version: 9, opset_import: ["": {opset}]>\n'


@dataclass(frozen=True)
class Rewritten:
    """A graph after a pass: what the pass said, and the operators in order."""

    report: PassReport
    operators: list[str]
    model: onnx.ModelProto


def build(text: str, opset: int, constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    model = onnx.parser.parse_model(HEADER.format(opset=opset) + text)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()
    )
    return model


def run(model: onnx.ModelProto, batch: int) -> list[np.ndarray]:
    """All outputs for seeded inputs, without onnxruntime's own rewrites."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(5)
    feed = {
        entry.name: rng.normal(
            size=[part if isinstance(part, int) else batch for part in entry.shape]
        ).astype(np.float32)
        for entry in session.get_inputs()
    }
    return session.run(None, feed)


@pytest.fixture
def rewrite() -> Callable[..., Rewritten]:
    """Applies a pass and checks that every output stays as it was.

    Arguments: the pass, a graph in text form, its constants by name, opset, tolerance.
    """

    def apply(
        passes,
        text: str,
        constants: dict[str, np.ndarray] | None = None,
        opset: int = 20,
        atol: float = 1e-5,
    ) -> Rewritten:
        proto = build(text, opset, constants or {})
        expected = run(proto, batch=3)
        model = ir.from_proto(proto)
        infer_shapes.run(model)
        names = [value.name for value in model.graph.outputs]
        for step in passes if isinstance(passes, tuple) else (passes,):
            report = step.run(model)
        for number, node in enumerate(model.graph):
            node.name = f"node{number}"
        after = ir.to_proto(model)
        onnx.checker.check_model(after, full_check=True)
        assert [value.name for value in after.graph.output] == names
        for value, wanted in zip(run(after, batch=3), expected, strict=True):
            assert value.shape == wanted.shape
            np.testing.assert_allclose(value, wanted, atol=atol, rtol=1e-5)
        return Rewritten(report, [node.op_type for node in after.graph.node], after)

    return apply


@pytest.fixture
def decline(rewrite) -> Callable[..., None]:
    """Checks that a pass leaves a graph alone, and gives this reason (None: says nothing)."""

    def check(step, text: str, constants: dict | None = None, reason: str | None = None, **options):
        before = [node.op_type for node in build(text, 20, constants or {}).graph.node]
        found = rewrite(step, text, constants, **options)
        assert found.report.count == 0
        assert found.operators == before
        reasons = [line for _, line in found.report.skipped]
        assert reasons == [] if reason is None else any(reason in line for line in reasons), reasons

    return check
