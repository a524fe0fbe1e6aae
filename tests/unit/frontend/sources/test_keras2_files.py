"""Files of Keras 2 compute in Keras 3 what they computed in TensorFlow."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from edgevit.base.errors import ModelFileError
from edgevit.frontend.sources.keras2_config import upgrade_model
from edgevit.frontend.sources.table import load_source
from helpers import keras2
from helpers.keras2 import (
    called,
    conv,
    dense,
    depthwise,
    entry,
    functional,
    layer,
    norm,
    on,
    operation,
    sequential,
    write_archive,
    write_hdf5,
)
from helpers.refusals import line_of


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3)).astype(np.float32)


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(0, 0.5, shape).astype(np.float32)


def run(path: Path, *inputs: np.ndarray) -> list[np.ndarray]:
    network = load_source(str(path)).network
    found = network(list(inputs) if len(inputs) > 1 else inputs[0], training=False)
    return [np.asarray(value) for value in keras.tree.flatten(found)]


def refusal(path: Path, **options) -> str:
    return line_of(ModelFileError, lambda: load_source(str(path), **options), f"{path}: ")


STEM = {
    "stem/conv": [draw(3, 3, 3, 4), draw(4)],
    "bn": [1 + draw(4), draw(4), draw(4, seed=1), 0.5 + np.abs(draw(4, seed=2))],
    "dw": [draw(3, 3, 4, 1)],
    "head": [draw(4, 3), draw(3)],
}


def tutorial_model() -> keras2.Config:
    """What transfer learning tutorials of TensorFlow 2 make: arithmetic between the layers."""
    layers = [
        called(entry("input_1", 8, 8, 3)),
        called(operation("math.truediv", "tf.math.truediv"), [on("input_1", y=127.5, name=None)]),
        called(
            operation("math.subtract", "tf.math.subtract"),
            [on("tf.math.truediv", y=1.0, name=None)],
        ),
        called(conv("stem/conv", 4, 3, activation="hard_sigmoid"), [on("tf.math.subtract")]),
        called(norm("bn"), [on("stem/conv")]),
        called(depthwise("dw", 3), [on("bn")]),
        called(
            operation("__operators__.add", "tf.__operators__.add"),
            [on("bn", y=["dw", 0, 0], name=None)],
        ),
        called(
            layer("SlicingOpLambda", "getitem", function="__operators__.getitem"),
            [
                on(
                    "tf.__operators__.add",
                    slice_spec=[
                        {"start": None, "stop": None, "step": None},
                        {"start": 1, "stop": None, "step": 2},
                    ],
                )
            ],
        ),
        called(
            operation("math.subtract", "tf.math.subtract_1"),
            [["_CONSTANT_VALUE", -1, 1.0, {"y": ["getitem", 0, 0], "name": None}]],
        ),
        called(
            operation("math.reduce_mean", "tf.math.reduce_mean"),
            [on("tf.math.subtract_1", axis=[1, 2], keepdims=False, name=None)],
        ),
        called(dense("head", 3, "softmax"), [on("tf.math.reduce_mean")]),
    ]
    return functional("tutorial", layers, ["input_1"], [["head", 0, 0]])


def tutorial_outputs(pixels: np.ndarray) -> np.ndarray:
    kernel, bias = STEM["stem/conv"]
    x = tf.nn.conv2d(pixels / 127.5 - 1.0, kernel, 1, "SAME") + bias
    x = tf.clip_by_value(0.2 * x + 0.5, 0.0, 1.0)
    gamma, beta, mean, variance = STEM["bn"]
    x = (x - mean) / tf.sqrt(variance + 0.001) * gamma + beta
    x = x + tf.nn.depthwise_conv2d(x, STEM["dw"][0], [1, 1, 1, 1], "SAME")
    x = tf.reduce_mean(1.0 - x[:, 1::2], (1, 2))
    return tf.nn.softmax(x @ STEM["head"][0] + STEM["head"][1]).numpy()


def test_tensorflow_functions_between_the_layers_are_computed(pixels, tmp_path):
    path = write_hdf5(tmp_path / "tutorial.h5", tutorial_model(), STEM)
    (found,) = run(path, pixels)
    np.testing.assert_allclose(found, tutorial_outputs(pixels), atol=1e-6)


def test_a_keras_archive_of_keras_2_is_read_as_well(pixels, tmp_path):
    by_class = dict(
        zip(
            ("conv2d", "batch_normalization", "depthwise_conv2d", "dense"),
            STEM.values(),
            strict=True,
        )
    )
    path = write_archive(tmp_path / "tutorial.keras", tutorial_model(), by_class)
    (found,) = run(path, pixels)
    np.testing.assert_allclose(found, tutorial_outputs(pixels), atol=1e-6)


def test_an_archive_that_lacks_weights_is_refused(tmp_path):
    path = write_archive(tmp_path / "tutorial.keras", tutorial_model(), {"conv2d": STEM["head"]})
    assert "weights" in refusal(path)


def test_hdf5_under_the_name_keras_is_read(pixels, tmp_path):
    path = write_hdf5(tmp_path / "tutorial.keras", tutorial_model(), STEM)
    (found,) = run(path, pixels)
    np.testing.assert_allclose(found, tutorial_outputs(pixels), atol=1e-6)


WEIGHTS = {"c": [draw(3, 3, 3, 4), draw(4)], "d": [draw(256, 3), draw(3)]}
FLAT = layer("Flatten", "flat", data_format="channels_last")


def flat_outputs(pixels: np.ndarray) -> np.ndarray:
    x = tf.nn.conv2d(pixels, WEIGHTS["c"][0], 1, "SAME") + WEIGHTS["c"][1]
    return (tf.reshape(x, (len(pixels), -1)) @ WEIGHTS["d"][0] + WEIGHTS["d"][1]).numpy()


@pytest.mark.parametrize(
    ("config", "version"),
    [
        (sequential("s", [entry("e", 8, 8, 3), conv("c", 4, 3), FLAT, dense("d", 3)]), "2.15.0"),
        (
            sequential(
                "s", [conv("c", 4, 3, batch_input_shape=[None, 8, 8, 3]), FLAT, dense("d", 3)]
            ),
            "2.2.4-tf",
        ),
        (
            {
                "class_name": "Sequential",
                "config": [
                    conv("c", 4, 3, batch_input_shape=[None, 8, 8, 3]),
                    FLAT,
                    dense("d", 3),
                ],
            },
            None,
        ),
    ],
    ids=["an input layer", "a shape in the first layer", "a list without a version"],
)
def test_sequential_models_of_every_age_are_read(pixels, tmp_path, config, version):
    path = write_hdf5(tmp_path / "s.h5", config, WEIGHTS, version)
    (found,) = run(path, pixels)
    np.testing.assert_allclose(found, flat_outputs(pixels), atol=1e-5)


INNER = functional(
    "inner",
    [
        called(entry("input_2", 8, 8, 3)),
        called(conv("ic", 4, 3), [on("input_2")]),
        called(norm("ibn"), [on("ic")]),
        called(layer("GlobalAveragePooling2D", "gap", keepdims=False), [on("ibn")]),
    ],
    ["input_2"],
    [["gap", 0, 0]],
)
INNER_WEIGHTS = [draw(3, 3, 3, 4), draw(4), *STEM["bn"]]


def inner_outputs(pixels: np.ndarray) -> tf.Tensor:
    kernel, bias, gamma, beta, mean, variance = INNER_WEIGHTS
    x = tf.nn.conv2d(pixels, kernel, 1, "SAME") + bias
    return tf.reduce_mean((x - mean) / tf.sqrt(variance + 0.001) * gamma + beta, (1, 2))


def test_a_model_inside_sequential_models_is_read(pixels, tmp_path):
    last = sequential("last", [dense("d", 3, batch_input_shape=[None, 4])])
    config = sequential("whole", [sequential("first", [INNER]), last])
    head = [draw(4, 3), draw(3)]
    path = write_hdf5(tmp_path / "t.h5", config, {"first": INNER_WEIGHTS, "last": head})
    (found,) = run(path, pixels)
    expected = inner_outputs(pixels) @ head[0] + head[1]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_calls_of_an_inner_model_count_from_one(pixels, tmp_path):
    layers = [
        called(entry("left", 8, 8, 3)),
        called(entry("right", 8, 8, 3)),
        called(INNER, [on("left")], [on("right")]),
        called(layer("Subtract", "gap"), [on("inner", 1), on("inner", 2)]),
    ]
    outputs = [["gap", 0, 0], ["inner", 2, 0]]
    config = functional("pair", layers, ["left", "right"], outputs)
    path = write_hdf5(tmp_path / "pair.h5", config, {"inner": INNER_WEIGHTS})
    other = pixels[::-1].copy()
    gap, right = run(path, pixels, other)
    np.testing.assert_allclose(right, inner_outputs(other), rtol=1e-5, atol=1e-4)
    expected = inner_outputs(pixels) - inner_outputs(other)
    np.testing.assert_allclose(gap, expected, rtol=1e-5, atol=1e-4)


def test_weights_go_to_layers_by_name_even_where_the_order_is_another(tmp_path):
    layers = [
        called(entry("e", 4)),
        called(dense("one", 4), [on("e")]),
        called(dense("two", 4), [on("e")]),
        called(layer("Concatenate", "both", axis=-1), [on("one"), on("two")]),
    ]
    config = functional("branches", layers, ["e"], [["both", 0, 0]])
    weights = {
        "two": [np.eye(4, dtype=np.float32) * 2, np.zeros(4, np.float32)],
        "one": [np.eye(4, dtype=np.float32), np.zeros(4, np.float32)],
    }
    path = write_hdf5(tmp_path / "b.h5", config, weights)
    (found,) = run(path, np.ones((1, 4), np.float32))
    np.testing.assert_array_equal(found, [[1, 1, 1, 1, 2, 2, 2, 2]])


def test_tensors_in_keywords_reach_a_layer(tmp_path):
    attention = layer(
        "MultiHeadAttention",
        "mha",
        num_heads=1,
        key_dim=4,
        value_dim=4,
        dropout=0.0,
        use_bias=True,
        output_shape=None,
        attention_axes=None,
        query_shape=[None, 5, 4],
        key_shape=[None, 6, 4],
        value_shape=[None, 6, 4],
    )
    layers = [
        called(entry("q", 5, 4)),
        called(entry("v", 6, 4)),
        called(attention, [on("q", value=["v", 0, 0])]),
    ]
    config = functional("att", layers, ["q", "v"], [["mha", 0, 0]])
    twin = keras.layers.MultiHeadAttention(1, 4)
    query, value = draw(2, 5, 4), draw(2, 6, 4)
    twin(query, value)
    arrays = [draw(*weight.shape, seed=7) for weight in twin.get_weights()]
    twin.set_weights(arrays)
    path = write_hdf5(tmp_path / "att.h5", config, {"mha": arrays})
    (found,) = run(path, query, value)
    np.testing.assert_allclose(found, twin(query, value), atol=1e-6)


def test_a_tensorflow_function_without_counterpart_is_named(tmp_path):
    layers = [called(entry("e", 4)), called(operation("signal.fft", "fft"), [on("e")])]
    config = functional("m", layers, ["e"], [["fft", 0, 0]])
    message = refusal(write_hdf5(tmp_path / "m.h5", config, {}))
    assert "tf.signal.fft" in message
    assert "SavedModel" in message


def test_a_mixed_policy_of_keras_2_becomes_float32(tmp_path):
    policy = {"class_name": "Policy", "config": {"name": "mixed_float16"}}
    config = sequential("s", [entry("e", 4), dense("d", 3)])
    config["config"]["layers"][1]["config"]["dtype"] = policy
    path = write_hdf5(tmp_path / "s.h5", config, {"d": [draw(4, 3), draw(3)]})
    network = load_source(str(path)).network
    assert {part.compute_dtype for part in network.layers} == {"float32"}


def test_weights_of_another_shape_are_refused_by_the_layer(tmp_path):
    config = sequential("s", [entry("e", 4), dense("d", 3)])
    message = refusal(write_hdf5(tmp_path / "s.h5", config, {"d": [draw(5, 3), draw(3)]}))
    assert "layer 'd'" in message
    message = refusal(write_hdf5(tmp_path / "s.h5", config, {}))
    assert "weights of 0 layers" in message


def test_an_unknown_layer_is_named_with_the_remedy(tmp_path):
    config = sequential("s", [entry("e", 4), layer("Custom>Swirl", "swirl", strength=2.0)])
    message = refusal(write_hdf5(tmp_path / "s.h5", config, {}))
    assert "custom object Swirl" in message
    assert "--import MODULE" in message


def test_a_lambda_layer_needs_trust(tmp_path):
    code = layer("Lambda", "code", function=["4wEAAAA=", None, None], function_type="lambda")
    path = write_hdf5(tmp_path / "s.h5", sequential("s", [entry("e", 4), code]), {})
    message = refusal(path)
    assert "Lambda" in message
    assert "--trust-code" in message
    assert "Keras cannot load it" in refusal(path, trust=True)  # the code is no code


def test_what_keras_3_would_misread_is_rewritten():
    norms = layer("LayerNormalization", "n", axis=[1, 2], epsilon=0.001)
    found = upgrade_model(sequential("s", [entry("e", 4, 4), norms]))
    json.dumps(found)
    rewritten = found["config"]["layers"][1]
    assert rewritten["config"]["axis"] == [1, 2]
    assert "module" in rewritten  # or Keras's own reader of the old form would drop the axes
