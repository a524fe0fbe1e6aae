""".keras and .h5 files: whole ones load, others say what they are and what to do."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.src.applications.convnext import ConvNeXt

from edgevit.base.errors import ConfigError, ModelFileError
from edgevit.cli.options import import_modules
from edgevit.core.golden_images import draw_images
from edgevit.core.signature import Role
from edgevit.frontend.opening import open_source
from edgevit.frontend.sources.load import load
from edgevit.frontend.sources.table import find_kind, load_source
from edgevit.layers.layer_scale import LayerScale
from helpers.refusals import line_of

VECTORS = np.random.default_rng(0).normal(size=(3, 4, 6)).astype(np.float32)


@pytest.fixture(autouse=True)
def nothing_registered():
    """What a test registers with Keras, and what it imports, goes afterwards."""
    known = keras.saving.get_custom_objects()
    before, modules, path = dict(known), set(sys.modules), list(sys.path)
    yield
    known.clear()
    known.update(before)
    for name in set(sys.modules) - modules:
        if not name.startswith(("keras", "tensorflow", "edgevit")):
            del sys.modules[name]
    sys.path[:] = path


def network(seed: int = 0) -> keras.Model:
    """Normalises two axes, which the old form of configs forgets, and adds a constant."""
    keras.utils.set_random_seed(seed)
    entry = keras.Input((4, 6))
    x = keras.layers.LayerNormalization(axis=[1, 2], name="norm")(entry)
    x = keras.layers.Dense(5, activation="gelu")(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(entry, keras.layers.Dense(3)(x), name="plain")
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=value.shape) for value in model.get_weights()])
    return model


def saved(path: Path, model: keras.Model) -> Path:
    model.save(path)
    return path


def refusal(name: Path | str, **options) -> str:
    return line_of(ModelFileError, lambda: load_source(str(name), **options), f"{name}: ")


@pytest.mark.parametrize("form", ["m.keras", "m.h5", "m.hdf5"])
def test_a_model_of_keras_3_returns_what_it_did(form, tmp_path):
    model = network()
    path = saved(tmp_path / form, model)
    trained = load_source(str(path))
    np.testing.assert_allclose(trained.network(VECTORS), model(VECTORS), atol=1e-6)
    assert trained.name == "m"
    assert trained.plan is None
    np.testing.assert_allclose(load(str(path))(VECTORS), model(VECTORS), atol=1e-6)


@pytest.mark.parametrize("form", ["m.keras", "m.h5"])
def test_arithmetic_between_layers_survives(form, tmp_path):
    entry = keras.Input((4, 6))
    x = keras.ops.cast(2.0 * entry[:, 1:] - 1.0, "float32")
    x = keras.layers.Multiply()([x, keras.ops.relu(x)])
    model = keras.Model(entry, keras.ops.mean(x, axis=(1, 2)))
    found = load_source(str(saved(tmp_path / form, model))).network
    np.testing.assert_allclose(found(VECTORS), model(VECTORS), atol=1e-6)


def test_the_digest_is_that_of_the_weights(tmp_path):
    first, again, other = (
        load_source(str(saved(tmp_path / name, network(seed)))).weights_sha256
        for name, seed in (("a.keras", 1), ("b.h5", 1), ("c.keras", 2))
    )
    assert first == again != other


def test_an_unpacked_archive_is_read(tmp_path):
    model = network()
    with zipfile.ZipFile(saved(tmp_path / "m.keras", model)) as archive:
        archive.extractall(tmp_path / "folder")
    found = load_source(str(tmp_path / "folder")).network
    np.testing.assert_allclose(found(VECTORS), model(VECTORS), atol=1e-6)


@pytest.mark.parametrize("form", ["m.keras", "m.h5"])
def test_losses_metrics_and_optimizers_are_not_needed(form, tmp_path):
    def my_loss(truth, found):
        return keras.ops.mean(truth - found)

    model = network()
    model.compile("adamw", loss=my_loss, metrics=[lambda truth, found: 0.0])
    model.train_on_batch(VECTORS, np.zeros((3, 3), np.float32))
    path = saved(tmp_path / form, model)
    found = load_source(str(path)).network
    np.testing.assert_allclose(found(VECTORS), model(VECTORS), atol=1e-6)


@pytest.mark.parametrize("form", ["m.keras", "m.h5"])
def test_a_model_inside_may_have_been_compiled_with_its_own_loss(form, tmp_path):
    inner = network()
    inner.compile("sgd", loss=lambda truth, found: keras.ops.mean(truth - found))
    inner.train_on_batch(VECTORS, np.zeros((3, 3), np.float32))
    entry = keras.Input((4, 6))
    model = keras.Model(entry, keras.layers.Dense(2)(inner(entry)))
    found = load_source(str(saved(tmp_path / form, model))).network
    np.testing.assert_allclose(found(VECTORS), model(VECTORS), atol=1e-6)


@pytest.mark.parametrize("form", ["m.keras", "m.h5"])
def test_a_lambda_layer_needs_trust(form, tmp_path):
    entry = keras.Input((4,))
    model = keras.Model(entry, keras.layers.Lambda(lambda value: value * 2.0)(entry))
    path = saved(tmp_path / form, model)
    message = refusal(path)
    assert "contains a Lambda layer" in message
    assert "--trust-code" in message
    trusted = load_source(str(path), trust=True).network
    np.testing.assert_array_equal(trusted(np.ones((1, 4))), [[2.0] * 4])


CLASSES = """
import keras

class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x

def triple(x):
    return 3 * x
"""


@pytest.mark.parametrize("form", ["m.keras", "m.h5"])
def test_a_custom_layer_is_named_with_the_module_as_the_remedy(form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": "someone_elses"}
    exec(CLASSES, namespace)
    entry = keras.Input((4,))
    x = namespace["Doubled"]()(entry)
    model = keras.Model(entry, keras.layers.Activation(namespace["triple"])(x))
    path = saved(tmp_path / form, model)
    message = refusal(path)
    assert "Doubled" in message
    assert "--import MODULE" in message
    Path("my_layers.py").write_text(CLASSES)
    import_modules(None, None, ("my_layers",))
    found = load_source(str(path)).network
    np.testing.assert_array_equal(found(np.ones((1, 4))), [[6.0] * 4])


SCALE = """
import keras

class LayerScale(keras.layers.Layer):
    def __init__(self, factor, **keywords):
        super().__init__(**keywords)
        self.factor = factor

    def call(self, x):
        return self.factor * x

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
"""


@pytest.mark.parametrize("form", ["m.keras", "m.h5"])
def test_a_class_of_the_user_may_have_the_name_of_one_of_ours(form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": "someone_elses"}
    exec(SCALE, namespace)
    entry = keras.Input((4,))
    x = namespace["LayerScale"](3.0)(entry)
    path = saved(tmp_path / form, keras.Model(entry, LayerScale(initial=2.0)(x)))
    assert "holds the custom object LayerScale" in refusal(path)
    Path("scales.py").write_text(SCALE)
    import_modules(None, None, ("scales",))
    found = load_source(str(path)).network
    np.testing.assert_array_equal(found(np.ones((1, 4))), [[6.0] * 4])


@pytest.mark.parametrize("form", ["m.keras", "m.h5"])
def test_convnext_of_keras_keeps_its_own_layer_scale(form, tmp_path):
    # It names LayerScale, StochasticDepth and preprocessing in one file.
    model = ConvNeXt((1, 1, 1, 1), (8, 8, 8, 8), weights=None, input_shape=(32, 32, 3), classes=3)
    for weight in model.weights:
        weight.assign(weight + 0.1)
    path = saved(tmp_path / form, model)
    if form == "m.h5":  # does not tell where its classes are from
        assert "holds the custom object LayerScale" in refusal(path)
        import_modules(None, None, (ConvNeXt.__module__,))
    found = load_source(str(path)).network
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
    np.testing.assert_allclose(found(pixels), model(pixels), atol=1e-6)


def test_importing_a_module_takes_nothing_from_keras(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("clash.py").write_text("import keras\n\nclass Dense(keras.layers.Layer):\n    pass\n")
    import_modules(None, None, ("clash",))
    assert "Dense" not in keras.saving.get_custom_objects()


def test_a_module_that_cannot_be_imported_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="--import nowhere_at_all: cannot be imported"):
        import_modules(None, None, ("nowhere_at_all",))


# What is no model


def text(path: Path) -> None:
    path.write_text("hello, this is text\n" * 3)


def pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")


def page(path: Path) -> None:
    path.write_text("<!DOCTYPE html><html><body>not found</body></html>")


def garbage(path: Path) -> None:
    path.write_bytes(np.random.default_rng(3).bytes(5000))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def other_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no model")


def torch_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", b"\x80\x02}q\x00.")


def packed_savedmodel(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/saved_model.pb", b"")


def old_torch(path: Path) -> None:
    path.write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")


def tflite(path: Path) -> None:
    path.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(64))


def architecture(path: Path) -> None:
    path.write_text(network().to_json())


def weights_only(path: Path) -> None:
    network().save_weights(path)


def cut_hdf5(path: Path) -> None:
    network().save(path)
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize(
    ("write", "name", "words"),
    [
        (text, "m.keras", ("text file",)),
        (text, "m.h5", ("text file",)),
        (pointer, "m.keras", ("git lfs pull",)),
        (page, "m.h5", ("web page", "Download")),
        (empty, "m.keras", ("empty", "truncated")),
        (garbage, "m.keras", ("truncated",)),
        (garbage, "m.h5", ("neither a zip archive nor HDF5",)),
        (garbage, "m.xyz", ("no model that edgevit reads",)),
        (other_zip, "m.keras", ("without config.json",)),
        (packed_savedmodel, "m.zip", ("Unpack",)),
        (torch_zip, "m.pt", ("PyTorch", "Keras")),
        (old_torch, "m.pth", ("PyTorch",)),
        (tflite, "m.bin", ("TFLite file", "inspect")),
        (text, "m.py", ("Python code", "'m:NAME'")),
        (text, "m.onnx", ("ONNX file", "inspect")),
        (garbage, "m.png", ("picture", "--calibration")),
        (garbage, "m.npz", ("arrays without a network",)),
        (garbage, "saved.pb", ("SavedModel folder",)),
        (garbage, "ckpt.index", ("checkpoint",)),
        (architecture, "m.json", ("architecture", "--weights")),
        (weights_only, "m.weights.h5", ("without the network", "--weights m.weights.h5")),
        (cut_hdf5, "m.h5", ("truncated or damaged HDF5",)),
    ],
)
def test_a_file_that_is_no_model_says_what_it_is(write, name, words, tmp_path):
    write(tmp_path / name)
    message = refusal(tmp_path / name)
    assert all(word in message for word in words), message


def pictures(folder: Path) -> None:
    from PIL import Image

    (folder / "cats").mkdir()
    Image.fromarray(draw_images(1, (8, 8), 0)[0]).save(folder / "cats" / "1.png")


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (lambda folder: None, ("no such weights",)),
        (pictures, ("folder of pictures", "--calibration")),
        (lambda folder: text(folder / "checkpoint"), ("TensorFlow checkpoint",)),
        (lambda folder: text(folder / "model.json"), ("TensorFlow.js",)),
        (lambda folder: text(folder / "config.json"), ("without model.weights.h5",)),
        (lambda folder: saved(folder / "net.keras", network()), ("net.keras",)),
    ],
    ids=["empty", "pictures", "checkpoint", "TensorFlow.js", "config", "a file inside"],
)
def test_a_folder_that_is_no_model_says_what_it_is(fill, words, tmp_path):
    fill(tmp_path)
    message = refusal(tmp_path)
    assert all(word in message for word in words), message


def test_a_path_that_is_not_there_is_one_line(tmp_path):
    for name in ("net.keras", "net.h5", "runs/mine"):
        assert "no such file" in refusal(tmp_path / name)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("form", ["m.keras", "m.h5"])
def test_a_truncated_file_is_refused(form, share, tmp_path):
    path = saved(tmp_path / form, network())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "truncated" in refusal(path)


def test_an_archive_under_another_name_says_how_it_must_be_called(tmp_path):
    path = saved(tmp_path / "m.keras", network()).rename(tmp_path / "m.zip")
    assert "Call it m.keras" in refusal(path)


def test_kinds_are_told_without_a_framework(tmp_path):
    names = ("shiftvit", "shiftvit:nano", "shiftvit-nano", "keras.applications.VGG16")
    nouns = [find_kind(name).noun for name in names]
    assert nouns == ["an architecture of edgevit"] * 3 + ["a model of keras.applications"]
    assert find_kind("tests:nothing").noun == "Python code"


def test_a_weights_file_takes_no_other_weights(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(ConfigError, match="Drop --weights"):
        load_source(str(path), weights=path)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("form", ["m.keras", "m.h5", "in memory"])
@pytest.mark.parametrize(
    "loss", ["mse", keras.losses.MeanSquaredError(), {"head": "mean_squared_error"}]
)
def test_the_loss_of_training_still_says_what_the_outputs_are(loss, form, policy, tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="head", dtype=policy)])
    if isinstance(loss, dict):
        model = keras.Model(model.inputs, {"head": model.outputs[0]})
    model.compile("sgd", loss)
    model.train_on_batch(
        np.ones((2, 4)), {"head": np.ones((2, 3))} if isinstance(loss, dict) else np.ones((2, 3))
    )
    opened = model if form == "in memory" else saved(tmp_path / form, model)
    (output,) = open_source(opened).signature.outputs
    assert output.role is Role.VALUES
