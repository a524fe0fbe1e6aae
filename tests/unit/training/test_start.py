"""Where a run starts: fresh weights, or somebody's, with a head for other classes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edgevit.attribution.during_training import EpochPictures
from edgevit.base.errors import ConfigError, ModelFileError, UnknownNameError
from edgevit.data.datasets import ImageDataset
from edgevit.models.build import build_plan, find_variant, plan_model
from edgevit.models.weights import load_weights, save_weights
from edgevit.training.recipe import Recipe
from edgevit.training.run import train_model
from edgevit.training.start import fit_start, hold_out, open_start

SIZES = {"image_size": 16, "dim": 48, "num_div": 12, "depths": (1,), "mlp_ratio": 1.0}
RECIPE = Recipe(
    "test", epochs=2, batch_size=8, warmup_epochs=0.1, ema_momentum=0.0, learning_rate=1e-6
)


def dataset(classes: int, size: int = 12, count: int = 24) -> ImageDataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (count, size, size, 3), dtype=np.uint8)
    names = tuple("abcdefgh"[:classes])
    return ImageDataset(images, np.arange(count) % classes, names, "train", "drawn")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    plan = plan_model("shiftvit", input_size=(12, 12), num_classes=4, **SIZES)
    path = tmp_path_factory.mktemp("run") / "weights.safetensors"
    save_weights(path, plan, build_plan(plan).get_weights(), ("a", "b", "c", "d"), "float32")
    (path.parent / "recipe.json").write_text('{"seed": 7}')
    return path


def test_weights_bring_their_sizes_and_their_history(weights):
    for named in (weights, weights.parent):
        start = open_start("shiftvit", initial=named)
        assert start.plan.config.dim == 48
        assert start.origin["run"] == {"seed": 7}
        assert len(start.origin["sha256"]) == 64


def test_the_head_is_replaced_for_other_classes_and_nothing_else(weights):
    start = open_start("shiftvit", initial=weights)
    same = fit_start(start, dataset(4), seed=0)
    assert all(a is b for a, b in zip(same.weights, start.weights, strict=True))
    other = fit_start(start, dataset(6, size=20), seed=0)
    assert other.plan.config.num_classes == 6
    assert other.plan.preprocess.input_size == (20, 20)
    changed = [
        index
        for index, (new, old) in enumerate(zip(other.weights, start.weights, strict=True))
        if new is not old
    ]
    assert changed == [len(start.weights) - 2, len(start.weights) - 1]  # kernel and bias
    assert other.weights[-2].shape[-1] == other.weights[-1].shape[0] == 6
    again = fit_start(start, dataset(6, size=20), seed=0)
    np.testing.assert_array_equal(again.weights[-2], other.weights[-2])
    assert not np.array_equal(fit_start(start, dataset(6), 1).weights[-2], other.weights[-2])


@pytest.mark.parametrize("options", [{"form": "tutorial"}, {"variant": "tiny"}], ids=str)
def test_sizes_and_form_cannot_be_chosen_beside_weights(options, weights):
    with pytest.raises(ConfigError, match="bring their sizes"):
        open_start("shiftvit", initial=weights, **options)
    assert open_start("shiftvit", form="paper", initial=weights).weights


def test_weights_that_ship_are_named_and_their_own_size_may_be_too():
    for variant in (None, "nano"):
        start = open_start("shiftvit", variant=variant, initial="shiftvit:nano")
        assert (find_variant(start.plan), start.origin["run"] is None) == ("nano", False)
    with pytest.raises(UnknownNameError, match="shiftvit"):
        open_start("shiftvit", initial="shftvit")


def test_missing_weights_are_told(tmp_path):
    with pytest.raises(ModelFileError, match="no such weights"):
        open_start("shiftvit", initial=tmp_path / "none.safetensors")


def test_fine_tuning_keeps_what_was_learnt_and_ships_the_users_classes(weights, tmp_path):
    data = dataset(6)
    seen = []
    train_model(
        "shiftvit", None, RECIPE, data, data, tmp_path / "run", initial=weights,
        epoch_end=lambda epoch, plan, values: seen.append((epoch, plan.config.num_classes)),
    )  # fmt: skip
    assert seen == [(1, 6), (2, 6)]
    found = load_weights(tmp_path / "run" / "weights.safetensors")
    assert found.class_names == data.class_names
    before = open_start("shiftvit", initial=weights).weights
    after = found.network.get_weights()
    # A tiny rate: the trunk is where it was (to float16), the head is another.
    for old, new in zip(before[:-2], after[:-2], strict=True):
        np.testing.assert_allclose(new, old, atol=2e-3)
    assert after[-1].shape == (6,)
    log = (tmp_path / "run" / "recipe.json").read_text()
    assert '"sha256"' in log
    # The same folder with other initial weights is another run.
    other = tmp_path / "other" / "weights.safetensors"
    plan = plan_model("shiftvit", input_size=(12, 12), num_classes=4, **SIZES)
    fresh = [value + 0.01 for value in build_plan(plan).get_weights()]
    save_weights(other, plan, fresh, ("a", "b", "c", "d"), "float32")
    with pytest.raises(ConfigError, match="differs in initial"):
        train_model("shiftvit", None, RECIPE, data, data, tmp_path / "run", initial=other)


def test_pictures_are_drawn_every_so_many_epochs(tmp_path):
    data = dataset(4)
    pictures = EpochPictures(data.images[:2], data.class_names, tmp_path / "explain", every=2)
    plan = plan_model("shiftvit", input_size=(12, 12), num_classes=4, **SIZES)
    weights = build_plan(plan).get_weights()
    for epoch in (1, 2, 3, 4):
        pictures(epoch, plan, weights)
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert found == [
        f"explain/epoch-00{epoch}/image-{number}-occlusion.png"
        for epoch in (2, 4)
        for number in (0, 1)
    ]


def test_fields_change_a_fresh_network(weights):
    plan = open_start("shiftvit", fields=SIZES).plan
    assert (plan.config.dim, plan.config.depths) == (48, (1,))
    with pytest.raises(UnknownNameError, match="Did you mean dim"):
        open_start("shiftvit", fields={"dims": 24})


def test_given_weights_serve_another_size_and_remember_it(weights):
    plain = open_start("shiftvit", initial=weights)
    start = open_start("shiftvit", initial=weights, fields={"image_size": 24, "drop_path": 0.3})
    assert start.plan.config == replace(plain.plan.config, image_size=24, drop_path=0.3)
    assert start.plan.preprocess.network_size == (24, 24)
    assert start.plan.preprocess.input_size == plain.plan.preprocess.input_size
    for new, old in zip(start.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(new, old)
    assert start.origin == {**plain.origin, "fields": {"image_size": 24, "drop_path": 0.3}}


def test_learned_positions_are_interpolated_for_another_size(tmp_path):
    sizes = {"dim": 8, "depths": (1, 1), "num_heads": (2, 2), "num_classes": 3}
    before = plan_model("gcvit", None, (12, 12), image_size=32, window_sizes=(2, 4), **sizes)
    path = tmp_path / "weights.safetensors"
    save_weights(path, before, build_plan(before).get_weights(), ("a", "b", "c"), "float32")
    fields = {"image_size": 64, "window_sizes": (4, 8)}
    start = open_start("gcvit", initial=path, fields=fields)
    assert start.plan.config == replace(before.config, **fields)
    assert [value.shape for value in start.weights] == [
        tuple(variable.shape) for variable in build_plan(start.plan).weights
    ]


@pytest.mark.parametrize("fields", [{"dim": 24}, {"depths": (2,)}], ids=str)
def test_fields_that_given_weights_do_not_fit_are_refused(fields, weights):
    with pytest.raises(ConfigError, match=r"do not fit --set: .*With --init it takes image_size"):
        open_start("shiftvit", initial=weights, fields=fields)


def test_weights_bring_their_form_whatever_is_set(weights):
    with pytest.raises(ConfigError, match="Drop --set form"):
        open_start("shiftvit", initial=weights, fields={"form": "tutorial"})


def test_what_initial_weights_or_a_teacher_learnt_from_is_not_held_out(weights, tmp_path):
    start = open_start("shiftvit", initial=weights)
    teacher = tmp_path / "weights.safetensors"
    assert hold_out(RECIPE, "drawn", start, [str(teacher)]) == RECIPE  # no run's file beside either
    run = {"recipe": {"held_out": 0.1}, "data": "drawn"}
    (tmp_path / "recipe.json").write_text(json.dumps(run))
    assert hold_out(RECIPE, "drawn", start, [str(teacher)]) == replace(RECIPE, held_out=0.1)
    assert hold_out(RECIPE, "another", start, [str(tmp_path)]) == RECIPE
    known = replace(start, origin={"run": run})
    assert hold_out(RECIPE, "drawn", known, []) == replace(RECIPE, held_out=0.1)
    few = replace(RECIPE, held_out=0.05)
    assert hold_out(few, "drawn", known, []) == few
