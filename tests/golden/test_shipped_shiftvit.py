"""The shipped ShiftViT, at full size: what `make demo` does, and what the model card says."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import edgevit
from edgevit.core.probe_images import draw_images
from edgevit.export.record_reference import float_logits
from edgevit.models import ARTIFACTS
from edgevit.pipeline import open_source
from edgevit.verify.metrics import top_k

FOLDER = ARTIFACTS / "shiftvit"


@pytest.fixture(scope="module")
def source():
    return open_source("shiftvit")


@pytest.fixture(scope="module")
def int8(tmp_path_factory):
    return edgevit.export("shiftvit", "tflite-int8", tmp_path_factory.mktemp("exports"))


def test_weights_config_card_log_and_ranges_ship():
    names = {"weights.safetensors", "ranges.json", "README.md", "log.csv", "curves.png"}
    assert names <= {path.name for path in FOLDER.iterdir()}
    assert (FOLDER / "weights.safetensors").stat().st_size < 25e6  # float16


def test_the_shipped_network_is_the_paper_form_in_the_tutorials_size(source):
    assert source.network.count_params() == 11_690_602
    assert len(source.class_names) == 10
    assert source.preprocess.input_size == (32, 32)
    assert source.preprocess.network_size == (48, 48)


def test_ranges_belong_to_the_shipped_weights(source):
    assert source.ranges is not None
    assert source.ranges.weights_sha256 == source.weights_sha256
    assert source.ranges.images == 300
    assert source.onnx_ranges.weights_sha256 == source.weights_sha256
    assert source.onnx_ranges.images_sha256 == source.ranges.images_sha256


def test_int8_needs_no_dataset_and_passes(int8):
    assert int8.verdict == "pass"
    assert int8.artifact.size_bytes <= 13e6
    found = edgevit.inspect(int8.artifact.path)
    assert found.integer_only
    assert found.float_ops == {}
    assert found.custom_ops == ()
    assert [spec.dtype for spec in found.inputs] == ["uint8"]


def test_int8_onnx_needs_no_dataset_and_passes(tmp_path):
    outcome = edgevit.export("shiftvit", "onnx-int8", tmp_path)
    assert outcome.verdict == "pass"
    assert outcome.artifact.size_bytes <= 13e6
    found = edgevit.inspect(outcome.artifact.path)
    assert found.ops["QuantizeLinear"] >= 37  # one before each layer with weights
    assert found.tensor_types["int8"] >= 37


def test_golden_images_spread_over_several_classes(source):
    logits = float_logits(source, draw_images(256, (32, 32)))
    counts = np.bincount(np.argmax(logits, axis=-1), minlength=10)
    assert np.count_nonzero(counts) >= 5
    assert counts.max() <= 0.7 * counts.sum()


def test_float_accuracy_is_what_the_card_says(source, cifar_test):
    card = (FOLDER / "README.md").read_text()
    stated = float(re.search(r"\| test .*?\| ([\d.]+) % \|", card)[1])
    assert stated > 76.38  # what the tutorial publishes
    chosen = np.random.default_rng(1).permutation(len(cifar_test))[:600]
    measured = top_k(float_logits(source, cifar_test.images[chosen]), cifar_test.labels[chosen], 1)
    deviation = 100 * np.sqrt(stated / 100 * (1 - stated / 100) / len(chosen))
    assert abs(measured - stated) < 4 * deviation


def test_int8_file_classifies_real_images_as_float_does(source, int8, cifar_test):
    chosen = np.random.default_rng(2).permutation(len(cifar_test))[:600]
    images, labels = cifar_test.images[chosen], cifar_test.labels[chosen]
    expected = float_logits(source, images)
    with edgevit.open_session(int8.artifact.path) as session:
        logits = session.run(images)["logits"]
    assert np.mean(np.argmax(logits, -1) == np.argmax(expected, -1)) > 0.94
    assert abs(top_k(logits, labels, 1) - top_k(expected, labels, 1)) < 2.0


def test_the_recipe_beside_the_weights_is_one_that_can_be_asked_for():
    from dataclasses import asdict

    from edgevit.training.recipe import Recipe, find_recipe

    run = json.loads((FOLDER / "recipe.json").read_text())
    known, plain = (
        json.loads(json.dumps(asdict(recipe)))
        for recipe in (find_recipe(run["recipe"]["name"]), Recipe(name=""))
    )
    assert {**plain, **run["recipe"]} == known  # what it does not say came later, with a default
