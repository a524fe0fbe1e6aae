"""A killed run goes on to the same weights; a run of something else is refused.

The whole file also runs on JAX or torch, with ``EDGEVIT_TEST_BACKEND=jax`` in the environment.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest

from edgevit.base import interrupt
from edgevit.base.errors import ConfigError, ModelFileError, OutputError
from edgevit.models.build import build, plan_model
from edgevit.models.weights import load_weights, save_weights
from edgevit.training.recipe import OPTIMIZERS, Recipe
from edgevit.training.run import TrainingResult, compile_model, train_model

pytestmark = pytest.mark.usefixtures("fast_steps")

RECIPE = Recipe(
    "test",
    epochs=3,
    batch_size=8,
    learning_rate=5e-3,
    warmup_epochs=1.0,
    ema_momentum=0.8,
    config={"dropout": 0.2, "drop_path": 0.3},
    crop_padding=2,
    cutmix_probability=0.5,
    mixing_until=1.0,
)
SIZES = {"image_size": 16, "dim": 48, "num_div": 12, "depths": (2,)}
NAMES = ("class0", "class1", "class2")
CLOSE = {"rtol": 0, "atol": 1e-6}
AFTER_EPOCH = ["checkpoint.npz", "curves.png", "log.csv"]


class Killed(Exception):
    """Stands for the kill."""


def kill_at(epoch: int, step: int):
    """A progress callback that dies in an epoch (from 0) after a step (from 1)."""

    def progress(now: int, done: int, steps: int, values: dict) -> None:
        if (now, done) == (epoch, step):
            raise Killed

    return progress


@pytest.fixture(scope="module")
def data(drawn_dataset):
    return drawn_dataset(16, 16), drawn_dataset(10, 16, seed=1)


def run(data, folder: Path, recipe=RECIPE, sizes=SIZES, **options) -> TrainingResult:
    given = {"seed": 7, "fields": None if "initial" in options else sizes, **options}
    return train_model("shiftvit", given.pop("form", None), recipe, *data, folder, **given)


def initial_weights(path: Path, change=lambda weight: weight) -> Path:
    """A file of weights of the network that is trained here."""
    plan = plan_model("shiftvit", input_size=(16, 16), num_classes=3, **SIZES)
    weights = [change(weight) for weight in build("shiftvit", num_classes=3, **SIZES).get_weights()]
    save_weights(path, plan, weights, NAMES, "float32")
    return path


@pytest.fixture(scope="module")
def straight(data, tmp_path_factory) -> tuple[TrainingResult, Path]:
    """The run that nobody killed, and its folder; copies/N holds what it had after N epochs."""
    folder = tmp_path_factory.mktemp("straight") / "run"

    def keep_copies(epoch: int, step: int, steps: int, values: dict) -> None:
        if epoch > 0 and step == 1:
            shutil.copytree(folder, folder.parent / "copies" / str(epoch))

    return run(data, folder, progress=keep_copies), folder


@pytest.fixture
def copy_of(straight, tmp_path):
    """A function (epochs) -> a folder like the straight run's after so many epochs."""

    def copy(epochs: int) -> Path:
        folder = straight[1]
        source = folder if epochs == 3 else folder.parent / "copies" / str(epochs)
        return shutil.copytree(source, tmp_path / f"copy-{epochs}")

    return copy


def state_of(folder: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Weights and optimizer of a checkpoint, and what it says of itself without the clock."""
    with np.load(folder / "checkpoint.npz") as arrays:
        values = {name: arrays[name] for name in arrays.files if name != "state"}
        state = json.loads(str(arrays["state"]))
    for row in state["log"]:
        del row["seconds"]
    return values, state


def live_weights(folder: Path) -> list[np.ndarray]:
    values, _ = state_of(folder)
    return [values[name] for name in sorted(values) if name.startswith("weight_")]


def assert_equal_states(folder: Path, other: Path) -> None:
    values, state = state_of(folder)
    expected_values, expected_state = state_of(other)
    assert state == expected_state
    assert values.keys() == expected_values.keys()
    for name, value in values.items():
        np.testing.assert_allclose(value, expected_values[name], err_msg=name, **CLOSE)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- the same trajectory --------------------------------------------------------------------------


def test_a_killed_run_resumes_to_the_same_weights(data, straight, tmp_path):
    expected, folder = straight
    with pytest.raises(Killed):
        run(data, tmp_path, progress=kill_at(1, 1))
    assert files_in(tmp_path) == AFTER_EPOCH
    assert_equal_states(tmp_path, folder.parent / "copies" / "1")
    trained: list[int] = []
    result = run(data, tmp_path, progress=lambda now, *_: trained.append(now))
    assert sorted(set(trained)) == [1, 2]  # complete epochs are not done again
    assert_equal_states(tmp_path, folder)
    for value, wanted in zip(result.weights, expected.weights, strict=True):
        np.testing.assert_allclose(value, wanted, **CLOSE)
    assert result.validation_top1 == expected.validation_top1


def test_a_signal_whose_exception_was_swallowed_still_ends_the_run(data, tmp_path):
    """As numpy does when it asks a JAX array for its values."""

    def swallowed(epoch: int, step: int, steps: int, values: dict) -> None:
        if (epoch, step) == (1, 1):
            with contextlib.suppress(SystemExit):
                interrupt.stop(SystemExit(143))

    with pytest.raises(SystemExit):
        run(data, tmp_path, progress=swallowed)
    with open(tmp_path / "log.csv", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 1
    interrupt.check()  # said once


def test_a_finished_run_is_not_trained_again(data, straight, copy_of):
    expected, _ = straight
    result = run(data, copy_of(3), progress=kill_at(2, 1))  # would die if it trained
    for value, wanted in zip(result.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(value, wanted)
    assert result.log == expected.log


def test_the_trajectory_depends_on_the_seed(data, straight, tmp_path):
    with pytest.raises(Killed):
        run(data, tmp_path, progress=kill_at(1, 1), seed=8)
    others = live_weights(straight[1].parent / "copies" / "1")
    for weight, other in zip(live_weights(tmp_path), others, strict=True):
        assert not np.allclose(weight, other, **CLOSE)


# --- what a run leaves ----------------------------------------------------------------------------


def test_the_result_is_the_moving_average_and_its_accuracy(data, straight):
    result, folder = straight
    live = live_weights(folder)
    assert any(not np.allclose(a, b, **CLOSE) for a, b in zip(result.weights, live, strict=True))
    model = build("shiftvit", preprocess=True, input_size=(16, 16), num_classes=3, **SIZES)
    model.set_weights(result.weights)
    logits = keras.ops.convert_to_numpy(model(data[1].images, training=False)["logits"])
    top1 = 100 * np.mean(logits.argmax(axis=-1) == data[1].labels)
    assert result.validation_top1 == pytest.approx(top1, abs=0.01)


def test_averaging_and_validating_leave_the_trained_weights_alone(data, straight, tmp_path):
    with pytest.raises(Killed):
        run(data, tmp_path, recipe=replace(RECIPE, ema_momentum=0.0), progress=kill_at(1, 1))
    averaged = live_weights(straight[1].parent / "copies" / "1")
    for weight, other in zip(live_weights(tmp_path), averaged, strict=True):
        np.testing.assert_allclose(weight, other, **CLOSE)


def test_an_epoch_ends_with_the_averaged_weights(data, straight, tmp_path):
    seen = []
    result = run(data, tmp_path, epoch_end=lambda epoch, plan, weights: seen.append(weights))
    assert len(seen) == 3
    for value, wanted in zip(seen[-1], result.weights, strict=True):
        np.testing.assert_allclose(value, wanted, **CLOSE)
    assert result.log[-1]["loss"] == straight[0].log[-1]["loss"]


def test_a_run_leaves_log_curves_weights_and_the_recipe_as_followed(straight):
    result, folder = straight
    assert files_in(folder) == sorted([*AFTER_EPOCH, "recipe.json", "weights.safetensors"])
    with (folder / "log.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["epoch", "loss", "train_top1", "validation_top1", "seconds"]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in result.log]
    document = json.loads((folder / "recipe.json").read_text())
    assert document["recipe"] == json.loads(json.dumps(asdict(RECIPE)))
    assert (document["seed"], document["initial"], document["teachers"]) == (7, None, [])
    assert (document["train_images"], document["validation_images"]) == (16, 10)
    assert document["backend"] == keras.backend.backend()
    found = load_weights(folder / "weights.safetensors")
    assert found.class_names == NAMES
    for value, wanted in zip(found.network.get_weights(), result.weights, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-3, atol=1e-6)  # float16


def test_training_lowers_the_loss(data, tmp_path):
    still = {"crop_padding": 0, "flip": False, "cutmix_probability": 0.0, "config": {}}
    recipe = replace(RECIPE, epochs=4, learning_rate=0.02, **still)
    log = run(data, tmp_path, recipe=recipe).log
    assert log[-1]["loss"] < 0.9 * log[0]["loss"]


def test_the_rate_warms_up_and_follows_a_cosine_to_zero():
    plan = plan_model("shiftvit", input_size=(16, 16), num_classes=3, **SIZES)
    recipe = replace(RECIPE, epochs=5, learning_rate=0.8)
    optimizer = compile_model(plan, recipe, steps=10)[1].optimizer
    expected = {0: 0.08, 5: 0.44, 10: 0.8, 30: 0.4, 50: 0.0, 99: 0.0}
    found = {}
    for step in expected:
        optimizer.iterations.assign(step)
        found[step] = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weight_decay_spares_biases_and_norms(data, tmp_path, optimizer):
    """With gradients clipped to nothing, decay is the only force left."""
    initial = initial_weights(tmp_path / "half.safetensors", lambda one: np.full_like(one, 0.5))
    recipe = replace(
        RECIPE,
        epochs=1,
        learning_rate=0.5,
        weight_decay=0.1,
        warmup_epochs=0.0,
        clip_norm=1e-20,
        ema_momentum=0.0,
        optimizer=optimizer,
    )
    result = run(data, tmp_path / "run", recipe=recipe, initial=initial)
    rates = [0.5 * (1 + np.cos(np.pi * step / 2)) / 2 for step in range(2)]
    decayed = 0.5 * np.prod([1 - 0.1 * rate for rate in rates])
    for weight in result.weights:
        expected = decayed if weight.ndim > 1 else 0.5  # kernels; biases, gammas and betas
        np.testing.assert_allclose(weight, expected, rtol=1e-5)


def test_sgd_has_the_momentum_of_nesterov():
    plan = plan_model("shiftvit", input_size=(16, 16), num_classes=3, **SIZES)
    _, model = compile_model(plan, replace(RECIPE, optimizer="sgd"), steps=1)
    assert (model.optimizer.momentum, model.optimizer.nesterov) == (0.9, True)


def test_bfloat16_is_the_precision_of_the_products_and_not_of_the_weights():
    plan = plan_model("shiftvit", input_size=(16, 16), num_classes=3, **SIZES)
    network, _ = compile_model(plan, RECIPE, steps=1, precision="bfloat16")
    assert {layer.compute_dtype for layer in network.layers if layer.weights} == {"bfloat16"}
    assert {weight.dtype for weight in network.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


# --- refusals -------------------------------------------------------------------------------------


def test_a_recipe_that_sets_a_field_of_another_network_is_refused(data, tmp_path):
    recipe = replace(RECIPE, config={"patch_dropout": 0.5})
    with pytest.raises(ConfigError, match="sets patch_dropout, which shiftvit does not have"):
        run(data, tmp_path, recipe)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": replace(RECIPE, learning_rate=1e-3)}, "recipe"),
        ({"recipe": replace(RECIPE, epochs=4)}, "recipe"),
        ({"seed": 8}, "seed"),
        ({"sizes": {**SIZES, "dim": 60}}, "config"),
        ({"form": "tutorial"}, "config"),
        ({"precision": "bfloat16"}, "precision"),
        ({"data": 3}, "data"),
    ],
    ids=["recipe", "epochs", "seed", "width", "form", "precision", "data"],
)
def test_the_checkpoint_of_another_run_is_refused_and_kept(
    change, named, data, copy_of, drawn_dataset
):
    folder = copy_of(3)
    before = (folder / "checkpoint.npz").read_bytes()
    if "data" in change:
        data, change = (drawn_dataset(16, 16, seed=change["data"]), data[1]), {}
    with pytest.raises(ConfigError) as caught:
        run(data, folder, **change)
    message = str(caught.value)
    assert f"differs in {named})" in message
    assert "\n" not in message
    assert (folder / "checkpoint.npz").read_bytes() == before


@pytest.mark.parametrize(
    "damage", ["cut", "empty", "text", "array", "other npz", "state", "weight"]
)
def test_a_damaged_checkpoint_is_refused(damage, data, straight, tmp_path):
    path = tmp_path / "checkpoint.npz"
    whole = (straight[1] / "checkpoint.npz").read_bytes()
    if damage == "array":
        with path.open("wb") as stream:
            np.save(stream, np.zeros(3))
    elif damage == "other npz":
        np.savez(path, x=np.zeros(3))
    else:
        place = {"state": whole.rindex('"epoch"'.encode("utf-32-le")), "weight": len(whole) // 2}
        flipped = bytearray(whole)
        flipped[place.get(damage, 0)] ^= 0xFF
        contents = {"cut": whole[:-1000], "empty": b"", "text": b"no npz"}
        path.write_bytes(contents.get(damage, flipped))
    with pytest.raises(
        ModelFileError, match=r"checkpoint\.npz: the checkpoint is damaged"
    ) as caught:
        run(data, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_loss_that_is_not_finite_stops_and_leaves_no_checkpoint(data, tmp_path):
    hot = replace(RECIPE, learning_rate=1e30, warmup_epochs=0.0)
    with pytest.raises(ConfigError, match=r"the loss is .* after epoch 1") as caught:
        run(data, tmp_path, hot)
    assert "\n" not in str(caught.value)
    assert files_in(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_an_output_error(data, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        run(data, tmp_path / "file" / "run")


def test_a_full_disk_keeps_the_checkpoint_of_the_epoch_before(data, copy_of, monkeypatch):
    folder = copy_of(2)
    before = (folder / "checkpoint.npz").read_bytes()

    def fsync(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match="No space left on device"):
        run(data, folder)
    assert (folder / "checkpoint.npz").read_bytes() == before
    assert files_in(folder) == AFTER_EPOCH


# --- the other backends ---------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="this is already another one")
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_it_is_the_same_on_another_backend(backend, tmp_path):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {
        **os.environ,
        "EDGEVIT_TEST_BACKEND": backend,
        # Compile quickly, and each program once: the runs repeat the same two.
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    names = "resumes_to_the_same_weights or ends_with_the_averaged or moving_average"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    finished = subprocess.run(
        [*command, "-k", names, "--basetemp", str(tmp_path / "runs")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "3 passed" in finished.stdout
