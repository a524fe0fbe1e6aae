"""What every layer of a float model computes, and what it computes from other values."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgevit.core.layer_errors import PREPROCESSING, Role
from edgevit.frontend import record_layers
from edgevit.frontend.opening import open_source
from edgevit.frontend.record_layers import list_layers, visit_layers


class Block(keras.layers.Layer):
    """Two layers, a residual sum, and a layer that is called twice."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Dense(4, name="inner")
        self.drop = keras.layers.Dropout(0.5, name="drop")
        self.twice = keras.layers.LayerNormalization(name="twice")

    def build(self, shape):
        self.inner.build(shape)
        self.twice.build(shape)

    def call(self, x):
        return x + self.twice(self.twice(self.drop(self.inner(x))))


class Wrapper(keras.layers.Layer):
    """Returns what the layer inside it computed."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.only = keras.layers.Dense(4, name="only")

    def build(self, shape):
        self.only.build(shape)

    def call(self, x):
        return self.only(x)


@pytest.fixture(scope="module")
def source():
    keras.utils.set_random_seed(0)
    images = keras.Input((6, 6, 3), name="images")
    x = keras.layers.Conv2D(4, 3, name="conv")(images)
    x = Block(name="block")(x)
    x = Wrapper(name="wrapper")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(3, name="head")(x)
    return open_source(keras.Model(images, x, name="net"))


@pytest.fixture
def images(drawn_images):
    return drawn_images(3, 6)


def test_every_layer_is_listed_with_what_it_does(source, images):
    roles = {layer.path: layer.role for layer in list_layers(source, images[:1])}
    computes = (PREPROCESSING, "net/conv", "net/block/inner", "net/block", "net/wrapper/only")
    assert {path for path, role in roles.items() if role is Role.COMPUTES} == {
        *computes,
        "net/pool",
        "net/head",
    }
    assert roles["net/block/drop"] is Role.PASSES
    assert roles["net/wrapper"] is Role.CONTAINS
    assert roles["net/block/twice"] is Role.REPEATED


def test_a_layer_names_those_that_its_arguments_come_from(source, images):
    inputs = {layer.path: layer.inputs for layer in list_layers(source, images[:1])}
    assert inputs["net/block/inner"] == ("net/conv",)
    assert inputs["net/block"] == ("net/block/twice",)  # what is last inside of it
    assert inputs["net/block/drop"] == ("net/block/inner",)
    assert inputs["net/block/twice"] == ("net/block/inner",)  # through the dropout
    assert inputs["net/head"] == ("net/pool",)


def test_a_layer_of_two_arguments_names_both_through_what_is_no_layer():
    x = keras.Input((4,), name="x")
    first, second = (keras.layers.Dense(4, name=name)(x) for name in ("first", "second"))
    total = keras.layers.Add(name="total")([keras.ops.reshape(first, (-1, 4)), second])
    opened = open_source(keras.Model(x, total, name="two"))
    found = list_layers(opened, np.zeros((1, 4), "float32"))
    assert {layer.path: layer.inputs for layer in found}["two/total"] == ("two/first", "two/second")


def test_a_visit_sees_what_keras_computes(source, images):
    seen = {}
    visit_layers(source, images, lambda path, value: seen.update({path: value}))
    expected = source.call([source.preprocess.apply(images)])["head"]
    assert np.array_equal(seen["net/head"], expected)
    assert seen["net/conv"].shape == (3, 4, 4, 4)
    assert np.array_equal(seen[PREPROCESSING], source.preprocess.apply(images))


def test_what_a_visit_returns_is_what_the_layers_behind_it_see(source, images):
    def visit(path, value):
        seen[path] = value
        return np.zeros_like(value) if path == "net/wrapper/only" else None

    seen: dict[str, np.ndarray] = {}
    visit_layers(source, images, visit)
    assert np.any(seen["net/wrapper/only"])
    assert not np.any(seen["net/pool"])


def test_keras_is_left_as_it_was_even_after_an_error(source, images):
    own = keras.layers.Layer.__call__

    def fail(path, value):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        visit_layers(source, images, fail)
    assert keras.layers.Layer.__call__ is own


def test_outputs_are_shown_again_without_a_run_as_far_as_memory_goes(source, images, monkeypatch):
    ran = []

    def visit(given, visitor):
        ran.append(len(given))
        visit_layers(source, given, visitor)

    def shown(kept, given):
        found = []
        kept(given, lambda path, value: found.append((path, value)))
        return found

    kept = record_layers.KeptOutputs(visit)
    first = shown(kept, images)
    assert [path for path, _ in first] == [path for path, _ in shown(kept, images.copy())]
    for (path, value), (_, again) in zip(first, shown(kept, images), strict=True):
        np.testing.assert_array_equal(value, again, err_msg=path)
    assert ran == [3]
    assert len(shown(kept, images[:1])[0][1]) == 1
    assert len(shown(kept, images + 1)[0][1]) == 3
    assert ran == [3, 1, 3]
    size = sum(value.nbytes for _, value in first)
    monkeypatch.setattr(record_layers, "KEPT_BYTES", 2 * size - 1)
    kept, ran[:] = record_layers.KeptOutputs(visit), []
    for given in (
        images,
        images + 1,
        images,
        images + 1,
    ):  # the second is too large for what is left
        assert len(shown(kept, given)) == len(first)
    assert ran == [3, 3, 3]


class RootOfSomebodyElse(keras.layers.Layer):
    """A normalisation as packages of networks write their own."""

    def build(self, shape):
        self.gamma = self.add_weight(shape=(shape[-1],), name="gamma")

    def call(self, x):
        return x * keras.ops.rsqrt(keras.ops.mean(x * x, axis=-1, keepdims=True)) * self.gamma


class Counted(keras.layers.Layer):
    """Its gamma is no weight."""

    gamma = 3

    def call(self, x):
        return 2.0 * x


def test_the_scale_of_a_normalisation_of_somebody_else_is_known():
    entry = keras.Input((4, 4, 3))
    x = keras.layers.BatchNormalization(name="statistics")(entry)
    x = RootOfSomebodyElse(name="root")(Counted(name="counted")(x))
    model = keras.Model(entry, keras.layers.GlobalAveragePooling2D(name="pool")(x))
    model.get_layer("root").gamma.assign([1.0, -2.0, 3.0])
    layers = list_layers(open_source(model), np.zeros((1, 4, 4, 3), np.uint8))
    found = {layer.path.rpartition("/")[2]: layer.affine for layer in layers}
    scale, offset = found.pop("root")
    np.testing.assert_array_equal(scale, [1.0, -2.0, 3.0])
    np.testing.assert_array_equal(offset, [0.0, 0.0, 0.0])
    assert set(found.values()) == {None}
