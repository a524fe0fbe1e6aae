"""ConfiguredLayer: arguments as attributes and as a config; sizes handed over by name."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from edgevit.layers.configured import ConfiguredLayer
from edgevit.models.config import ModelConfig, rate, size


class Sized(ConfiguredLayer):
    """A layer with a required argument, a tuple, a dict and a default."""

    def __init__(self, dim, strides=(1, 2), block=None, drop_path=0.0, **kwargs):
        super().__init__(**kwargs)
        self.sum = self.dim + sum(self.strides)


@dataclass(frozen=True)
class Config(ModelConfig):
    """An architecture that has more sizes than the layer takes."""

    image_size: int = size(32)
    dim: int = size(8)
    drop_path: float = rate(0.5)
    num_classes: int = size(10)


def test_arguments_are_attributes_inside_the_constructor_and_lists_are_tuples():
    layer = Sized(3, [4, 5], block={"form": "paper"}, name="sized")
    assert (layer.dim, layer.strides, layer.drop_path) == (3, (4, 5), 0.0)
    assert layer.block == {"form": "paper"}
    assert layer.sum == 12
    assert layer.name == "sized"
    assert layer.compute_output_shape([None, 2, 3]) == (None, 2, 3)


def test_config_holds_every_argument_and_makes_an_equal_layer():
    layer = Sized(3, [4, 5], {"form": "paper"}, dtype="float16", name="sized")
    config = layer.get_config()
    assert (config["dim"], config["strides"], config["drop_path"]) == (3, (4, 5), 0.0)
    copy = Sized.from_config(config)
    assert copy.get_config() == config
    assert (copy.name, copy.compute_dtype, copy.block) == ("sized", "float16", {"form": "paper"})


def test_an_argument_that_lacks_or_that_nobody_knows_is_refused():
    with pytest.raises(TypeError, match="dim"):
        Sized(strides=(1, 1))
    with pytest.raises((TypeError, ValueError), match="width"):
        Sized(3, width=4)


def test_a_layer_takes_the_sizes_that_it_knows_and_what_is_given_beside_them():
    layer = Config().layer(Sized, "sized", drop_path=0.25, strides=(2, 2))
    assert (layer.name, layer.dim, layer.drop_path, layer.strides) == ("sized", 8, 0.25, (2, 2))
