"""Distillation: what the teachers' outputs are worth, and which teachers are refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from edgevit.base.errors import ConfigError, ModelFileError
from edgevit.models.build import build_plan, plan_model
from edgevit.models.weights import WEIGHTS_FILE, save_weights
from edgevit.training.distillation import Distiller, distillation_distance, open_teacher
from edgevit.training.recipe import RECIPES, Recipe
from edgevit.training.run import train_model

pytestmark = pytest.mark.usefixtures("fast_steps")

TAUGHT = Recipe(
    "taught",
    epochs=2,
    batch_size=8,
    learning_rate=5e-3,
    warmup_epochs=1.0,
    ema_momentum=0.8,
    label_smoothing=0.0,
    config={"dropout": 0.0, "drop_path": 0.2},
    crop_padding=2,
    cutmix_probability=0.5,
    teacher_share=0.6,
    temperature=3.0,
)
SIZES = {"image_size": 16, "dim": 16, "num_div": 4, "depths": (1,)}
NANO = {**SIZES, "norm": "batch", "activation": "relu", "stem": "convolutions"}


@pytest.fixture
def data(drawn_dataset):
    return drawn_dataset(20, 16)


@pytest.fixture(scope="module")
def teacher_folders(tmp_path_factory, drawn_dataset) -> list[str]:
    """Two runs' folders with seeded weights, for the classes of the drawn dataset."""
    folders = []
    for seed in (5, 6):
        keras.utils.set_random_seed(seed)
        plan = plan_model("shiftvit", input_size=(16, 16), num_classes=3, **NANO)
        folder = tmp_path_factory.mktemp("teacher")
        # Weights far from their start: outputs that differ, and statistics that a pass would move.
        weights = [weight * 1.5 + 0.1 for weight in build_plan(plan).get_weights()]
        names = drawn_dataset(3, 16).class_names
        save_weights(folder / WEIGHTS_FILE, plan, weights, names, "float32")
        (folder / "recipe.json").write_text('{"recipe": {"name": "before"}}')
        folders.append(str(folder))
    return folders


def run(data, folder, teachers, recipe=TAUGHT, **options):
    arguments = ("shiftvit", None, recipe, data, data, folder, 7)
    return train_model(*arguments, fields=NANO, teachers=teachers, **options)


# --- the loss -------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_distance_is_that_of_the_paper_to_the_mean_of_softened_outputs(temperature):
    rng = np.random.default_rng(0)
    logits, *taught = rng.normal(0, 2, (4, 6, 5)).astype(np.float32)
    found = keras.ops.convert_to_numpy(distillation_distance(taught, logits, temperature))
    wanted = np.mean([softmax(one / temperature, axis=1) for one in taught], axis=0)
    distance = (wanted * (np.log(wanted) - log_softmax(logits / temperature, axis=1))).sum(axis=1)
    np.testing.assert_allclose(found, temperature**2 * distance, rtol=1e-4)


def test_a_student_with_the_outputs_of_its_teacher_has_nothing_to_learn_from_it():
    logits = np.random.default_rng(0).normal(0, 3, (4, 5)).astype(np.float32)
    distance = keras.ops.convert_to_numpy(distillation_distance([logits], logits + 7.0, 2.0))
    assert np.abs(distance).max() < 1e-5


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_loss_is_shared_between_labels_and_teachers_in_training_alone(
    share, data, teacher_folders
):
    networks = [open_teacher(folder, data).network for folder in teacher_folders]
    student = keras.Model(networks[0].inputs, networks[0].output["logits"])
    model = Distiller(student, networks[1:], share, 2.0)
    model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    labels = np.eye(3, dtype=np.float32)[data.labels]
    mine, theirs = (
        keras.ops.convert_to_numpy(one(data.images, training=False)["logits"]) for one in networks
    )
    cross = -(labels * log_softmax(mine, axis=1)).sum(axis=1).mean()
    distance = keras.ops.convert_to_numpy(distillation_distance([theirs], mine, 2.0)).mean()
    found = float(model.compute_loss(data.images, labels, mine))
    assert found == pytest.approx((1 - share) * cross + share * distance, rel=1e-4)
    assert float(model.compute_loss(data.images, labels, mine, training=False)) == pytest.approx(
        cross, rel=1e-4
    )


# --- whole runs -----------------------------------------------------------------------------------


class Killed(Exception):
    """Stands for the kill."""


@pytest.mark.long
def test_a_run_with_teachers_resumes_to_the_same_weights(data, tmp_path, teacher_folders):
    whole = run(data, tmp_path / "whole", teacher_folders)

    def die(epoch, step, steps, values):
        if epoch == 1:
            raise Killed

    with pytest.raises(Killed):
        run(data, tmp_path / "cut", teacher_folders, progress=die)
    resumed = run(data, tmp_path / "cut", teacher_folders)
    assert len(resumed.log) == TAUGHT.epochs
    for one, other in zip(resumed.weights, whole.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    with pytest.raises(ConfigError, match="differs in teacher"):
        run(data, tmp_path / "cut", teacher_folders[:1])


def test_with_the_whole_share_labels_change_nothing_and_the_teacher_everything(
    data, tmp_path, teacher_folders
):
    recipe = replace(TAUGHT, epochs=1, teacher_share=1.0)
    relabelled = replace(data, labels=(data.labels + 1) % 3)
    first = run(data, tmp_path / "first", teacher_folders[:1], recipe).weights
    same = run(relabelled, tmp_path / "relabelled", teacher_folders[:1], recipe).weights
    for one, other in zip(first, same, strict=True):
        np.testing.assert_array_equal(one, other)
    others = run(data, tmp_path / "other", teacher_folders[1:], recipe).weights
    assert any(np.abs(one - other).max() > 1e-4 for one, other in zip(first, others, strict=True))


def test_the_recipe_on_disk_says_who_the_teachers_were(data, tmp_path, teacher_folders):
    recipe = replace(TAUGHT, epochs=1)
    run(data, tmp_path, [teacher_folders[0]] * 2, recipe)
    document = json.loads((tmp_path / "recipe.json").read_text())
    assert document["recipe"] == json.loads(json.dumps(asdict(recipe)))
    teacher, again = document["teachers"]
    assert teacher["model"] == "shiftvit"
    assert teacher["run"] == {"recipe": {"name": "before"}}
    assert len(teacher["sha256"]) == 64
    assert again == {key: value for key, value in teacher.items() if key != "run"}  # told once


# --- teachers -------------------------------------------------------------------------------------


def test_a_teacher_may_multiply_in_bfloat16(data, teacher_folders):
    exact = open_teacher(teacher_folders[0], data)
    coarse = open_teacher(teacher_folders[0], data, "bfloat16")
    policies = {layer.compute_dtype for layer in coarse.network._flatten_layers() if layer.weights}
    assert policies == {"bfloat16"}
    assert not coarse.network.trainable_variables
    found = [np.asarray(one.network(data.images)["logits"], np.float32) for one in (exact, coarse)]
    assert 0 < np.abs(found[0] - found[1]).max() < 0.1 * np.abs(found[0]).max()


def test_a_recipe_and_a_teacher_belong_together(data, tmp_path, teacher_folders):
    with pytest.raises(ConfigError, match="distils from a teacher"):
        run(data, tmp_path, [])
    with pytest.raises(ConfigError, match="has no use for a teacher"):
        run(data, tmp_path, teacher_folders, RECIPES["quick"])
    assert list(tmp_path.iterdir()) == []


def test_a_teacher_of_other_classes_is_refused(teacher_folders, drawn_dataset):
    with pytest.raises(ConfigError, match="They must be the same"):
        open_teacher(teacher_folders[0], drawn_dataset(10, 16, classes=5))


def test_a_teacher_that_is_not_there_is_refused(data, tmp_path, teacher_folders):
    with pytest.raises(ModelFileError, match="no such weights"):
        open_teacher(str(tmp_path), data)
    whole = shutil.copy(f"{teacher_folders[0]}/{WEIGHTS_FILE}", tmp_path / "half.safetensors")
    whole.write_bytes(whole.read_bytes()[:99])
    with pytest.raises(ModelFileError, match="damaged"):
        open_teacher(str(whole), data)
