"""SavedModel folders as networks: inputs, outputs and numbers are those of the folder."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from edgevit.base.errors import ModelFileError
from edgevit.frontend.sources.table import load_source
from edgevit.models.weights import digest_weights
from helpers.refusals import line_of

PIXELS = np.random.default_rng(0).random((2, 8, 8, 3)).astype(np.float32)


def refusal(path: Path) -> str:
    return line_of(ModelFileError, lambda: load_source(str(path)), f"{path}: ")


def classifier() -> keras.Model:
    keras.utils.set_random_seed(0)
    parts = [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()]
    tail = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    return keras.Sequential([keras.Input((8, 8, 3), name="picture"), *parts, *tail], name="net")


def test_what_keras_exports_is_a_network(tmp_path):
    model = classifier()
    model.export(tmp_path / "net", verbose=False)
    trained = load_source(str(tmp_path / "net"))
    found = trained.network(PIXELS, training=False)
    (output,) = found.values()
    np.testing.assert_allclose(output, model(PIXELS, training=False), atol=1e-6)
    assert [tensor.shape for tensor in trained.network.inputs] == [(None, 8, 8, 3)]
    assert trained.name == "net"
    assert trained.weights_sha256 == digest_weights(trained.network.get_weights())
    assert len(trained.network.weights) == len(model.weights)


def test_a_network_of_a_folder_can_be_traced_and_saved_again(tmp_path):
    model = classifier()
    model.export(tmp_path / "net", verbose=False)
    network = load_source(str(tmp_path / "net")).network
    module = tf.Module()
    signature = [tf.TensorSpec((1, 8, 8, 3), name="images")]
    module.call = tf.function(network, input_signature=signature, autograph=False)
    function = module.call.get_concrete_function()
    module.kept = [variable.value for variable in network.variables]
    assert {id(value) for value in function.variables} <= {id(value) for value in module.kept}
    tf.saved_model.save(module, str(tmp_path / "again"), signatures=function)
    (output,) = load_source(str(tmp_path / "again")).network(PIXELS[:1]).values()
    np.testing.assert_allclose(output, model(PIXELS[:1], training=False), atol=1e-6)


class Pair(tf.Module):
    """Several named inputs and outputs, as tf.saved_model.save takes them."""

    def __init__(self):
        super().__init__()
        self.scale = tf.Variable(3.0)

    @tf.function(input_signature=[tf.TensorSpec((None, 4), name="left"), tf.TensorSpec((None, 4))])
    def both(self, left, right):
        return {"sum": left + right, "scaled": self.scale * left}


def test_named_inputs_and_outputs_keep_their_names(tmp_path):
    module = Pair()
    signatures = {"predict": module.both}
    tf.saved_model.save(module, str(tmp_path / "pair"), signatures=signatures)
    network = load_source(str(tmp_path / "pair")).network
    assert [tensor.name for tensor in network.inputs] == ["left", "right"]
    one, two = np.full((1, 4), 1.0, np.float32), np.full((1, 4), 2.0, np.float32)
    found = network([one, two])
    np.testing.assert_array_equal(found["sum"], [[3.0] * 4])
    np.testing.assert_array_equal(found["scaled"], [[3.0] * 4])


def test_a_fixed_batch_stays_fixed(tmp_path):
    module = tf.Module()
    module.call = tf.function(
        lambda x: {"y": 2.0 * x}, input_signature=[tf.TensorSpec((1, 4), name="x")]
    )
    tf.saved_model.save(module, str(tmp_path / "one"), signatures=module.call)
    trained = load_source(str(tmp_path / "one"))
    assert trained.network.inputs[0].shape == (1, 4)
    assert len(trained.weights_sha256) == 64  # of the graph, since there is no weight


def test_a_folder_without_a_signature_says_how_to_save_it(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    message = refusal(tmp_path / "bare")
    assert "serving_default" in message
    assert "model.export(folder)" in message


def test_text_as_input_is_refused(tmp_path):
    module = tf.Module()
    module.call = tf.function(
        tf.strings.length, input_signature=[tf.TensorSpec((None,), tf.string, name="words")]
    )
    tf.saved_model.save(module, str(tmp_path / "text"), signatures=module.call)
    assert "'words' is string" in refusal(tmp_path / "text")


def test_a_damaged_folder_is_one_line(tmp_path):
    classifier().export(tmp_path / "net", verbose=False)
    (tmp_path / "net" / "saved_model.pb").write_bytes(b"damaged")
    assert "TensorFlow cannot load it" in refusal(tmp_path / "net")
    classifier().export(tmp_path / "other", verbose=False)
    for file in (tmp_path / "other" / "variables").iterdir():
        file.unlink()
    assert "TensorFlow cannot load it" in refusal(tmp_path / "other")


def test_an_export_of_our_own_names_the_model_behind_it(tmp_path):
    classifier().export(tmp_path / "net", verbose=False)
    folder = tmp_path / "net" / "assets.extra"
    folder.mkdir(exist_ok=True)
    (folder / "edgevit.manifest.json").write_text(json.dumps({"model": "shiftvit"}))
    message = refusal(tmp_path / "net")
    assert "an export of shiftvit" in message
    assert "Name the model that it came from" in message


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = classifier()
    model.layers[0].set_weights([np.full((3, 3, 3, 4), np.nan), np.zeros(4)])
    model.export(tmp_path / "net", verbose=False)
    assert "NaN or infinity" in refusal(tmp_path / "net")
