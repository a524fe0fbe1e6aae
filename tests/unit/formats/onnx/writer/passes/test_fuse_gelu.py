"""GELU is found by what it computes, however it is written."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgevit.formats.onnx.writer.passes.fuse_gelu import fuse_gelu

CONSTANTS = {
    "root": np.float32(math.sqrt(2)),
    "inverse": np.float32(1 / math.sqrt(2)),
    "negative": np.float32(-1 / math.sqrt(2)),
    "one": np.float32(1),
    "half": np.float32(0.5),
    "two": np.float32(2),
    "three": np.float32(3),
    "cubic": np.float32(0.044715),
    "scale": np.float32(math.sqrt(2 / math.pi)),
}
EXACT = {
    "ours": "a = Mul(x, inverse) e = Erf(a) p = Add(e, one) h = Mul(half, p) y = Mul(x, h)",
    "divided": "a = Div(x, root) e = Erf(a) p = Add(one, e) q = Mul(x, p) y = Mul(q, half)",
    "half first": "h = Mul(x, half) a = Div(x, root) e = Erf(a) p = Add(e, one) y = Mul(h, p)",
    "by two": "a = Div(x, root) e = Erf(a) p = Add(e, one) q = Mul(p, x) y = Div(q, two)",
    "erfc": "a = Mul(x, negative) e = Erf(a) p = Sub(one, e) h = Mul(half, x) y = Mul(h, p)",
    "negated": """n = Neg(x) a = Div(n, root) e = Erf(a)
                  p = Sub(one, e) h = Mul(p, half) y = Mul(x, h)""",
}
INNER = "c = Pow(x, three) k = Mul(c, cubic) i = Add(x, k) a = Mul(i, scale) t = Tanh(a)"
CUBE = "s = Mul(x, x) c = Mul(s, x) k = Mul(cubic, c) i = Add(k, x) a = Mul(scale, i) t = Tanh(a)"
TANH = {
    "power": f"{INNER} p = Add(t, one) h = Mul(half, x) y = Mul(h, p)",
    "products": f"{CUBE} p = Add(one, t) h = Mul(p, half) y = Mul(x, h)",
}


def graph(body: str, shape: str = "2,8", more: str = "") -> str:
    return f"net (float[{shape}] x) => (float[{shape}] y{more}) {{ {body} }}"


@pytest.mark.parametrize("spelling", EXACT)
@pytest.mark.parametrize("shape", ["2,8", "b,3,8", "2,4,4,8"])
def test_exact_gelu_becomes_one_node(rewrite, spelling, shape):
    found = rewrite(fuse_gelu, graph(EXACT[spelling], shape), CONSTANTS, atol=2e-6)
    assert found.operators == ["Gelu"]
    assert found.model.graph.node[0].attribute[0].s == b"none"


@pytest.mark.parametrize("spelling", TANH)
def test_the_tanh_form_becomes_one_node_of_its_kind(rewrite, spelling):
    found = rewrite(fuse_gelu, graph(TANH[spelling]), CONSTANTS, atol=2e-6)
    assert found.operators == ["Gelu"]
    assert found.model.graph.node[0].attribute[0].s == b"tanh"


def test_what_computes_the_input_is_left_outside(rewrite):
    body = "w = Mul(z, two) x = Add(w, one) " + EXACT["ours"]
    text = graph(body).replace("] x)", "] z)")
    assert rewrite(fuse_gelu, text, CONSTANTS).operators == ["Mul", "Add", "Gelu"]


@pytest.mark.parametrize(
    "constants",
    [
        {"inverse": np.float32(0.7)},
        {"half": np.float32(0.51)},
        {"one": np.float32(1.001)},
        {"half": np.full(8, 0.5, np.float32)},
    ],
    ids=["slope", "half", "one", "vector"],
)
def test_what_is_nearly_gelu_stays(decline, constants):
    decline(
        fuse_gelu,
        graph(EXACT["ours"]),
        {**CONSTANTS, **constants},
        reason="not the GELU function",
    )


def test_an_erf_of_its_own_stays(decline):
    decline(fuse_gelu, graph("y = Erf(x)"), reason="not the GELU function")


def test_a_tanh_of_its_own_stays_without_a_word(decline):
    decline(fuse_gelu, graph("y = Tanh(x)"))


def test_values_that_are_read_elsewhere_stay(decline):
    body = EXACT["ours"] + " z = Neg(p)"
    text = graph(body, more=", float[2,8] z")
    decline(fuse_gelu, text, CONSTANTS, reason="not the GELU function")


def test_opset_17_keeps_the_pieces(decline):
    decline(fuse_gelu, graph(EXACT["ours"]), CONSTANTS, reason="needs opset 20", opset=17)
