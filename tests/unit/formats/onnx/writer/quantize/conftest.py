"""Small ONNX graphs by hand, of the kind that the float export gives."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper, numpy_helper

FLOAT = onnx.TensorProto.FLOAT


class Graph:
    """Collects nodes and constants; names nodes as the exporter does (layer path / operator)."""

    def __init__(self, shape, seed=0):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants = [], []
        self.entry = helper.make_tensor_value_info("images", FLOAT, shape)

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weights(self, name, *shape, scale=0.3):
        return self.constant(name, self.rng.normal(0, scale, shape).astype(np.float32))

    def add(self, kind, layer, *inputs, **attributes):
        name = f"{layer}/{kind}"
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}:0"], name, **attributes))
        return f"{name}:0"

    def reshape(self, layer, x, *shape):
        return self.add("Reshape", layer, x, self.constant(f"{layer}/shape", np.array(shape)))

    def dense(self, layer, x, width_in, width_out, **attributes):
        shape = (width_out, width_in) if attributes.get("transB") else (width_in, width_out)
        kernel = self.weights(f"{layer}/kernel", *shape)
        bias = self.weights(f"{layer}/bias", width_out)
        return self.add("Gemm", layer, x, kernel, bias, **attributes)

    def model(self, result, shape):
        self.nodes[-1].output[0] = "logits"
        assert result == f"{self.nodes[-1].name}:0"
        outputs = [helper.make_tensor_value_info("logits", FLOAT, shape)]
        graph = helper.make_graph(self.nodes, "test", [self.entry], outputs, self.constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        onnx.checker.check_model(made, full_check=True)
        return made


def transformer_block() -> onnx.ModelProto:
    """Patches by Conv, attention with a shared input, an MLP with GELU, residual sums."""
    g = Graph([1, 3, 8, 8])
    x = g.add(
        *("Conv", "net/patches", "images", g.weights("net/patches/kernel", 32, 3, 2, 2)),
        g.weights("net/patches/bias", 32),
        strides=[2, 2],
    )
    x = g.add(  # grouped, as FocalNet's and GCViT's depthwise ones
        *("Conv", "net/depthwise", x, g.weights("net/depthwise/kernel", 32, 1, 3, 3)),
        group=32,
        pads=[1, 1, 1, 1],
    )
    x = g.add("Transpose", "net/tokens", g.reshape("net/flat", x, 32, 16), perm=[1, 0])  # N C
    y = g.add(
        *("LayerNormalization", "net/norm1", x, g.weights("net/norm1/gamma", 32)),
        g.weights("net/norm1/beta", 32),
        epsilon=1e-6,
    )
    query, key, value = (g.dense(f"net/attention/{name}", y, 32, 32) for name in "qkv")
    turned = g.add("Transpose", "net/attention/turn", key, perm=[1, 0])
    scores = g.add("MatMul", "net/attention/scores", query, turned)
    shares = g.add("Softmax", "net/attention", scores, axis=-1)
    y = g.add("MatMul", "net/attention/values", shares, value)
    y = g.add("Gemm", "net/attention/project", y, g.weights("net/attention/project/kernel", 32, 32))
    x = g.add("Add", "net/residual1", x, y)
    y = g.add("LayerNormalization", "net/norm2", x, g.weights("net/norm2/gamma", 32), epsilon=1e-6)
    y = g.dense("net/expand", y, 32, 64)
    y = g.add("Gelu", "net/expand", y)
    y = g.dense("net/project", y, 64, 32, transB=1)
    x = g.add("Add", "net/residual2", x, y)
    return g.model(g.dense("net/classifier", x, 32, 10), [16, 10])


def apply(quantise, model: onnx.ModelProto, *arguments):
    """Quantises a model in place; what the quantiser returns."""
    graph = ir.from_proto(model)
    answer = quantise(graph, *arguments)
    model.CopyFrom(ir.to_proto(graph))
    return answer


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """Logits in onnxruntime, one image at a time. N 16 10."""
    session = open_session(model)
    return np.stack([session.run(["logits"], {"images": image[None]})[0] for image in images])


def open_session(model: onnx.ModelProto, written: str = "") -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if written:
        options.optimized_model_filepath = written
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def optimised_nodes(model: onnx.ModelProto, folder) -> list[onnx.NodeProto]:
    """What onnxruntime itself runs after its own optimisation."""
    path = str(folder / "optimised.onnx")
    open_session(model, path)
    return list(onnx.load(path).graph.node)


def kinds(nodes) -> list[str]:
    return sorted(node.op_type for node in nodes)


@pytest.fixture(scope="session")
def graphs() -> SimpleNamespace:
    """The classes and functions of this file."""
    return SimpleNamespace(
        Graph=Graph,
        transformer_block=transformer_block,
        apply=apply,
        run=run,
        open_session=open_session,
        optimised_nodes=optimised_nodes,
        kinds=kinds,
    )


@pytest.fixture
def block() -> onnx.ModelProto:
    """A transformer block behind a Conv stem: images 1 3 8 8 -> logits 16 10."""
    return transformer_block()


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """float32 24 3 8 8."""
    return np.random.default_rng(5).uniform(0, 1, (24, 3, 8, 8)).astype(np.float32)
