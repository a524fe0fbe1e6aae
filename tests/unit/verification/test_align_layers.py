"""Which tensor of a file belongs to which Keras layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgevit.core.layer_errors import FloatLayer, FloatNetwork, Role
from edgevit.formats.intermediate import IntermediateTensor
from edgevit.verification.align_layers import (
    Alignment,
    alike,
    arrange,
    choose_tensors,
    find_candidates,
    whole,
)


def layer(path: str, shape: tuple[int, ...] = (4,), role: Role = Role.COMPUTES) -> FloatLayer:
    return FloatLayer(path, "Dense", shape, role)


def tensor(
    name: str, path: str, shape: tuple[int, ...] = (1, 4), position: int = 0
) -> IntermediateTensor:
    return IntermediateTensor(name, path, "OP", position, shape)


def never(*_):
    raise AssertionError("values must not decide here")


def test_the_last_tensor_of_a_layer_with_as_many_elements_is_its_output():
    layers = [layer("net/block/dense"), layer("net/block")]
    tensors = [
        tensor("product", "net/block/dense", position=0),
        tensor("mean", "net/block/dense", (1, 1), position=1),
        tensor("sum", "net/block", (2, 2), position=2),  # rows of another shape, as many elements
    ]
    candidates = find_candidates(layers, tensors, batch=1)
    chosen = choose_tensors(layers, candidates, never)
    assert {path: found.name for path, found in chosen.items()} == {
        "net/block/dense": "product",
        "net/block": "sum",
    }


def test_a_tensor_inside_an_unnamed_scope_belongs_to_the_layer_around_it():
    layers = [layer("net/attention"), layer("net")]
    found = find_candidates(layers, [tensor("x", "net/attention/Tensordot_3")], batch=1)
    assert list(found) == ["net/attention"]


def test_a_tensor_of_a_layer_that_only_passes_on_is_nobodys_output():
    layers = [layer("net/drop", (), Role.PASSES), layer("net")]
    assert find_candidates(layers, [tensor("x", "net/drop")], batch=1) == {}


def test_a_tensor_whose_channels_were_levelled_is_nobodys_output():
    tensors = [tensor("net/dense/Levelled/MatMul", "net/dense"), tensor("net/b/Relu", "net/b")]
    found = find_candidates([layer("net/dense"), layer("net/b")], tensors, batch=1)
    assert list(found) == ["net/b"]


def test_the_depthwise_half_of_a_separable_convolution_is_nobodys_output():
    half = replace(tensor("net/a/Conv", "net/a"), depthwise=True)
    whole = FloatLayer("net/a", "SeparableConv2D", (4,), Role.COMPUTES)
    assert find_candidates([whole], [half], batch=1) == {}
    alone = replace(whole, kind="DepthwiseConv2D")
    assert list(find_candidates([alone], [half], batch=1)) == ["net/a"]


def test_the_files_batch_counts():
    layers = [layer("net/dense")]
    assert find_candidates(layers, [tensor("x", "net/dense", (3, 4))], batch=1) == {}
    assert list(find_candidates(layers, [tensor("x", "net/dense", (3, 4))], batch=3)) == [
        "net/dense"
    ]


def test_an_earlier_tensor_is_taken_only_where_it_is_clearly_more_alike():
    layers = [layer("net/attention")]
    tensors = [
        tensor("own", "net/attention", position=0),
        tensor("after", "net/attention", position=1),
    ]
    candidates = find_candidates(layers, tensors, batch=1)
    for alike_own, wanted in ((0.9999, "own"), (0.995, "after")):
        values = {"own": alike_own, "after": 0.99}
        chosen = choose_tensors(layers, candidates, lambda _, found, v=values: v[found.name])
        assert chosen["net/attention"].name == wanted


def test_values_tell_layers_apart_whose_numbers_the_file_lost():
    layers = [layer("dense"), layer("dense_1"), layer("dense_2")]
    tensors = [tensor(f"dense/Gemm{n}", "dense", position=n) for n in range(3)]
    order = {"dense": 0, "dense_1": 2, "dense_2": 1}

    def likeness(of, found):
        return 1.0 if order[of.path] == found.position else 0.3

    chosen = choose_tensors(layers, find_candidates(layers, tensors, batch=1), likeness)
    assert {path: found.position for path, found in chosen.items()} == order


def test_numbers_that_the_file_kept_decide_without_values():
    layers = [layer("dense_1"), layer("dense_2")]
    tensors = [tensor("a", "dense_2", position=0), tensor("b", "dense_1", position=1)]
    chosen = choose_tensors(layers, find_candidates(layers, tensors, batch=1), never)
    assert {path: found.name for path, found in chosen.items()} == {"dense_1": "b", "dense_2": "a"}


@pytest.mark.parametrize("wanted", [(2, 3, 5), (3, 3, 3)], ids=str)
def test_channels_first_becomes_channels_last(wanted):
    values = np.random.default_rng(0).normal(size=(2, *wanted)).astype(np.float32)  # B H W C
    stored = np.moveaxis(values, -1, 1)  # B C H W
    flat = stored.reshape(2, -1)
    assert np.array_equal(arrange(flat, (1, *stored.shape[1:]), wanted, values), values)
    assert np.array_equal(arrange(values.reshape(2, -1), (1, *wanted), wanted, values), values)


def test_likeness_of_what_is_no_number_is_the_least():
    one = np.ones(3)
    assert alike(one, 2 * one) == pytest.approx(1)
    assert alike(one, np.array([1, np.nan, 1])) == -1
    assert alike(one, 0 * one) == 0


def test_a_number_that_tells_two_traces_apart_is_no_part_of_the_name():
    layers = [layer("net/dense"), layer("net/dense_1"), layer("net/block_2/dense_1")]
    tensors = [tensor("a", "net/dense_1_2"), tensor("b", "net/block_2/dense_1_2")]
    found = find_candidates(layers, tensors, batch=1)
    assert {path: [one.name for one in own] for path, own in found.items()} == {
        "net/dense_1": ["a"],
        "net/block_2/dense_1": ["b"],
    }


def test_a_name_without_a_number_stands_for_no_layer_that_the_file_names():
    layers = [layer("norm"), layer("norm_1"), layer("norm_2")]
    tensors = [tensor("a", "norm"), tensor("b", "norm_1")]
    found = find_candidates(layers, tensors, batch=1)
    assert [one.name for one in found["norm_1"]] == ["b"]
    assert [one.name for one in found["norm_2"]] == ["a"]  # its number may have been lost


def test_a_normalisation_without_its_scale_is_compared_with_it():
    affine = (np.array([2.0, -1.0]), np.array([1.0, 0.0]))
    norm = FloatLayer("norm", "LayerNormalization", (2,), Role.COMPUTES, affine)
    bare = IntermediateTensor("x", "norm", "MUL", 0, (1, 2), bare="norm")
    values = np.array([[1.0, 3.0]])
    np.testing.assert_array_equal(whole(values, bare, norm), [[3.0, -3.0]])
    np.testing.assert_array_equal(whole(values, tensor("x", "norm"), norm), values)


def test_what_is_not_compared_counts_with_the_layer_behind_it():
    layers = (
        replace(layer("net/first"), inputs=()),
        replace(layer("net/fused"), inputs=("net/first",)),
        replace(layer("net/aside"), inputs=("net/first",)),
        replace(layer("net/sum"), inputs=("net/fused", "net/aside")),
    )
    network = FloatNetwork("net", layers, lambda samples, visit: None, lambda samples, look: None)
    chosen = {path: tensor(path, path) for path in ("net/first", "net/sum")}
    alignment = Alignment(network, None, chosen, {})
    assert alignment.within("net/sum") == ("net/fused", "net/aside")
    assert alignment.within("net/first") == ()
