"""CONTRIBUTING.md's package adds a target, a runtime, an architecture and a task by entry point."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgevit
from document_blocks import read_example
from edgevit.base.errors import ConfigError, UnknownNameError
from edgevit.core.class_names import CIFAR10_CLASSES
from edgevit.core.golden_images import draw_images
from edgevit.formats.registry import RUNTIMES, TARGETS, find_runtime, find_target, find_targets
from edgevit.models import MODELS, find_model, is_known, split_name
from edgevit.tasks import find_task

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder that pip installed the package into, from the document and nothing else."""
    folder = tmp_path_factory.mktemp("plugin")
    example = folder / "source" / "edgevit_example"
    example.mkdir(parents=True)
    (example / "__init__.py").touch()
    for name, text in read_example((ROOT / "CONTRIBUTING.md").read_text()).items():
        if name.startswith(("edgevit_example/", "pyproject.toml")):
            (folder / "source" / name).write_text(text)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command += ["--no-build-isolation", "--target", folder / "site", folder / "source"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder / "site"


@pytest.fixture
def install(monkeypatch):
    """A function that puts a folder of packages first on the path, for one test."""
    yield monkeypatch.syspath_prepend
    for name in [name for name in sys.modules if name.partition(".")[0] == "edgevit_example"]:
        del sys.modules[name]


@pytest.fixture
def plugin(install, installed) -> None:
    """The package is installed, for one test."""
    install(installed)


@pytest.fixture
def run(plugin, tmp_path) -> Path:
    """A training run of the package's architecture, with seeded weights."""
    import keras

    from edgevit.models.build import build_plan, plan_model
    from edgevit.models.weights import WEIGHTS_FILE, save_weights

    keras.utils.set_random_seed(3)
    plan = plan_model("averagenet", variant="small")
    weights = build_plan(plan).get_weights()
    save_weights(tmp_path / "run" / WEIGHTS_FILE, plan, weights, CIFAR10_CLASSES, "float32")
    return tmp_path / "run"


def test_without_the_package_there_is_nothing_of_it():
    assert "tflite-halved" not in TARGETS
    for find, name in (
        (find_target, "tflite-halved"),
        (find_runtime, "litert-doubled"),
        (find_model, "averagenet"),
        (find_task, "counting"),
    ):
        with pytest.raises(UnknownNameError):
            find(name)


def test_a_process_lists_what_the_package_offers(installed, command_process):
    path = f"{ROOT}{os.pathsep}{installed}"
    rows = command_process("targets", "--json", PYTHONPATH=path).document
    assert [row["name"] for row in rows] == [*TARGETS, "tflite-halved"]
    assert rows[-1]["runtime"] == "litert-doubled"
    models = command_process("models", "--json", PYTHONPATH=path).document
    assert [row["name"] for row in models] == [*MODELS, "averagenet"]


def test_its_architecture_arrives_at_its_target_in_its_runtime(run, command, tmp_path):
    images = draw_images(20, (4, 4), seed=5)
    dataset, labels = tmp_path / "data.npz", np.arange(20) % 10
    np.savez(dataset, x_train=images, y_train=labels, x_test=images, y_test=labels)
    options = ("--format", "tflite-halved,tflite-float32", "--out", tmp_path / "out")
    answer = command("export", run, *options, "--json")
    assert answer.code == 0, answer.err
    halved, plain = answer.document
    assert halved["path"].endswith("averagenet-small-tflite-halved.tflite")
    found = command("verify", halved["path"], "--json").document
    assert (found["verdict"], found["runtime"]) == ("pass", "litert-doubled")
    assert found["target"] == "tflite-halved"
    data = ("--data", dataset, "--limit", "10")
    answer = command("verify", halved["path"], *data, "--json")
    assert answer.code == 0, answer.err
    found = answer.document
    assert found["accuracy"]["runtime"] == "litert-doubled"
    alone = command("verify", halved["path"], "--runtime", "litert", "--json")
    assert (alone.code, alone.document["verdict"]) == (1, "fail")
    twice = command("verify", plain["path"], "--runtime", "litert-doubled", "--json")
    assert (twice.code, twice.document["verdict"]) == (1, "fail")


def test_its_runtime_is_opened_by_its_name(run, tmp_path):
    path = edgevit.export(run, "tflite-halved", tmp_path / "out").artifact.path
    with edgevit.open_session(path, "litert-doubled") as session:
        assert session.runtime == "litert-doubled"


def test_its_task_says_what_an_output_is_and_judges_it(plugin, command, tmp_path):
    import keras

    from edgevit.frontend.opening import open_source

    images = keras.Input((4, 4, 3), name="images")
    x = keras.layers.GlobalAveragePooling2D()(images)
    counts = keras.layers.Dense(1, kernel_initializer="zeros", bias_initializer="ones", name="head")
    model = keras.Model(images, counts(x))
    source = open_source(model, task="counting")
    assert source.task == "counting"
    assert [output.role for output in source.signature.outputs] == ["values"]
    model.layers[-1].bias.assign([3.2])
    outcome = edgevit.export(model, "tflite-float32", tmp_path, task="counting", scaling="raw")
    assert outcome.verdict is edgevit.Verdict.PASS
    Image.fromarray(draw_images(1, (4, 4), seed=5)[0]).save(tmp_path / "picture.png")
    answer = command("predict", outcome.artifact.path, tmp_path / "picture.png")
    assert answer.out == f"{tmp_path / 'picture.png'}: about 3\n"
    (tmp_path / "counts.csv").write_text("file,rings\npicture.png,3\npicture.png,2\n")
    answer = command("evaluate", outcome.artifact.path, "--data", tmp_path / "counts.csv", "--json")
    assert answer.document["task"] == "counting"
    assert answer.document["rows"]["rings"]["mae"] == 0.5  # 3.2 is 3: right once, then off by one


def test_its_names_are_among_the_near_misses_and_all_is_built_in(plugin):
    for find, typed, name in (
        (find_target, "tflite-halve", "tflite-halved"),
        (find_runtime, "litert-double", "litert-doubled"),
        (find_model, "averagnet", "averagenet"),
        (find_task, "countin", "counting"),
    ):
        with pytest.raises(UnknownNameError, match=name):
            find(typed)
    assert [row.name for row in find_targets("all")] == [*TARGETS]
    assert split_name("averagenet:small") == split_name("averagenet-small")
    assert split_name("averagenet") == ("averagenet", None)
    assert is_known("averagenet")
    assert not is_known("averagenet:large")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("from edgevit.core", "import nowhere\nfrom edgevit.core", "No module named 'nowhere'"),
        ("TARGET = Target(", "TARGET = dict(name='x') or Target(", "no Target of this name"),
        ('    "tflite-halved",', '    "tflite-quartered",', "no Target of this name"),
    ],
)
def test_a_broken_package_is_named_in_one_line(
    install, installed, tmp_path, command, old, new, words
):
    broken = tmp_path / "site"
    shutil.copytree(installed, broken, ignore=shutil.ignore_patterns("__pycache__"))
    rows = broken / "edgevit_example" / "target.py"
    rows.write_text(rows.read_text().replace(old, new, 1))
    install(broken)
    for find in (find_target, find_targets):
        with pytest.raises(ConfigError, match="the plug-in edgevit-example") as caught:
            find("tflite-halved")
        assert words in str(caught.value)
    answer = command("targets")
    assert answer.code == 2
    assert "the plug-in edgevit-example" in answer.error
    assert find_target("tflite-int8") is TARGETS["tflite-int8"]  # nothing is loaded for it
    assert find_runtime("litert") is RUNTIMES["litert"]
