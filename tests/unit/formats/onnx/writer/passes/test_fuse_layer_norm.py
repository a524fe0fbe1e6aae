"""LayerNormalization is found in every spelling, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.formats.onnx.writer.passes.fuse_layer_norm import fuse_layer_norm

RNG = np.random.default_rng(0)
WIDTH = 8
CONSTANTS = {
    "last": np.array([-1], np.int64),
    "two": np.float32(2),
    "one": np.float32(1),
    "eps": np.float32(1e-3),
    "gamma": RNG.normal(size=(1, 1, WIDTH)).astype(np.float32),
    "beta": RNG.normal(size=WIDTH).astype(np.float32),
}
MEAN = """
    m = ReduceMean<keepdims=1>(x, last)
    d = Sub(x, m)
"""
VARIANCE = """
    s = Pow(d, two)
    v = ReduceMean<keepdims=1>(s, last)
    e = Add(v, eps)
    r = Sqrt(e)
"""
SPELLINGS = {
    "division": "n = Div(d, r)  g = Mul(n, gamma)  y = Add(g, beta)",
    "constants first": "n = Div(d, r)  g = Mul(gamma, n)  y = Add(beta, g)",
    "reciprocal": "i = Reciprocal(r)  n = Mul(d, i)  g = Mul(n, gamma)  y = Add(g, beta)",
    "one over": "i = Div(one, r)  n = Mul(i, d)  g = Mul(n, gamma)  y = Add(g, beta)",
    "scaled root": "i = Reciprocal(r)  k = Mul(i, gamma)  g = Mul(d, k)  y = Add(g, beta)",
    "no offset": "n = Div(d, r)  y = Mul(n, gamma)",
    "no scale": "n = Div(d, r)  y = Add(n, beta)",
    "bare": "y = Div(d, r)",
    "keras": """i = Reciprocal(r)  k = Mul(i, gamma)  a = Mul(x, k)
                b = Mul(m, k)  c = Sub(beta, b)  y = Add(a, c)""",
    "keras, negated": """i = Reciprocal(r)  k = Mul(i, gamma)  a = Mul(x, k)
                         w = Neg(m)  b = Mul(w, k)  c = Add(b, beta)  y = Add(a, c)""",
    "keras, bare": "i = Reciprocal(r)  a = Mul(x, i)  b = Mul(m, i)  y = Sub(a, b)",
    "keras, no scale": """i = Reciprocal(r)  a = Mul(x, i)
                          b = Mul(m, i)  c = Sub(beta, b)  y = Add(c, a)""",
}


def graph(body: str, shape: str = "2,5,8", more: str = "") -> str:
    return f"net (float[{shape}] x) => (float[{shape}] y{more}) {{ {MEAN} {VARIANCE} {body} }}"


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("shape", ["2,5,8", "b,5,8", "4,8", "2,3,4,5,8"])
def test_every_spelling_becomes_one_node(rewrite, spelling, shape):
    constants = {**CONSTANTS, "gamma": CONSTANTS["gamma"].reshape(-1)}
    found = rewrite(fuse_layer_norm, graph(SPELLINGS[spelling], shape), constants)
    assert found.operators == ["LayerNormalization"]
    assert found.report.count == 1


def test_a_square_may_be_a_product(rewrite):
    text = graph(SPELLINGS["division"]).replace("Pow(d, two)", "Mul(d, d)")
    assert rewrite(fuse_layer_norm, text, CONSTANTS).operators == ["LayerNormalization"]


def test_several_last_axes_are_normalised_together(rewrite):
    constants = {
        **CONSTANTS,
        "last": np.array([1, 2], np.int64),
        "gamma": RNG.normal(size=(1, 5, WIDTH)).astype(np.float32),
    }
    found = rewrite(fuse_layer_norm, graph(SPELLINGS["division"]), constants)
    assert found.operators == ["LayerNormalization"]
    (node,) = found.model.graph.node
    assert next(item.i for item in node.attribute if item.name == "axis") == -2


def test_axes_may_be_an_attribute_as_before_opset_18(rewrite):
    text = graph(SPELLINGS["division"]).replace("keepdims=1>", "keepdims=1, axes=[-1]>")
    text = text.replace(", last)", ")")
    constants = {key: value for key, value in CONSTANTS.items() if key != "last"}
    found = rewrite(fuse_layer_norm, text, constants, opset=17)
    assert found.operators == ["LayerNormalization"]


@pytest.mark.parametrize(
    ("constants", "reason"),
    [
        ({"last": np.array([1], np.int64)}, "not the last ones"),
        ({"gamma": np.ones((1, 5, 8), np.float32)}, "scale varies"),
        ({"eps": np.full((1, 5, 1), 0.1, np.float32)}, "no constant is added"),
    ],
    ids=["other axis", "scale along tokens", "epsilon along tokens"],
)
def test_what_is_no_layer_norm_stays(decline, constants, reason):
    decline(
        fuse_layer_norm, graph(SPELLINGS["division"]), {**CONSTANTS, **constants}, reason=reason
    )


def test_values_that_are_read_elsewhere_stay(decline):
    body = SPELLINGS["division"] + " z = Neg(d)"
    decline(
        fuse_layer_norm,
        graph(body, more=", float[2,5,8] z"),
        CONSTANTS,
        reason="reads",
    )


def test_a_scale_whose_operand_is_read_elsewhere_stays_behind_the_norm(rewrite):
    body = SPELLINGS["division"] + " z = Neg(n)"
    found = rewrite(fuse_layer_norm, graph(body, more=", float[2,5,8] z"), CONSTANTS)
    assert found.operators == ["LayerNormalization", "Mul", "Add", "Neg"]


def test_a_mean_of_another_kind_stays(decline):
    text = "net (float[2,5,8] x) => (float[2,5,1] y) { y = ReduceMean<keepdims=1>(x, last) }"
    decline(fuse_layer_norm, text, {"last": CONSTANTS["last"]})


def test_old_files_keep_the_pieces(decline):
    text = graph(SPELLINGS["division"]).replace("keepdims=1>", "keepdims=1, axes=[-1]>")
    text = text.replace(", last)", ")")
    constants = {key: value for key, value in CONSTANTS.items() if key != "last"}
    decline(fuse_layer_norm, text, constants, reason="needs opset 17", opset=15)
