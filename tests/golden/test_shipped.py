"""Every network that ships: complete, of one piece, and as accurate as its card says."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import edgevit
from edgevit.core.format import Format
from edgevit.core.golden_images import draw_images
from edgevit.frontend.opening import open_source
from edgevit.frontend.record_reference import float_outputs
from edgevit.models.shipped import ARTIFACTS
from edgevit.models.weights import load_model
from edgevit.training.recipe import open_recipe
from edgevit.training.run import compile_model
from edgevit.verification.metrics import top_k

SHIPPED = sorted(folder.name for folder in ARTIFACTS.iterdir() if folder.is_dir())
FILES = {
    "weights.safetensors",
    "ranges.json",
    "ranges-onnx.json",
    "recipe.json",
    "README.md",
    "log.csv",
    "curves.png",
}


# Percent of the test images below which weights do not ship: what those before them had, or the
# figure that was asked for where they have it.
LEAST = {
    "shiftvit": 86.0,
    "patchconvnet": 88.0,
    "focalnet": 86.0,
    "vit": 80.0,
    "gcvit-cifar64": 82.0,
    "shiftvit-nano": 85.0,
    "patchconvnet-nano": 82.0,
    "resnet-wide": 88.0,
    "resnet-mlperf": 86.0,
}


@pytest.fixture(scope="module", params=SHIPPED)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def source(name):
    return open_source(name)


def stated_accuracy(name: str) -> float:
    """Percent of the test images, as the model card says."""
    card = (ARTIFACTS / name / "README.md").read_text()
    return float(re.search(r"\| test .*?\| ([\d.]+) % \|", card)[1])


def test_shiftvit_and_its_nano_are_among_them():
    assert {"shiftvit", "shiftvit-nano"} <= {*SHIPPED}


def test_weights_ranges_card_and_log_ship(name):
    assert {path.name for path in (ARTIFACTS / name).iterdir()} >= FILES


def test_ranges_belong_to_the_shipped_weights(source):
    records = [source.ranges[kind] for kind in (Format.TFLITE, Format.ONNX)]
    assert {record.weights_sha256 for record in records} == {source.weights_sha256}
    assert records[0].images == 300
    assert len({record.images_sha256 for record in records}) == 1


def test_golden_images_spread_over_several_classes(source):
    logits = float_outputs(source, draw_images(96, (32, 32)))["logits"]
    counts = np.bincount(np.argmax(logits, axis=-1), minlength=10)
    assert np.count_nonzero(counts) >= 5
    assert counts.max() <= 0.7 * counts.sum()


@pytest.mark.parametrize("images", [200, pytest.param(2000, marks=pytest.mark.long)])
def test_float_accuracy_is_what_the_card_says(name, source, cifar_test, images):
    stated = stated_accuracy(name)
    chosen = np.random.default_rng(1).permutation(len(cifar_test))[:images]
    logits = float_outputs(source, cifar_test.images[chosen])["logits"]
    measured = top_k(logits, cifar_test.labels[chosen], 1)
    deviation = 100 * np.sqrt(stated / 100 * (1 - stated / 100) / len(chosen))
    assert abs(measured - stated) < 4 * deviation


def test_the_tool_that_ships_weights_tells_the_runs_of_a_recipe(monkeypatch):
    monkeypatch.syspath_prepend(ARTIFACTS.parent / "tools")
    import ship_weights

    run = json.loads((ARTIFACTS / "resnet-wide" / "recipe.json").read_text())
    (told,) = ship_weights.describe_runs(run, "resnet:wide")
    assert told.startswith("1. Recipe `cpu-taught-fresh`, seed 0, from fresh weights: 20 of 20")
    assert "Run by" not in told
    (told,) = ship_weights.describe_runs({**run, "trainer": "hand"}, "resnet:wide")
    assert "Run by hand. The same recipe here:\n   `edgevit train resnet:wide" in told


def test_no_weights_ship_that_are_worse_than_those_before(name):
    assert stated_accuracy(name) > LEAST[name]


def quick_first(names: list[str]) -> list:
    """The nanos, which take seconds; with -m long also the others, which take half a minute."""
    return [
        pytest.param(name, marks=() if name.endswith("-nano") else pytest.mark.long)
        for name in names
    ]


@pytest.mark.parametrize("name", quick_first([name for name in SHIPPED if name != "shiftvit"]))
def test_int8_needs_no_dataset_and_passes(name, tmp_path):
    """ShiftViT's has a file of its own."""
    outcome = edgevit.export(name, "tflite-int8", tmp_path)
    assert outcome.verdict == "pass"
    assert edgevit.inspect(outcome.artifact.path).integer_only


def test_the_recipe_beside_the_weights_trains_the_network_that_it_was_followed_for(name):
    recipe, _ = open_recipe(str(ARTIFACTS / name))
    run = json.loads((ARTIFACTS / name / "recipe.json").read_text())
    assert recipe.name == run["recipe"]["name"]
    plan = load_model(name).plan
    network, _ = compile_model(plan, recipe, steps=10)
    assert network.output_shape == (None, plan.config.num_classes)
