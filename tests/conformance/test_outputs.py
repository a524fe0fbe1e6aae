"""Outputs beside the logits, and classifiers that we do not know: they arrive, and can fail to."""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from edgevit.base.documents import to_json
from edgevit.base.errors import ConfigError, ModelFileError, RuntimeFailure, UnknownNameError
from edgevit.core.golden_images import draw_images
from edgevit.core.manifest import read_manifest_file
from edgevit.core.metadata import EmbeddedMetadata
from edgevit.core.parity import OWN, Verdict
from edgevit.core.reference import ReferenceSet
from edgevit.formats.registry import TARGETS, find_target, open_session
from edgevit.frontend.opening import open_source
from edgevit.verbs.explain import explain
from edgevit.verbs.export import export, export_all
from edgevit.verbs.verify import verify
from edgevit.verification.parity import compare

SIZE = (16, 16)
EXACT = ("savedmodel", "tflite-float32", "onnx-float32")


def network_with_maps(seed: int = 0) -> keras.Model:
    """A classifier that pools by attention and tells where it looked; pixels of 0..1."""
    keras.utils.set_random_seed(seed)
    layers, ops = keras.layers, keras.ops
    images = keras.Input((*SIZE, 3), name="pixels")
    x = layers.Conv2D(8, 4, strides=4, activation="relu")(images)  # B 4 4 8
    x = ops.reshape(x, (-1, 16, 8))  # B N C
    shares = ops.softmax(layers.Dense(1, name="score")(x)[..., 0] * 4.0, axis=-1)  # B N
    pooled = ops.matmul(ops.expand_dims(shares, 1), x)[:, 0]  # B C
    outputs = {
        "logits": layers.Dense(5, name="head")(pooled),
        "attention": ops.reshape(shares, (-1, 4, 4)),
        "feature": ops.reshape(x, (-1, 4, 4, 8)),
    }
    return keras.Model(images, outputs, name="looker")


@pytest.fixture(scope="module")
def looker(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("looker") / "looker.keras"
    network_with_maps().save(path)
    return path


@pytest.fixture(scope="module")
def with_maps(looker, tmp_path_factory) -> dict:
    found = export_all(
        looker,
        "all",
        tmp_path_factory.mktemp("maps"),
        calibration=draw_images(40, SIZE, seed=3),
        scaling="unit",
        outputs=("logits", "attention"),
        class_names=("ant", "bee", "cow", "dog", "elk"),
    )
    return {outcome.target.name: outcome for outcome in found}


@pytest.mark.parametrize("name", TARGETS)
def test_a_further_output_arrives_at_every_target(name, with_maps):
    outcome = with_maps[name]
    assert outcome.verdict is Verdict.PASS
    images = draw_images(20, SIZE, seed=4)
    with open_session(outcome.artifact.path) as session:
        assert [spec.name for spec in session.outputs] == ["logits", "attention"]
        found = session.run(images)
    expected = network_with_maps()(images.astype(np.float32) / 255, training=False)
    for key in ("logits", "attention"):
        wanted = np.asarray(expected[key])
        assert found[key].shape == wanted.shape
        if name in EXACT:
            np.testing.assert_allclose(found[key], wanted, atol=1e-4)
        else:
            assert np.abs(found[key] - wanted).mean() <= 0.3 * wanted.std()
    for report in outcome.reports:
        (other,) = report.others
        few = report.runtime in ("litert-reference", "tflm")
        count = 8 if report.samples == OWN else 256
        count = min(count, find_target(name).tolerance.telling) if few else count
        assert (other.name, other.images) == ("attention", count)


@pytest.mark.parametrize("name", TARGETS)
def test_a_further_output_that_went_wrong_fails_the_verdict(name, with_maps):
    path, tolerance = with_maps[name].artifact.path, find_target(name).tolerance
    with open_session(path) as session:
        reference = session.reference
        attention = reference.synthetic.outputs["attention"]
        assert compare(session, reference).verdict(tolerance) is Verdict.PASS

        def judge_with(**others: np.ndarray) -> Verdict:
            changed = with_outputs(reference, **others)
            return compare(session, changed).verdict(tolerance)

        beyond = Verdict.LOSSY if tolerance.exact is None else Verdict.FAIL
        assert judge_with(attention=np.roll(attention, 1, axis=-1)) is beyond
        assert judge_with(attention=np.full_like(attention, np.nan)) is Verdict.FAIL
        with pytest.raises(RuntimeFailure, match="shape"):
            judge_with(attention=np.zeros((32, 5), "f4"))
        with pytest.raises(RuntimeFailure, match="no output 'gates'"):
            judge_with(gates=np.zeros((32, 5), "f4"))


def with_outputs(reference: ReferenceSet, **others: np.ndarray) -> ReferenceSet:
    """The reference with other outputs beside the logits."""
    outputs = {"logits": reference.synthetic.outputs["logits"], **others}
    return replace(reference, synthetic=replace(reference.synthetic, outputs=outputs))


def test_further_outputs_travel_in_the_metadata_and_cannot_be_exchanged(with_maps):
    path = with_maps["onnx-float32"].artifact.path
    assert verify(path).verdict is Verdict.PASS
    with open_session(path) as session:
        reference = session.reference
        attention = reference.synthetic.outputs["attention"]
        other = with_outputs(reference, attention=attention + 1)
        assert other.digest != reference.digest
        metadata = dict(session.metadata)
    metadata["edgevit.reference"] = to_json(other.to_document())
    with pytest.raises(ModelFileError, match="not those that were recorded"):
        assert EmbeddedMetadata(path, metadata).reference
    document = json.loads(to_json(other.to_document()))
    document["outputs"] = [1]
    with pytest.raises(ModelFileError, match="damaged"):
        ReferenceSet.from_document(document, "x")


def test_outputs_are_chosen_by_name(looker):
    assert set(open_source(looker).network.output) == {"logits", "attention", "feature"}
    assert set(open_source(looker, outputs=("all",)).network.output) == {
        "logits",
        "attention",
        "feature",
    }
    assert list(open_source(looker, outputs=("attention", "logits")).network.output) == [
        "logits",
        "attention",
    ]
    with pytest.raises(ConfigError, match="no output"):
        open_source(looker, outputs=())
    with pytest.raises(UnknownNameError, match="attention"):
        open_source(looker, outputs=("atention",))


def test_labels_scaling_and_size_of_a_foreign_model_come_from_options(
    command, looker, tmp_path, with_maps
):
    labels = tmp_path / "labels.txt"
    labels.write_text("ant\nbee\ncow\ndog\nelk\n")
    answer = command(
        "export", looker, "--format", "onnx-float32", "--out", tmp_path / "out", "--json",
        "--scaling", "signed", "--labels", labels, "--image-size", "24x20", "--outputs", "logits",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    (document,) = answer.document
    assert "outputs" not in document
    manifest = read_manifest_file(Path(document["path"]))
    assert manifest["class_names"] == ["ant", "bee", "cow", "dog", "elk"]
    contract = manifest["preprocess"]
    assert contract["input_size"] == [24, 20]
    assert contract["network_size"] == [16, 16]
    assert contract["offset"] == [-1, -1, -1]
    with open_session(document["path"]) as session:
        assert session.inputs[0].shape == (1, 24, 20, 3)
        assert [spec.name for spec in session.outputs] == ["logits"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--outputs", "atention"], ["atention", "attention"]),
        (["--labels", "four.txt"], ["4 class names for 5 logits"]),
        (["--labels", "missing.txt"], ["missing.txt"]),
        (["--labels", "empty.txt"], ["empty.txt", "no class name"]),
        (["--labels", "wrong.json"], ["wrong.json", "JSON list"]),
        (["--scaling", "units"], ["units", "unit"]),
        (["--image-size", "0"], ["'0'"]),
        (["--image-size", "2x3x4"], ["'2x3x4'"]),
        (["--import", "no_such_module"], ["no_such_module", "cannot be imported"]),
    ],
    ids=lambda value: value[1] if isinstance(value[0], str) and len(value) > 1 else "",
)
def test_bad_options_of_a_foreign_model_are_one_line(
    command, looker, tmp_path, monkeypatch, options, words
):
    monkeypatch.chdir(tmp_path)
    Path("four.txt").write_text("a\nb\nc\nd\n")
    Path("empty.txt").write_text("\n\n")
    Path("wrong.json").write_text('{"a": 1}')
    answer = command("export", looker, "--format", "onnx-float32", "--out", "out", *options)
    assert answer.code in (1, 2)
    assert all(word in answer.error for word in words)
    assert not [*Path().glob("out/*")]


def test_scaling_is_refused_for_weights_that_bring_their_own(tiny_run):
    with pytest.raises(ConfigError, match="their own scaling"):
        open_source(tiny_run, scaling="unit")


CLASSES_MODULE = """
import keras

@keras.saving.register_keras_serializable("ours")
class Doubler(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.pool = keras.layers.GlobalAveragePooling2D()
        self.head = keras.layers.Dense(5)

    def call(self, images):
        return self.head(2.0 * self.pool(images))
"""


def test_a_subclassed_model_is_exported_with_the_module_that_registers_it(
    command_process, tmp_path
):
    (tmp_path / "doubler_classes.py").write_text(CLASSES_MODULE)
    namespace: dict = {}
    exec(textwrap.dedent(CLASSES_MODULE), namespace)
    keras.utils.set_random_seed(1)
    model = namespace["Doubler"](name="doubler")
    model(np.zeros((1, *SIZE, 3), np.float32))
    model.save(tmp_path / "doubler.keras")
    images = draw_images(5, SIZE, seed=1)
    expected = np.asarray(model(images.astype(np.float32)))
    common = ["export", tmp_path / "doubler.keras", "--format", "onnx-float32", "--out"]
    # Without the module the class is not known.
    answer = command_process(*common, tmp_path / "none")
    assert answer.code == 2
    assert "Doubler" in answer.error or "doubler" in answer.error
    answer = command_process(
        *common, tmp_path / "out", "--import", "doubler_classes", PYTHONPATH=python_path(tmp_path)
    )
    assert answer.code == 0, answer.err
    with open_session(tmp_path / "out" / "doubler-onnx-float32.onnx") as session:
        (found,) = session.run(images).values()
    np.testing.assert_allclose(found, expected, atol=1e-3)


def python_path(folder: Path) -> str:
    return f"{Path(__file__).parents[2]}:{folder}"


@pytest.fixture
def picture(tmp_path) -> Path:
    path = tmp_path / "drawn.png"
    Image.fromarray(draw_images(1, (40, 30), seed=31)[0]).save(path)
    return path


@pytest.mark.parametrize("name", ["tflite-int8", "onnx-float32", "savedmodel"])
def test_an_exported_file_explains_itself_in_its_runtime(name, with_maps, picture, tmp_path):
    path = with_maps[name].artifact.path
    (drawn,) = explain(path, [picture], tmp_path / "drawings")
    assert drawn.explanation.method == "attention"
    assert drawn.runtime != "keras"
    assert drawn.path.parent == tmp_path / "drawings"
    with Image.open(drawn.path) as image:
        assert image.format == "PNG"
    with open_session(path) as session:
        found = session.run(drawn.explanation.image[None])
    np.testing.assert_array_equal(drawn.explanation.maps[0].values, found["attention"][0])
    label = ("ant", "bee", "cow", "dog", "elk")[int(found["logits"][0].argmax())]
    assert drawn.explanation.label == label


def test_the_float_model_and_its_file_show_the_same_map(looker, with_maps, picture, tmp_path):
    path = with_maps["onnx-float32"].artifact.path
    (of_file,) = explain(path, [picture], tmp_path)
    (of_float,) = explain(looker, [picture], tmp_path, "attention", scaling="unit")
    assert of_float.runtime == "keras"
    np.testing.assert_allclose(
        of_file.explanation.maps[0].values, of_float.explanation.maps[0].values, atol=1e-4
    )
    assert of_file.path != of_float.path


def test_explain_on_the_command_line_answers_where_it_drew(command, with_maps, picture, tmp_path):
    path = with_maps["tflite-float32"].artifact.path
    out = tmp_path / "drawings"
    answer = command("explain", path, picture, "--out", out, "--method", "occlusion", "--json")
    assert answer.code == 0
    (entry,) = answer.document
    assert Path(entry["path"]).exists()
    assert set(entry) == {"image", "path", "method", "class", "probability", "runtime", "maps"}
    assert entry["method"] == "occlusion"
    assert entry["maps"] == ["probability lost when covered"]
    line = command("explain", path, picture, "--out", out, "--method", "occlusion").out
    assert re.search(r"covering a part costs -?\d+ to -?\d+ points", line)


def test_a_method_without_its_output_is_refused_with_what_there_is(
    command, exported, with_maps, picture, tmp_path
):
    for path, offered in (
        (exported["onnx-float32"], "occlusion"),
        (with_maps["onnx-float32"].artifact.path, "attention, occlusion"),
    ):
        answer = command("explain", path, picture, "--out", tmp_path / "out", "--method", "gates")
        assert answer.code == 2
        assert f"offers {offered}." in answer.error
        assert not [*(tmp_path / "out").glob("*")]


def test_a_picture_that_cannot_be_read_leaves_no_drawing(command, exported, tmp_path):
    path = exported["onnx-float32"]
    answer = command("explain", path, tmp_path / "no.png", "--out", tmp_path / "out")
    assert answer.code == 2
    assert "no.png" in answer.error
    assert not [*(tmp_path / "out").glob("*")]


def test_int8_needs_ranges_for_the_outputs_that_are_asked_for(looker, tmp_path):
    with pytest.raises(ConfigError, match="--calibration"):
        export(looker, "tflite-int8", tmp_path, outputs=("attention",))
    assert not [*tmp_path.glob("*")]
