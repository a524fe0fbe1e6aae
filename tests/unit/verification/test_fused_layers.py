"""Where a step of a file ends that computes several layers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgevit.core.layer_errors import FloatLayer, Role
from edgevit.formats.intermediate import IntermediateTensor
from edgevit.verification.fused_layers import find_ends, find_split

KINDS = ("Conv2D", "BatchNormalization", "Activation")


def block(number: int, *, size: int = 4) -> list[FloatLayer]:
    """Three layers of which each is called with the output of the one before."""
    paths = [f"{kind}{number}" for kind in KINDS]
    return [
        FloatLayer(
            path, kind, (size,), Role.COMPUTES, inputs=tuple(paths[max(0, place - 1) : place])
        )
        for place, (path, kind) in enumerate(zip(paths, KINDS, strict=True))
    ]


def find(layers: list[FloatLayer], named: set[str], like: dict[str, str]) -> dict[str, list[str]]:
    """Steps, where each tensor is clearly like one layer: by the layer that it is named after."""
    chosen = {path: IntermediateTensor(path, path, "OP", 0, (1, 4)) for path in named}

    def likeness(layer: FloatLayer, tensor: IntermediateTensor) -> float:
        return 1.0 if like.get(tensor.name) == layer.path else 0.5

    return find_ends(layers, named, chosen, likeness, likeness)


def test_a_step_ends_with_the_layer_whose_output_its_tensor_is():
    layers = block(0)
    assert find(layers, {"Conv2D0"}, {"Conv2D0": "Activation0"}) == {
        "Conv2D0": ["BatchNormalization0", "Activation0"]
    }
    assert find(layers, {"Conv2D0"}, {"Conv2D0": "BatchNormalization0"}) == {
        "Conv2D0": ["BatchNormalization0"]
    }
    assert find(layers, {"Conv2D0"}, {"Conv2D0": "Conv2D0"}) == {}
    assert find(layers, {"Conv2D0"}, {}) == {}  # like none of them


def test_a_layer_with_a_tensor_of_its_own_is_another_step():
    layers = block(0)
    assert find(layers, {"Conv2D0", "Activation0"}, {"Conv2D0": "BatchNormalization0"}) == {
        "Conv2D0": ["BatchNormalization0"]
    }


@pytest.mark.parametrize("role", [Role.REPEATED, Role.OTHER])
def test_nothing_behind_a_layer_that_cannot_be_compared_is_in_the_step(role):
    first, second, third = block(0)
    between = FloatLayer("between", "Lambda", (), role, inputs=(second.path,))
    third = replace(third, inputs=(between.path,))
    like = {"Conv2D0": "Activation0"}
    assert find([first, second, between, third], {"Conv2D0"}, like) == {}


def test_what_passes_its_input_on_does_not_end_a_step():
    first, second, third = block(0)
    dropout = FloatLayer("drop", "Dropout", (), Role.PASSES, inputs=(first.path,))
    assert find([first, dropout, second, third], {"Conv2D0"}, {"Conv2D0": "Activation0"}) == {
        "Conv2D0": ["BatchNormalization0", "Activation0"]
    }


def test_a_fault_does_not_move_the_end_of_a_step():
    layers = [*block(0), *block(1), *block(2)]
    named = {f"Conv2D{number}" for number in range(3)}
    like = {"Conv2D0": "Activation0", "Conv2D1": "Activation1", "Conv2D2": "BatchNormalization2"}
    assert find(layers, named, like)["Conv2D2"] == ["BatchNormalization2", "Activation2"]


def test_a_step_follows_its_branch_and_not_the_order_of_the_layers():
    first, second, third = block(0)
    other = FloatLayer("Conv2D9", "Conv2D", (4,), Role.COMPUTES, inputs=("elsewhere",))
    found = find([first, other, second, third], {"Conv2D0", "Conv2D9"}, {"Conv2D0": third.path})
    assert found == {"Conv2D0": [second.path, third.path]}


def test_what_two_layers_read_is_not_inside_a_step():
    first, second, third = block(0)
    reader = FloatLayer("Add9", "Add", (4,), Role.COMPUTES, inputs=(first.path, second.path))
    found = find([first, second, third, reader], {"Conv2D0"}, {"Conv2D0": third.path})
    assert found == {}


def test_a_layer_that_reads_something_else_too_is_not_in_the_step():
    first, second, third = block(0)
    third = replace(third, inputs=(second.path, "elsewhere"))
    found = find([first, second, third], {"Conv2D0"}, {"Conv2D0": third.path})
    assert found == {}


def test_where_a_fault_hides_the_end_the_name_of_the_tensor_tells_it():
    layers = block(0)
    named = "net/Activation0_1/Relu;net/BatchNormalization0_1/add"
    chosen = {"Conv2D0": IntermediateTensor(named, "Conv2D0", "OP", 0, (1, 4))}
    unlike = {"likeness": lambda *_: 0.3, "nearness": lambda *_: 0.3}
    assert find_ends(layers, {"Conv2D0"}, chosen, **unlike) == {
        "Conv2D0": ["BatchNormalization0", "Activation0"]
    }


@pytest.mark.parametrize(
    ("near", "found"),
    [
        ([1e-6, 1.0, 0.7], {"Conv2D0": ["BatchNormalization0"]}),  # one factor for all channels
        ([0.999, 1.0, 0.7], {}),  # no factor, but rounding
        ([0.6, 0.7, 0.8], {}),  # a factor that no layer has: a fault
    ],
)
def test_sizes_tell_where_a_step_ends_that_multiplies_with_one_number(near, found):
    """The cosine of what enters LayerScale and what leaves it is one before it was trained."""
    layers = block(0)
    chosen = {"Conv2D0": IntermediateTensor("Conv2D0", "Conv2D0", "OP", 0, (1, 4))}
    by_path = dict(zip((layer.path for layer in layers), near, strict=True))
    alike = {layers[0].path: 0.9999, layers[1].path: 0.9999, layers[2].path: 0.7}
    assert (
        find_ends(
            layers,
            {"Conv2D0"},
            chosen,
            likeness=lambda layer, tensor: alike[layer.path],
            nearness=lambda layer, tensor: by_path[layer.path],
        )
        == found
    )


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        (0.9, 0.9999, {"Conv2D0": "BatchNormalization0"}),  # its activation is in the next table
        (0.9, 0.95, {}),  # a fault, which the layer behind it shows as well
        (0.9999, 0.99999, {}),  # rounding
    ],
)
def test_a_layer_ends_in_the_step_behind_it(first, second, found):
    layers = block(0)
    chosen = {
        layer.path: IntermediateTensor(layer.path, layer.path, "OP", 0, (1, 4))
        for layer in layers[:2]
    }
    alike = {"Conv2D0": first, "BatchNormalization0": second}
    assert find_split(layers, chosen, lambda layer, tensor: alike[layer.path]) == found


def test_a_sound_layer_of_another_branch_excuses_no_fault():
    first, second, _ = block(0)
    second = replace(second, inputs=("elsewhere",))
    chosen = {
        layer.path: IntermediateTensor(layer.path, layer.path, "OP", 0, (1, 4))
        for layer in (first, second)
    }
    alike = {"Conv2D0": 0.5, "BatchNormalization0": 1.0}
    assert find_split([first, second], chosen, lambda layer, tensor: alike[layer.path]) == {}
