"""What goes in: .keras files and weights files; whole ones work, others say why they do not."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from edgevit.base.errors import ConfigError, EdgevitError, ModelFileError, UnknownNameError
from edgevit.core.class_names import CIFAR10_CLASSES
from edgevit.core.golden_images import draw_images
from edgevit.core.manifest import read_manifest_file
from edgevit.core.parity import OWN, Verdict
from edgevit.core.signature import Role
from edgevit.core.tensors import Preprocess
from edgevit.formats.registry import open_session
from edgevit.frontend.opening import open_source
from edgevit.frontend.sources.load import load
from edgevit.frontend.sources.network import describe_network
from edgevit.frontend.sources.table import load_source
from edgevit.layers.preprocessing import Preprocessing
from edgevit.models import vit
from edgevit.models.build import build, build_plan, plan_model
from edgevit.models.shiftvit import TINY
from edgevit.models.weights import digest_weights, load_model, load_weights, save_weights
from edgevit.verbs.export import export, export_all
from helpers.refusals import line_of

SIZE = (20, 18)


def small_network(seed: int = 3) -> keras.Model:
    """An ordinary classifier: scaling, convolutions, batch normalisation, pooling, dense."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Dropout(0.5),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5),
        ],
        name="small",
    )
    rng = np.random.default_rng(seed)
    gamma, beta, mean, variance = network.layers[2].get_weights()
    network.layers[2].set_weights(
        [
            gamma + 0.1,
            beta - 0.1,
            rng.normal(0, 0.2, mean.shape),
            rng.uniform(0.5, 2, variance.shape),
        ]
    )
    return network


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("keras") / "small.keras"
    small_network().save(path)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A plain folder of PNGs, some of another size than the network takes."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, image in enumerate(draw_images(24, SIZE, seed=5)):
        Image.fromarray(image).save(folder / f"{number}.png")
    Image.fromarray(draw_images(1, (40, 50), seed=6)[0]).save(folder / "large.png")
    return folder


def refusal(call) -> str:
    return line_of(ModelFileError, call)


def test_an_ordinary_keras_file_is_exported_and_verified(keras_file, pictures, tmp_path):
    targets = "tflite-float32,tflite-int8,onnx-float32"
    outcomes = export_all(keras_file, targets, tmp_path, calibration=pictures)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.PASS] * 3
    images = draw_images(30, SIZE, seed=8)
    expected = np.asarray(small_network()(images.astype(np.float32), training=False))
    for outcome in outcomes:
        with open_session(outcome.artifact.path) as session:
            (found,) = session.run(images).values()
            assert [spec.name for spec in session.inputs] == ["images"]
        limit = 0.2 * expected.std() if outcome.target.integer_only else 1e-4
        assert np.abs(found - expected).mean() <= limit
        assert outcome.artifact.path.name == f"small-{outcome.target.name}{outcome.target.suffix}"
    calibration = read_manifest_file(outcomes[1].artifact.path)["calibration"]
    held = next(r.images for r in outcomes[1].reports if r.samples == OWN)
    assert (calibration["images"], held) == (20, 5)  # a fifth of them is held out
    assert calibration["source"] == f"{pictures.name}, pictures"


def test_a_file_with_our_preprocessing_inside_gives_it_up_to_the_exporter(tmp_path):
    keras.utils.set_random_seed(1)
    model = build("shiftvit", preprocess=True, input_size=(12, 12), **TINY)
    model.save(tmp_path / "whole.keras")
    images = draw_images(8, (12, 12), seed=2)
    expected = np.asarray(model(images, training=False)["logits"])
    outcome = export(tmp_path / "whole.keras", "onnx-float32", tmp_path / "out")
    assert outcome.verdict is Verdict.PASS
    document = read_manifest_file(outcome.artifact.path)
    assert document["preprocess"]["input_size"] == [12, 12]
    assert document["preprocess"]["network_size"] == [16, 16]
    assert document["preprocess"]["scale"] == pytest.approx([1 / 255] * 3)
    with open_session(outcome.artifact.path) as session:
        assert session.inputs[0].dtype == "uint8"
        np.testing.assert_allclose(session.run(images)["logits"], expected, atol=1e-4)


def test_a_sequential_model_with_our_preprocessing_gives_it_up_as_well():
    network = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            Preprocessing((16, 16), scale=(0.5, 0.5, 0.5)),
            keras.layers.GlobalAveragePooling2D(),
        ],
        name="mean",
    )
    source = open_source(network)
    assert source.preprocess == Preprocess((12, 12), (16, 16), scale=(0.5, 0.5, 0.5))
    assert source.network.inputs[0].shape == (None, 16, 16, 3)
    images = np.full((1, 16, 16, 3), 7.0, np.float32)
    (found,) = source.call([images]).values()
    np.testing.assert_allclose(np.asarray(found), [[7.0] * 3])


def test_a_model_in_memory_is_exported_under_its_own_name(tmp_path):
    names = ("a", "b", "c", "d", "e")
    outcome = export(small_network(), "onnx-float32", tmp_path, class_names=names)
    assert outcome.verdict is Verdict.PASS
    assert outcome.artifact.path.name == "small-onnx-float32.onnx"
    assert outcome.artifact.manifest.class_names == names


def test_a_lambda_layer_is_refused_in_one_line_unless_the_code_is_trusted(tmp_path):
    path = tmp_path / "code.keras"
    images = keras.Input((8, 8, 3))
    x = keras.layers.Lambda(lambda value: value * 2.0)(images)
    keras.Model(images, keras.layers.GlobalAveragePooling2D()(x)).save(path)
    message = refusal(lambda: load_source(str(path)))
    assert message.startswith(f"{path}: contains a Lambda layer")
    assert "--trust-code" in message
    trusted = load_source(str(path), trust=True)
    found = trusted.network(np.full((1, 8, 8, 3), 3.0, np.float32))
    np.testing.assert_allclose(np.asarray(found), [[6.0] * 3])


def test_a_lambda_layer_inside_an_inner_model_is_found_as_well(tmp_path):
    path = tmp_path / "nested.keras"
    inner_images = keras.Input((8, 8, 3))
    inner = keras.Model(inner_images, keras.layers.Lambda(lambda v: v + 1.0)(inner_images))
    images = keras.Input((8, 8, 3))
    keras.Model(images, keras.layers.GlobalAveragePooling2D()(inner(images))).save(path)
    assert "Lambda" in refusal(lambda: load_source(str(path)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, value):
    network = small_network()
    kernel, *rest = network.layers[1].get_weights()
    kernel[0, 0, 0, 0] = value
    network.layers[1].set_weights([kernel, *rest])
    network.save(tmp_path / "nan.keras")
    message = refusal(lambda: load_source(str(tmp_path / "nan.keras")))
    assert "NaN or infinity" in message
    assert "conv2d" in message
    assert "kernel holds" in message


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_keras_file_is_refused(keras_file, tmp_path, share):
    data = keras_file.read_bytes()
    path = tmp_path / "cut.keras"
    path.write_bytes(data[: int(len(data) * share)])
    assert "truncated" in refusal(lambda: load_source(str(path)))


@pytest.mark.parametrize("member", ["config.json", "model.weights.h5"])
def test_a_keras_file_that_lacks_a_part_is_refused(keras_file, tmp_path, member):
    path = tmp_path / "part.keras"
    with zipfile.ZipFile(keras_file) as whole, zipfile.ZipFile(path, "w") as part:
        for name in whole.namelist():
            if name != member:
                part.writestr(name, whole.read(name))
    refusal(lambda: load_source(str(path)))


def test_a_keras_file_with_any_damaged_region_is_refused_or_loads(keras_file, tmp_path):
    """Damage is never a crash of another kind; a checksum of the zip finds nearly all of it."""
    data = keras_file.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(16):
        broken = bytearray(data)
        start = int(rng.integers(0, len(data) - 40))
        broken[start : start + 40] = rng.integers(0, 256, 40, np.uint8).tobytes()
        path = tmp_path / f"broken{number}.keras"
        path.write_bytes(broken)
        try:
            load_source(str(path))
        except ModelFileError:
            refused += 1
    assert refused >= 12


def test_a_zip_with_compressed_members_that_are_damaged_is_refused(keras_file, tmp_path):
    path = tmp_path / "deflated.keras"
    packed = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(keras_file) as whole, packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    load_source(str(path))
    with zipfile.ZipFile(path) as packed:
        start = packed.getinfo("config.json").header_offset + 60
    data = bytearray(path.read_bytes())
    data[start : start + 30] = b"\xff" * 30
    path.write_bytes(data)
    refusal(lambda: load_source(str(path)))


def unbuilt() -> keras.Model:
    return keras.Sequential([keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])


class Subclassed(keras.Model):
    def call(self, images):
        return images


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (unbuilt, "a Sequential model without an input shape"),
        (Subclassed, "Call it once"),
    ],
    ids=["unbuilt", "subclassed"],
)
def test_a_model_that_was_never_called_is_refused(network, words):
    message = refusal(lambda: describe_network(network(), "net", "net.keras"))
    assert message.startswith("net.keras: ")
    assert words in message


def test_a_size_that_the_model_leaves_free_is_asked_for(tmp_path):
    images = keras.Input((None, None, 3), name="photo")
    path = tmp_path / "free.keras"
    keras.Model(images, keras.layers.GlobalAveragePooling2D(name="mean")(images)).save(path)
    with pytest.raises(ConfigError, match=r"'photo' is 1x\?x\?x3.*--input-shape photo=1x224x224x3"):
        export(path, "onnx-float32", tmp_path / "out")
    given = {"photo": (1, 6, 10, 3)}
    outcome = export(path, "onnx-float32", tmp_path / "out", input_shape=given, scaling="raw")
    assert outcome.verdict is Verdict.PASS
    pictures = draw_images(3, (6, 10), seed=1)
    with open_session(outcome.artifact.path) as session:
        found = session.run({"photo": pictures})["mean"]
    np.testing.assert_allclose(found, pictures.astype(float).mean(axis=(1, 2)), rtol=1e-5)


def several_inputs() -> keras.Model:
    """A picture in grey, a vector and a word, and two outputs that say different things."""
    keras.utils.set_random_seed(8)
    layers = keras.layers
    photo = keras.Input((10, 8, 1), name="photo")
    state = keras.Input((4,), name="state")
    word = keras.Input((3,), dtype="int32", name="word")
    x = layers.Rescaling(1 / 127.5, offset=-1)(photo)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(x))
    known = layers.Flatten()(layers.Embedding(20, 4)(word))
    x = layers.Dense(16, activation="relu")(layers.Concatenate()([x, state, known]))
    outputs = [layers.Dense(2, name="position")(x), layers.Dense(5, name="class_scores")(x)]
    return keras.Model([photo, state, word], outputs, name="several")


@pytest.mark.parametrize("wanted", ["tflite-float32", "tflite-int8", "onnx-float32", "savedmodel"])
def test_a_model_of_several_inputs_and_outputs_keeps_their_names_and_their_order(wanted, tmp_path):
    rng = np.random.default_rng(0)
    given = {
        "photo": draw_images(60, (10, 8), seed=2)[..., :1],
        "state": rng.normal(size=(60, 4)).astype(np.float32),
        "word": rng.integers(0, 20, (60, 3)).astype(np.int32),
    }
    network = several_inputs()
    outcome = export(network, wanted, tmp_path, calibration=given)
    assert outcome.verdict is Verdict.PASS
    assert outcome.task == "classification"
    roles = [(output.name, output.role) for output in outcome.signature.outputs]
    assert roles == [("position", Role.VALUES), ("class_scores", Role.LOGITS)]
    with open_session(outcome.artifact.path) as session:
        assert [spec.name for spec in session.inputs] == ["photo", "state", "word"]
        found = session.run(given)
    assert list(found) == ["position", "class_scores"]
    entering = [given["photo"].astype(np.float32), given["state"], given["word"]]
    for values, tensor in zip(found.values(), network(entering), strict=True):
        expected = np.asarray(tensor)
        error = np.abs(values - expected).mean() / expected.std()
        assert error < (0.1 if wanted == "tflite-int8" else 1e-5)


def test_a_model_without_a_row_of_scores_is_held_against_its_maps(tmp_path):
    images = keras.Input((8, 8, 3))
    layers = keras.layers
    outputs = {"a": layers.ReLU()(images), "b": layers.AveragePooling2D(2)(images)}
    network = keras.Model(images, outputs, name="maps")
    outcome = export(network, "onnx-float32", tmp_path, scaling="raw")
    assert (outcome.verdict, outcome.task) == (Verdict.PASS, "generic")
    assert [output.role for output in outcome.signature.outputs] == [Role.MAP, Role.MAP]
    assert np.isnan(outcome.reports[0].top1_agreement)


# Weights files


@pytest.fixture
def run(tiny_run, tmp_path) -> Path:
    """A copy of the run's folder that a test may break."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def test_a_weights_file_gives_back_what_was_saved(tmp_path):
    keras.utils.set_random_seed(4)
    plan = plan_model("shiftvit", input_size=(12, 12), **TINY)
    weights = build_plan(plan).get_weights()
    for dtype, atol in (("float32", 0), ("float16", 1e-3)):
        path = tmp_path / dtype / "weights.safetensors"
        save_weights(path, plan, weights, CIFAR10_CLASSES, dtype)
        found = load_weights(path)
        assert (found.plan, found.class_names) == (plan, CIFAR10_CLASSES)
        assert found.folder == path.parent
        loaded = found.network.get_weights()
        for again, before in zip(loaded, weights, strict=True):
            np.testing.assert_allclose(again, before, atol=atol)
        assert found.weights_sha256 == digest_weights(loaded)


def test_a_weight_without_axes_keeps_its_shape(tmp_path):
    plan = plan_model("vit", form="tutorial", **vit.TINY)  # counts images in a scalar
    weights = build_plan(plan).get_weights()
    assert any(value.shape == () for value in weights)
    save_weights(tmp_path / "weights.safetensors", plan, weights, CIFAR10_CLASSES, "float32")
    found = load_weights(tmp_path / "weights.safetensors").network.get_weights()
    assert [value.shape for value in found] == [value.shape for value in weights]


def test_a_folder_and_its_file_name_the_same_model(tiny_run):
    by_folder, by_file = (
        load_model(str(path)) for path in (tiny_run, tiny_run / "weights.safetensors")
    )
    assert by_folder.weights_sha256 == by_file.weights_sha256
    taken = load_model("shiftvit", weights=tiny_run)
    assert taken.weights_sha256 == by_file.weights_sha256


def test_a_model_with_raw_input_can_be_loaded(tiny_run, exported, raw_images):
    model = load(str(tiny_run), preprocess=True)
    logits = np.asarray(model(raw_images, training=False)["logits"])
    with open_session(exported["onnx-float32"]) as session:
        np.testing.assert_allclose(session.run(raw_images)["logits"], logits, atol=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_weights_are_refused(run, share):
    path = run / "weights.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "truncated or damaged weights" in refusal(lambda: load_weights(path))


@pytest.mark.parametrize("content", [b"text, renamed", bytes(100), b"\xff" * 5000])
def test_a_file_that_holds_no_weights_is_refused(run, content):
    path = run / "weights.safetensors"
    path.write_bytes(content)
    assert "truncated or damaged weights" in refusal(lambda: load_weights(path))


def rewrite(path: Path, change) -> None:
    """Writes a weights file again after ``change(tensors, description)``."""
    import json

    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(str(path), framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        description = json.loads(file.metadata()["edgevit"])
    metadata = change(tensors, description)
    if metadata is None:
        metadata = {"edgevit": json.dumps(description)}
    save_file(tensors, str(path), metadata)


def drop_last(tensors, description):
    tensors.pop(max(tensors))


def transpose_one(tensors, description):
    name = next(name for name, value in tensors.items() if value.ndim == 2)
    tensors[name] = np.ascontiguousarray(tensors[name].T)


def spoil_one(tensors, description):
    tensors["0002"] = np.full_like(tensors["0002"], np.nan)


def no_description(tensors, description):
    return {"other": "tool"}


def other_model(tensors, description):
    description["model"] = "shiftvot"


def other_option(tensors, description):
    description["config"]["widht"] = 3


def bad_option(tensors, description):
    description["config"]["num_div"] = 1


def other_classes(tensors, description):
    description["config"]["num_classes"] = 11


def no_size(tensors, description):
    description["input_size"] = None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop_last, "weight arrays, where the network has"),
        (transpose_one, "where the network has"),
        (spoil_one, "NaN or infinity"),
        (no_description, "edgevit"),
        (other_model, "shiftvit"),
        (other_option, "widht"),
        (bad_option, "num_div"),
        (other_classes, "where the network has"),
        (no_size, "damaged"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_the_reason(run, change, words):
    path = run / "weights.safetensors"
    rewrite(path, change)
    assert words in refusal(lambda: load_weights(path))


def test_missing_weights_are_refused(tmp_path):
    assert "no such weights" in refusal(lambda: load_model(str(tmp_path)))
    assert "no such weights" in refusal(lambda: load_source(str(tmp_path)))
    assert "no such file" in refusal(lambda: load_source(str(tmp_path / "net.keras")))
    for opener in (load_model, load_source):
        with pytest.raises(UnknownNameError, match="shiftvit"):
            opener("shiftvot")


def test_weights_that_cannot_be_stored_are_not_written(tmp_path):
    plan = plan_model("shiftvit", input_size=(12, 12), **TINY)
    for value, dtype in ((np.nan, "float32"), (np.inf, "float16")):
        with pytest.raises(ModelFileError, match="not finite"):
            save_weights(tmp_path / "w.safetensors", plan, [np.full(3, value)], (), dtype)
    assert [*tmp_path.iterdir()] == []


def test_ranges_beside_the_weights_that_are_damaged_are_refused(run):
    (run / "ranges.json").write_text('{"ranges": {"a": [NaN, 1]}}')
    with pytest.raises(EdgevitError, match=r"ranges\.json"):
        export(run, "tflite-int8", run / "out")


@pytest.mark.parametrize("kind", ["tflite-int8", "onnx-int8"])
def test_ranges_beside_other_weights_are_refused(run, kind):
    rewrite(run / "weights.safetensors", lambda tensors, description: scale(tensors))
    with pytest.raises(EdgevitError, match="belong to other weights"):
        export(run, kind, run / "out")


def test_ranges_of_another_onnx_graph_are_refused(run):
    file = run / "ranges-onnx.json"
    text = file.read_text()
    file.write_text(text.replace("shiftvit/classifier/Dense/in", "shiftvit/other/Dense/in"))
    with pytest.raises(EdgevitError, match=r"classifier.*belongs to another graph"):
        export(run, "onnx-int8", run / "out")


def scale(tensors) -> None:
    tensors["0000"] = tensors["0000"] * 2
