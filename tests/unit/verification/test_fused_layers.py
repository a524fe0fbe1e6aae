"""Where a step of a file ends that computes several layers."""

from __future__ import annotations

import pytest

from edgevit.core.layer_errors import FloatLayer, Role
from edgevit.formats.intermediate import IntermediateTensor
from edgevit.verification.fused_layers import find_ends

KINDS = ("Conv2D", "BatchNormalization", "Activation")


def block(number: int, *, size: int = 4) -> list[FloatLayer]:
    return [FloatLayer(f"{kind}{number}", kind, (size,), Role.COMPUTES) for kind in KINDS]


def find(layers: list[FloatLayer], named: set[str], like: dict[str, str]) -> dict[str, list[str]]:
    """Steps, where each tensor is clearly like one layer: by the layer that it is named after."""
    chosen = {path: IntermediateTensor(path, path, "OP", 0, (1, 4)) for path in named}
    return find_ends(
        layers,
        named,
        chosen,
        lambda layer, tensor: 1.0 if like.get(tensor.name) == layer.path else 0.5,
    )


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
    between = FloatLayer("between", "Lambda", (), role)
    like = {"Conv2D0": "Activation0"}
    assert find([first, second, between, third], {"Conv2D0"}, like) == {}


def test_what_passes_its_input_on_does_not_end_a_step():
    first, second, third = block(0)
    dropout = FloatLayer("drop", "Dropout", (), Role.PASSES)
    assert find([first, dropout, second, third], {"Conv2D0"}, {"Conv2D0": "Activation0"}) == {
        "Conv2D0": ["BatchNormalization0", "Activation0"]
    }


def test_a_fault_does_not_move_the_end_of_a_step():
    layers = [*block(0), *block(1), *block(2)]
    named = {f"Conv2D{number}" for number in range(3)}
    like = {"Conv2D0": "Activation0", "Conv2D1": "Activation1", "Conv2D2": "BatchNormalization2"}
    assert find(layers, named, like)["Conv2D2"] == ["BatchNormalization2", "Activation2"]
