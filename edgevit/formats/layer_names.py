"""From the names inside an exported file to the Keras layers that they came from."""

from __future__ import annotations

import re
from collections.abc import Sequence

LEVELLED = "Levelled"  # in the name of a tensor whose channels a writer gave other sizes
# Last part of the name of an integer convolution's sums before they are rounded: channels may be on
# scales of their own there.
UNROUNDED = "float"
# What TensorFlow calls the insides of one layer: ops.gelu is "Gelu/mul_2", Dense on rank 3 is
# "Tensordot/MatMul". Keras layers of the tutorials and of this package are written in lower case.
SCOPES = {
    *("BiasAdd", "Gelu", "LayerNorm", "MatMul", "Softmax", "Tensordot", "einsum", "moments"),
    LEVELLED,
}
# Of several operators that were fused into one kernel, the layer of the one that does the work.
WORK = ("MatMul", "Tensordot", "convolution", "Conv", "depthwise", "einsum")


def layer_of_node(name: str) -> str:
    """The layer of a node called ``layer/path/operator``; empty where there is no path.

    >>> layer_of_node("vit/block1/mlp/dense/Tensordot/MatMul")
    'vit/block1/mlp/dense'
    """
    parts = [part for part in name.split("/") if part][:-1]
    while parts and parts[-1] in SCOPES:
        parts.pop()
    return "/".join(parts)


def mark_levelled(name: str) -> str:
    """The name of a tensor whose channels have other sizes than its layer's output.

    >>> mark_levelled("net/dense/MatMul;net/dense/BiasAdd")
    'net/dense/Levelled/MatMul;net/dense/Levelled/BiasAdd'
    """
    parts = [part.rpartition("/") for part in name.split(";")]
    return ";".join(f"{path}/{LEVELLED}/{own}" if path else own for path, _, own in parts)


def is_levelled(name: str) -> bool:
    """Whether a tensor's name is one of :func:`mark_levelled`."""
    return f"/{LEVELLED}/" in name


def strip_retrace(names: Sequence[str]) -> list[str]:
    """Layer paths without the ``_1`` that Keras adds to all of them when it traces a second time.

    Only if every layer at the top has it: otherwise it belongs to the name.
    """
    tops = {name.split("/")[0] for name in names if name}
    if not tops or not all(top.endswith("_1") for top in tops):
        return list(names)
    return ["/".join(re.sub(r"_1$", "", part) for part in name.split("/")) for name in names]


def layers_of_tensors(names: Sequence[str]) -> list[str]:
    """The layer of each tensor of a TFLite file, by the tensors' names.

    The converter joins the names of what it fused with semicolons.
    """
    return strip_retrace([layer_of_node(_main_part(name)) for name in names])


def _main_part(name: str) -> str:
    parts = [part for part in name.split(";") if part]
    for part in parts:
        if any(word in part.rsplit("/", 2)[-1] for word in WORK):
            return part
    for part in parts:
        if any(word in part for word in WORK):
            return part
    return parts[0] if parts else ""
