"""Keras layers out of the names inside exported files."""

from __future__ import annotations

import pytest

from edgevit.formats.layer_names import (
    is_levelled,
    layer_of_node,
    layers_of_tensors,
    mark_levelled,
    strip_retrace,
)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("vit/block1/mlp/dense/Tensordot/MatMul", "vit/block1/mlp/dense"),
        ("vit/block1/mlp/dense/Gelu/mul_2", "vit/block1/mlp/dense"),
        ("vit/norm/add", "vit/norm"),
        ("preprocessing/Cast", "preprocessing"),
        ("/blocks.0/mlp/fc1/MatMul", "blocks.0/mlp/fc1"),  # as torch's exporter writes it
        ("Transpose_34", ""),
        ("", ""),
    ],
)
def test_the_layer_is_the_path_without_the_operator(name, layer):
    assert layer_of_node(name) == layer


def test_a_fused_kernel_belongs_to_the_layer_that_does_the_work():
    fused = "net_1/relu_1/Relu;net_1/conv_1/BiasAdd;net_1/conv_1/convolution"
    assert layers_of_tensors([fused]) == ["net/conv"]


@pytest.mark.parametrize(
    "name",
    [
        "net/dense/Tensordot/MatMul;net/dense/BiasAdd",
        "net_1/relu_1/Relu;net_1/conv_1/BiasAdd;net_1/conv_1/convolution",
        "StatefulPartitionedCall:0;net/conv/convolution",
    ],
)
def test_a_mark_of_levelled_channels_leaves_the_layer_what_it_is(name):
    marked = mark_levelled(name)
    assert is_levelled(marked)
    assert not is_levelled(name)
    assert layers_of_tensors([marked]) == layers_of_tensors([name])


def test_the_number_of_a_second_trace_goes_and_the_layers_own_number_stays():
    assert strip_retrace(["net_1/dense_1_1", "net_1/dense_2_1"]) == ["net/dense_1", "net/dense_2"]
    assert strip_retrace(["net/dense_1", "stem_1"]) == ["net/dense_1", "stem_1"]
    assert strip_retrace([""]) == [""]
