"""The same export with the same versions gives the same bytes, in this process and in another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevit.base.files import digest_path
from edgevit.core.format import Format
from edgevit.core.golden_images import draw_images
from edgevit.core.manifest import read_manifest_file
from edgevit.data.calibration import digest_inputs
from edgevit.formats.registry import TARGETS, open_session
from edgevit.verbs.export import export, export_all

STABLE = [name for name, target in TARGETS.items() if target.format is not Format.SAVEDMODEL]


@pytest.fixture(scope="module")
def again(tiny_run, tmp_path_factory) -> dict[str, Path]:
    """Every target once more, in the opposite order."""
    targets = [*reversed(TARGETS.values())]
    outcomes = export_all(tiny_run, targets, tmp_path_factory.mktemp("again"))
    return {outcome.target.name: outcome.artifact.path for outcome in outcomes}


@pytest.mark.parametrize("name", STABLE)
def test_a_second_export_gives_the_same_bytes(exported, again, name):
    assert again[name].read_bytes() == exported[name].read_bytes()


@pytest.mark.parametrize("name", STABLE)
def test_the_manifests_are_the_same_bytes_as_well(exported, again, name):
    beside = [Path(f"{files[name]}.manifest.json").read_bytes() for files in (exported, again)]
    assert beside[0] == beside[1]


@pytest.mark.parametrize("name", ["tflite-int8", "onnx-float32"])
def test_another_process_writes_the_same_bytes(exported, exported_by_process, name):
    answer, folder = exported_by_process
    assert answer.code == 0, answer.err
    path = folder / exported[name].name
    assert path.read_bytes() == exported[name].read_bytes()


def test_a_savedmodel_holds_the_same_variables_and_gives_the_same_logits(
    exported, again, raw_images
):
    import tensorflow as tf

    paths = [files["savedmodel"] for files in (exported, again)]
    readers = [tf.train.load_checkpoint(str(path / "variables" / "variables")) for path in paths]
    shapes = [reader.get_variable_to_shape_map() for reader in readers]
    assert shapes[0] == shapes[1]
    assert len(shapes[0]) > 10
    for name in shapes[0]:
        if name == "_CHECKPOINTABLE_OBJECT_GRAPH":  # TensorFlow's own, in any order
            continue
        values = [reader.get_tensor(name) for reader in readers]
        assert np.array_equal(*values), name
    logits = []
    for path in paths:
        with open_session(path) as session:
            logits.append(session.run(raw_images)["logits"])
    assert logits[0].tobytes() == logits[1].tobytes()


@pytest.mark.parametrize("name", ["tflite-int8", "onnx-int8"])
def test_the_order_of_calibration_images_leaves_no_trace(tiny_run, tmp_path, name):
    images = draw_images(32, (12, 12), seed=9)
    orders = {"forth": images, "back": images[::-1]}
    paths = {
        key: export(tiny_run, name, tmp_path / key, calibration=values).artifact.path
        for key, values in orders.items()
    }
    with open_session(paths["forth"]) as forth, open_session(paths["back"]) as back:
        np.testing.assert_array_equal(forth.run(images)["logits"], back.run(images)["logits"])
        held = [
            {picture.tobytes() for picture in session.reference.own.inputs["images"]}
            for session in (forth, back)
        ]
    assert held[0] == held[1]
    kept = np.stack([image for image in images if image.tobytes() not in held[0]])
    assert len(kept) == 32 - len(held[0])
    for path in paths.values():
        identity = read_manifest_file(path)["calibration"]["images_sha256"]
        assert identity == digest_inputs({"images": kept})


@pytest.mark.parametrize("name", ["tflite-int8", "onnx-int8"])
def test_so_few_images_that_none_is_held_out_give_the_ranges_that_all_of_them_give(
    tiny_run, tmp_path, name
):
    images = draw_images(8, (12, 12), seed=9)
    path = export(tiny_run, name, tmp_path, calibration=images, keep_failed=True).artifact.path
    with open_session(path) as session:
        assert session.reference.own is None
    identity = read_manifest_file(path)["calibration"]
    assert (identity["images"], identity["images_sha256"]) == (
        8,
        digest_inputs({"images": images}),
    )


def test_the_byte_check_sees_other_weights(tiny_run, exported, tmp_path):
    from edgevit.models.weights import load_weights, save_weights

    trained = load_weights(tiny_run / "weights.safetensors")
    weights = trained.network.get_weights()
    weights[0] = weights[0] * 1.0001
    path = tmp_path / "weights.safetensors"
    save_weights(path, trained.plan, weights, trained.class_names, "float32")
    other = export(path, "onnx-float32", tmp_path / "out").artifact
    assert other.sha256 != digest_path(exported["onnx-float32"])
