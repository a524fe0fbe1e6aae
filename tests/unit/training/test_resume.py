"""A killed run goes on to the same weights; a run of something else is refused.

The whole file also runs on JAX, with ``EDGEVIT_TEST_BACKEND=jax`` in the environment.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from edgevit.base import interrupt
from edgevit.base.errors import ConfigError, ModelFileError, OutputError
from edgevit.models.build import build, plan_model
from edgevit.training import loop
from edgevit.training.loop import TrainingResult, predict, train, with_average
from edgevit.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("fast_steps")

RECIPE = Recipe(
    "test",
    epochs=3,
    batch_size=8,
    learning_rate=5e-3,
    warmup_epochs=1,
    ema_momentum=0.8,
    config={"dropout": 0.2, "drop_path": 0.3},
    resolutions=((0, 16), (2, 20)),
    crop_padding=2,
    cutmix_probability=0.5,
    mixing_until=1.0,
)
SIZES = {"image_size": 16, "dim": 48, "num_div": 12, "depths": (2,), "num_classes": 3}
PLAN = plan_model("shiftvit", input_size=(16, 16), **SIZES)
CLOSE = {"rtol": 0, "atol": 1e-6}


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


def run(data, folder: Path, recipe=RECIPE, plan=PLAN, **options) -> TrainingResult:
    return train(plan, recipe, *data, folder, **{"seed": 7, **options})


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


def assert_equal_states(folder: Path, other: Path) -> None:
    values, state = state_of(folder)
    expected_values, expected_state = state_of(other)
    assert state == expected_state
    assert values.keys() == expected_values.keys()
    for name, value in values.items():
        np.testing.assert_allclose(value, expected_values[name], err_msg=name, **CLOSE)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


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


# --- the same trajectory --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epoch", "step", "complete"),
    [
        pytest.param(1, 1, 1, id="in the second epoch"),
        pytest.param(2, 1, 2, id="after the change of resolution"),
    ],
)
def test_a_killed_run_resumes_to_the_same_weights(epoch, step, complete, data, straight, tmp_path):
    expected, folder = straight
    with pytest.raises(Killed):
        run(data, tmp_path, progress=kill_at(epoch, step))
    assert files_in(tmp_path) == ["checkpoint.npz", "log.csv"]
    assert_equal_states(tmp_path, folder.parent / "copies" / str(complete))
    trained: list[int] = []
    result = run(data, tmp_path, progress=lambda now, *_: trained.append(now))
    assert sorted(set(trained)) == list(range(complete, 3))  # complete epochs are not done again
    assert_equal_states(tmp_path, folder)
    for value, wanted in zip(result.weights, expected.weights, strict=True):
        np.testing.assert_allclose(value, wanted, **CLOSE)
    assert result.validation_top1 == expected.validation_top1


def test_the_optimizer_counts_its_steps_across_the_change_of_resolution(straight):
    values, _ = state_of(straight[1])
    counters = [
        int(value)
        for name, value in values.items()
        if name.startswith("optimizer_") and value.dtype.kind in "iu" and value.ndim == 0
    ]
    assert counters == [3 * 2]  # epochs x batches


def test_where_checkpoints_are_slow_some_epochs_go_without_but_never_the_last(
    data, tmp_path, monkeypatch
):
    written = []
    own = loop.write_checkpoint

    def slow(folder, model, epoch, identity, log):
        written.append(epoch)
        own(folder, model, epoch, identity, log)

    monkeypatch.setattr(loop, "write_checkpoint", slow)
    monkeypatch.setattr(loop, "SLOW_CHECKPOINT", -1.0)
    monkeypatch.setattr(loop, "PARTS", 1e9)
    recipe = replace(RECIPE, epochs=5, resolutions=((0, 16), (3, 20)))
    result = train(PLAN, recipe, *data, tmp_path)
    assert written == [1, 3, 4, 5]  # the first and the last of each size
    assert [row["epoch"] for row in result.log] == [1, 2, 3, 4, 5]


def test_a_change_of_resolution_goes_on_with_the_weights_of_the_checkpoint(data, copy_of):
    folder = copy_of(2)
    with np.load(folder / "checkpoint.npz") as arrays:
        contents = {name: arrays[name] for name in arrays.files}
    for name in contents:
        if name.startswith("weight_"):
            contents[name] = np.full_like(contents[name], np.nan)
    np.savez(folder / "checkpoint.npz", **contents)
    with pytest.raises(ConfigError, match="the loss is nan after epoch 3"):
        run(data, folder)


def test_the_last_epochs_of_a_vit_see_whole_images_and_a_killed_run_resumes_there(data, tmp_path):
    sizes = {"image_size": 16, "patch_size": 4, "dim": 8, "depth": 1, "mlp_dim": 8, "head": (8,)}
    plan = plan_model("vit", input_size=(16, 16), num_classes=3, **sizes)
    rates = {"dropout": 0.0, "attention_dropout": 0.0, "head_dropout": 0.0}
    recipe = replace(
        RECIPE,
        resolutions=(),
        config={**rates, "patch_dropout": 0.5},
        final_epochs=1,
        final_config={"patch_dropout": 0.0},
    )
    whole = run(data, tmp_path / "whole", recipe, plan)
    with pytest.raises(Killed):
        run(data, tmp_path / "cut", recipe, plan, progress=kill_at(2, 1))
    resumed = run(data, tmp_path / "cut", recipe, plan)
    for value, wanted in zip(resumed.weights, whole.weights, strict=True):
        np.testing.assert_allclose(value, wanted, **CLOSE)
    throughout = replace(recipe, final_epochs=0, final_config={})
    others = run(data, tmp_path / "half", throughout, plan)
    assert [row["loss"] for row in others.log[:2]] == [row["loss"] for row in whole.log[:2]]
    assert others.log[2]["loss"] != whole.log[2]["loss"]


def test_a_recipe_that_sets_a_field_of_another_network_is_refused(data, tmp_path):
    recipe = replace(RECIPE, config={"patch_dropout": 0.5})
    with pytest.raises(ConfigError, match="sets patch_dropout, which shiftvit does not have"):
        run(data, tmp_path / "out", recipe)
    assert not (tmp_path / "out" / "checkpoint.npz").exists()


def test_a_checkpoint_older_than_a_field_of_the_recipe_is_still_resumed(data, copy_of):
    folder = copy_of(1)
    with np.load(folder / "checkpoint.npz") as arrays:
        contents = {name: arrays[name] for name in arrays.files}
    state = json.loads(str(contents["state"]))
    del state["identity"]["recipe"]["final_epochs"]
    np.savez(folder / "checkpoint.npz", **{**contents, "state": json.dumps(state)})
    assert len(run(data, folder).log) == 3
    state["identity"]["recipe"]["flip"] = False
    np.savez(folder / "checkpoint.npz", **{**contents, "state": json.dumps(state)})
    with pytest.raises(ConfigError, match="differs in recipe"):
        run(data, folder)


def test_a_finished_run_is_not_trained_again(data, straight, copy_of):
    expected, _ = straight
    result = run(data, copy_of(3), progress=kill_at(2, 1))  # would die if it trained
    for value, wanted in zip(result.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(value, wanted)
    assert result.log == expected.log


def test_the_trajectory_depends_on_the_seed(data, straight, tmp_path):
    with pytest.raises(Killed):
        run(data, tmp_path, progress=kill_at(1, 1), seed=8)
    values, _ = state_of(tmp_path)
    others, _ = state_of(straight[1].parent / "copies" / "1")
    for name in values:
        if name.startswith("weight_"):
            assert not np.allclose(values[name], others[name], **CLOSE)


# --- what a run leaves ----------------------------------------------------------------------------


def test_the_result_is_the_moving_average_and_its_accuracy_on_all_images(data, straight):
    result, folder = straight
    values, _ = state_of(folder)
    live = [values[name] for name in sorted(values) if name.startswith("weight_")]
    assert any(not np.allclose(a, b, **CLOSE) for a, b in zip(result.weights, live, strict=True))
    model = build("shiftvit", preprocess=True, input_size=(16, 16), **{**SIZES, "image_size": 20})
    model.set_weights(result.weights)
    images = data[1].images
    logits = keras.ops.convert_to_numpy(model(images, training=False)["logits"])
    top1 = 100 * np.mean(logits.argmax(axis=-1) == data[1].labels)
    assert result.validation_top1 == pytest.approx(top1)
    np.testing.assert_array_equal(predict(model, images, batch_size=7), logits.argmax(axis=-1))


def test_averaging_and_validating_leave_the_trained_weights_alone(data, straight, tmp_path):
    with pytest.raises(Killed):
        run(data, tmp_path, recipe=replace(RECIPE, ema_momentum=0.0), progress=kill_at(1, 1))
    plain, _ = state_of(tmp_path)
    averaged, _ = state_of(straight[1].parent / "copies" / "1")
    for name in plain:
        if name.startswith("weight_"):
            np.testing.assert_allclose(averaged[name], plain[name], err_msg=name, **CLOSE)


def test_the_log_has_a_row_for_each_epoch_with_its_image_size(straight):
    result, folder = straight
    with (folder / "log.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["image_size"] for row in rows] == ["16", "16", "20"]
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in result.log]
    assert all(0 <= float(row["validation_top1"]) <= 100 for row in rows)
    assert files_in(folder) == ["checkpoint.npz", "log.csv"]


def test_training_lowers_the_loss(data, tmp_path):
    still = {"crop_padding": 0, "flip": False, "jpeg_probability": 0.0, "cutmix_probability": 0.0}
    recipe = replace(RECIPE, epochs=4, learning_rate=0.02, resolutions=(), config={}, **still)
    log = run(data, tmp_path, recipe=recipe).log
    assert log[-1]["loss"] < 0.9 * log[0]["loss"]


def test_a_learning_rate_of_zero_keeps_the_initial_weights_through_a_change_of_resolution(
    data, tmp_path
):
    initial = build("shiftvit", **SIZES).get_weights()
    still = replace(RECIPE, epochs=2, learning_rate=0.0, resolutions=((0, 16), (1, 20)))
    result = run(data, tmp_path, recipe=still, initial_weights=initial)
    for value, wanted in zip(result.weights, initial, strict=True):
        np.testing.assert_allclose(value, wanted, **CLOSE)


def test_weight_decay_spares_biases_and_norms(data, tmp_path):
    """With gradients clipped to nothing, AdamW's decay is the only force left."""
    initial = [np.full_like(weight, 0.5) for weight in build("shiftvit", **SIZES).get_weights()]
    recipe = replace(
        RECIPE,
        epochs=1,
        resolutions=(),
        learning_rate=0.5,
        weight_decay=0.1,
        warmup_epochs=0,
        clip_norm=1e-20,
        ema_momentum=0.0,
    )
    result = run(data, tmp_path, recipe=recipe, initial_weights=initial)
    rates = [0.5 * (1 + np.cos(np.pi * step / 2)) / 2 for step in range(2)]
    decayed = 0.5 * np.prod([1 - 0.1 * rate for rate in rates])
    for weight in result.weights:
        expected = decayed if weight.ndim > 1 else 0.5  # kernels; biases, gammas and betas
        np.testing.assert_allclose(weight, expected, rtol=1e-5)


def test_the_average_follows_its_recursion_and_swapping_twice_changes_nothing():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    optimizer = keras.optimizers.AdamW(0.1, use_ema=True, ema_momentum=0.7)
    model.compile(optimizer=optimizer, loss="mse")
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(8, 4)), rng.normal(size=(8, 3))
    average = None
    for _ in range(4):
        model.train_on_batch(inputs, targets)
        now = model.get_weights()
        average = (
            now
            if average is None
            else [0.7 * a + 0.3 * w for a, w in zip(average, now, strict=True)]
        )
    with_average(model)
    for value, wanted in zip(model.get_weights(), average, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)
    with_average(model)
    for value, wanted in zip(model.get_weights(), now, strict=True):
        np.testing.assert_array_equal(value, wanted)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": replace(RECIPE, learning_rate=1e-3)}, "recipe"),
        ({"recipe": replace(RECIPE, epochs=4)}, "recipe"),
        ({"seed": 8}, "seed"),
        ({"plan": plan_model("shiftvit", input_size=(16, 16), **{**SIZES, "dim": 60})}, "config"),
        ({"plan": plan_model("shiftvit", input_size=(16, 16), form="tutorial", **SIZES)}, "config"),
        ({"data": 3}, "data"),
    ],
    ids=["recipe", "epochs", "seed", "width", "form", "data"],
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


def test_a_checkpoint_from_before_configs_were_kept_is_still_resumed(data, straight, copy_of):
    folder = copy_of(3)
    with np.load(folder / "checkpoint.npz") as arrays:
        contents = {name: arrays[name] for name in arrays.files}
    state = json.loads(str(contents["state"]))
    del state["identity"]["config"]
    np.savez(folder / "checkpoint.npz", **{**contents, "state": np.array(json.dumps(state))})
    result = run(data, folder, progress=kill_at(2, 1))
    for value, wanted in zip(result.weights, straight[0].weights, strict=True):
        np.testing.assert_array_equal(value, wanted)


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
    broken = [np.full_like(w, np.nan) for w in build("shiftvit", **SIZES).get_weights()]
    with pytest.raises(ConfigError, match="the loss is nan after epoch 1") as caught:
        run(data, tmp_path, initial_weights=broken)
    assert "\n" not in str(caught.value)
    assert files_in(tmp_path) == []


def test_images_that_do_not_fit_the_network_are_refused_before_training(
    data, drawn_dataset, tmp_path
):
    for wrong in (drawn_dataset(16, 20), drawn_dataset(16, 16, classes=4)):
        for pair in ((wrong, data[1]), (data[0], wrong)):
            with pytest.raises(ConfigError, match="do not fit a network"):
                run(pair, tmp_path)
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
    assert files_in(folder) == ["checkpoint.npz", "log.csv"]


# --- the other backend ----------------------------------------------------------------------------


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="this is already the run on JAX")
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_a_killed_run_resumes_to_the_same_weights_on_jax(tmp_path):
    environment = {
        **os.environ,
        "EDGEVIT_TEST_BACKEND": "jax",
        # Compile quickly, and each program once: the runs repeat the same two.
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    name = "test_a_killed_run_resumes_to_the_same_weights"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    finished = subprocess.run(
        [*command, "-k", f"{name} and not jax", "--basetemp", str(tmp_path / "runs")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "2 passed" in finished.stdout
