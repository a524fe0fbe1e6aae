"""Distillation: what a teacher sees, what its answers are worth, and who is refused."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, replace

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from edgevit.base.errors import ConfigError, ModelFileError
from edgevit.models.build import build_plan, plan_model
from edgevit.models.weights import WEIGHTS_FILE, save_weights
from edgevit.training.augment import AugmentedBatches, draw_view
from edgevit.training.loop import train
from edgevit.training.recipe import RECIPES, Recipe
from edgevit.training.run import train_model
from edgevit.training.teacher import (
    DistillationLoss,
    Teacher,
    TeacherAnswers,
    label_accuracy,
    open_teacher,
)

pytestmark = pytest.mark.usefixtures("fast_steps")

TAUGHT = Recipe(
    "taught",
    epochs=3,
    batch_size=8,
    learning_rate=5e-3,
    warmup_epochs=1,
    ema_momentum=0.8,
    label_smoothing=0.0,
    config={"dropout": 0.0, "drop_path": 0.2},
    crop_padding=2,
    jpeg_probability=0.5,
    teacher_share=0.6,
    temperature=3.0,
    views=2,
)
SIZES = {"image_size": 16, "dim": 16, "num_div": 4, "depths": (1,), "num_classes": 3}
NANO = {**SIZES, "norm": "batch", "activation": "relu", "stem": "convolutions"}
PLAN = plan_model("shiftvit", input_size=(16, 16), **NANO)


class Counting:
    """A network that says how bright each channel is, and remembers what it was shown."""

    def __init__(self):
        self.shown: list[np.ndarray] = []

    def predict_on_batch(self, images: np.ndarray) -> dict[str, np.ndarray]:
        self.shown.append(images.copy())
        return {"logits": images.mean(axis=(1, 2)).astype(np.float32) / 32}  # B 3


class Loud:
    """A teacher that is sure of everything that another one says."""

    def __init__(self, network):
        self.network = network

    def predict_on_batch(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return {"logits": 50 * np.asarray(self.network.predict_on_batch(images)["logits"])}


@pytest.fixture
def data(drawn_dataset):
    return drawn_dataset(20, 16)


def counting_teacher() -> Teacher:
    return Teacher(Counting(), "c0ffee", {"model": "counting"})


def batches_of(data, folder, recipe=TAUGHT, seed=3, teacher=None) -> AugmentedBatches:
    teacher = teacher or counting_teacher()
    answers = TeacherAnswers([teacher], recipe, data, seed, folder)
    return AugmentedBatches(data, recipe, seed, answers)


def answers_to(images: np.ndarray) -> np.ndarray:
    """What the counting teacher says, as exactly as answers are kept."""
    return Counting().predict_on_batch(images)["logits"].astype(np.float16).astype(np.float32)


# --- views ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("views", [0, 1, 2])
def test_teacher_and_student_see_the_same_view_of_every_image(views, data, tmp_path):
    batches = batches_of(data, tmp_path, replace(TAUGHT, views=views))
    for epoch in range(3):
        batches.start_epoch(epoch)
        for index in range(len(batches)):
            images, targets = batches[index]
            assert targets.shape == (8, 6)
            np.testing.assert_array_equal(targets[:, 3:], answers_to(images))


def test_labels_stay_with_their_images(data, tmp_path):
    label_of = {
        image.tobytes(): label for image, label in zip(data.images, data.labels, strict=True)
    }
    plain = replace(TAUGHT, crop_padding=0, flip=False, jpeg_probability=0.0)
    batches = batches_of(data, tmp_path, plain)
    batches.start_epoch(1)
    for index in range(len(batches)):
        images, targets = batches[index]
        expected = [label_of[image.tobytes()] for image in images]
        np.testing.assert_array_equal(targets[:, :3], np.eye(3)[expected])


def test_views_repeat_but_the_order_of_the_images_does_not(data, tmp_path):
    whole = replace(TAUGHT, batch_size=20)
    batches = batches_of(data, tmp_path, whole)
    seen = []
    for epoch in range(4):
        batches.start_epoch(epoch)
        seen.append(batches[0][0])
    as_sets = [{image.tobytes() for image in images} for images in seen]
    assert as_sets[0] == as_sets[2]
    assert as_sets[1] == as_sets[3]
    assert as_sets[0] != as_sets[1]
    assert not np.array_equal(seen[0], seen[2])


def test_a_teacher_answers_once_to_a_view_that_repeats(data, tmp_path):
    teacher = counting_teacher()
    for _ in range(2):  # a run, and the same run resumed
        batches = batches_of(data, tmp_path, teacher=teacher)
        for epoch in range(5):
            batches.start_epoch(epoch)
    assert sum(len(images) for images in teacher.network.shown) == 2 * len(data)


def test_without_repetition_every_epoch_has_its_own_answers_and_none_is_kept(data, tmp_path):
    teacher = counting_teacher()
    batches = batches_of(data, tmp_path, replace(TAUGHT, views=0), teacher=teacher)
    for epoch in (0, 0, 1, 2):
        batches.start_epoch(epoch)
    assert sum(len(images) for images in teacher.network.shown) == 3 * len(data)
    assert list(tmp_path.iterdir()) == []


def test_several_teachers_teach_the_mean_of_their_softened_answers(data, tmp_path):
    one, other = counting_teacher(), replace(counting_teacher(), network=Loud(Counting()))
    other = replace(other, digest="loud")
    answers = TeacherAnswers([one, other], TAUGHT, data, 3, tmp_path)
    batches = AugmentedBatches(data, TAUGHT, 3, answers)
    batches.start_epoch(0)
    images, targets = batches[0]
    first = answers_to(images)
    softened = [softmax(z / 3.0, axis=1) for z in (first, 50 * first)]
    taught = softmax(targets[:, 3:] / 3.0, axis=1)
    np.testing.assert_allclose(taught, np.mean(softened, axis=0), atol=2e-3)  # float16 on disk
    assert np.abs(taught - softened[0]).max() > 0.1


def test_answers_to_mixed_images_are_mixed_by_area_once_softened(drawn_dataset, tmp_path):
    # Flat images: the colour tells whose each pixel is, and the teacher is asked about whole ones.
    colours = np.uint8([[0, 80, 160], [160, 0, 80], [80, 160, 240], [240, 240, 0]])
    images = np.broadcast_to(colours[:, None, None], (4, 12, 12, 3)).copy()
    data = replace(drawn_dataset(4, 12), images=images)
    recipe = replace(TAUGHT, batch_size=4, jpeg_probability=0.0, cutmix_probability=1.0)
    teacher = counting_teacher()
    batches = batches_of(data, tmp_path, recipe, teacher=teacher)
    softened = softmax(answers_to(images) / recipe.temperature, axis=1)
    labels = np.eye(3)[data.labels]
    mixed_ones = 0
    for epoch in range(2):  # all that recipe mixes: mixing_until is 0.8 of three epochs
        batches.start_epoch(epoch)
        mixed, targets = batches[0]
        shares = np.array([[np.mean(np.all(i == c, axis=-1)) for c in colours] for i in mixed])
        mixed_ones += int(np.sum(shares.max(axis=1) < 1))
        np.testing.assert_allclose(targets[:, :3], shares @ labels, atol=1e-6)
        taught = softmax(targets[:, 3:] / recipe.temperature, axis=1)
        np.testing.assert_allclose(taught, shares @ softened, atol=1e-6)
    assert mixed_ones
    assert {image.tobytes() for shown in teacher.network.shown for image in shown} <= {
        image.tobytes() for image in images
    }
    batches.start_epoch(2)
    assert np.isin(batches[0][1][:, :3], (0, 1)).all()


def test_a_further_teacher_is_asked_alone(data, tmp_path):
    one, other = counting_teacher(), replace(counting_teacher(), digest="another")
    batches_of(data, tmp_path, teacher=one).start_epoch(0)
    before = len(one.network.shown)
    both = TeacherAnswers([one, other], TAUGHT, data, 3, tmp_path)
    AugmentedBatches(data, TAUGHT, 3, both).start_epoch(0)
    assert len(one.network.shown) == before  # its answers are there
    assert sum(len(images) for images in other.network.shown) == len(data)
    assert len({*both.paths(0), *both.paths(1)}) == 4


def test_answers_of_other_teachers_seeds_and_augmentations_are_not_taken(data, tmp_path):
    def path(recipe=TAUGHT, seed=3, digest="c0ffee", dataset=data):
        teacher = replace(counting_teacher(), digest=digest)
        return TeacherAnswers([teacher], recipe, dataset, seed, tmp_path).paths(0)[0]

    assert path() == path(replace(TAUGHT, epochs=9, temperature=1.0))  # not part of a view
    others = [
        path(replace(TAUGHT, crop_padding=1)),
        path(replace(TAUGHT, jpeg_quality=(60, 70))),
        path(replace(TAUGHT, trivial_augment=0.5)),
        path(seed=4),
        path(digest="decaf"),
        path(dataset=data.select(np.arange(10))),
    ]
    assert len({path(), *others}) == 7


def test_damaged_answers_are_refused_in_one_line(data, tmp_path):
    batches = batches_of(data, tmp_path)
    batches.start_epoch(0)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    np.save(path, np.zeros((4, 3), np.float16))
    with pytest.raises(ModelFileError, match=r"damaged \(shape \(4, 3\)"):
        batches_of(data, tmp_path).start_epoch(0)
    path.write_bytes(whole[:40])
    with pytest.raises(ModelFileError, match="Delete the file"):
        batches_of(data, tmp_path).start_epoch(0)


def test_a_view_crops_mirrors_distorts_and_encodes_as_often_as_the_recipe_says():
    recipe = replace(
        TAUGHT, crop_padding=2, trivial_augment=0.5, jpeg_probability=0.25, jpeg_quality=(60, 65)
    )
    view = draw_view(4000, recipe, (1, 2))
    for places in (view.top, view.left):
        assert set(places) == {0, 1, 2, 3, 4}
    assert abs(view.mirrored.mean() - 0.5) < 0.05
    assert abs((view.operation > 0).mean() - 0.5 * 13 / 14) < 0.05
    assert view.strength.min() == -1
    assert abs((view.quality > 0).mean() - 0.25) < 0.05
    assert set(view.quality) == {0, *range(60, 66)}
    assert not np.array_equal(view.top, draw_view(4000, recipe, (1, 3)).top)


# --- the loss -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "temperature"), [(0.0, 1.0), (1.0, 1.0), (1.0, 4.0), (0.3, 2.0)])
def test_the_loss_is_that_of_the_paper(share, temperature):
    rng = np.random.default_rng(0)
    logits, taught = rng.normal(0, 2, (2, 6, 5))
    labels = np.eye(5)[rng.integers(0, 5, 6)]
    targets = np.concatenate([labels, taught], axis=1).astype(np.float32)
    found = DistillationLoss(share, temperature)(targets, logits.astype(np.float32))
    cross = -(labels * log_softmax(logits, axis=1)).sum(axis=1)
    wanted, said = softmax(taught / temperature, axis=1), softmax(logits / temperature, axis=1)
    distance = (wanted * np.log(wanted / said)).sum(axis=1)
    expected = np.mean((1 - share) * cross + share * temperature**2 * distance)
    np.testing.assert_allclose(float(found), expected, rtol=1e-5)


def test_a_student_that_says_what_its_teacher_says_has_nothing_to_learn_from_it():
    logits = np.random.default_rng(0).normal(0, 3, (4, 5)).astype(np.float32)
    targets = np.concatenate([np.eye(5, dtype=np.float32)[:4], logits], axis=1)
    assert abs(float(DistillationLoss(1.0, 2.0)(targets, logits + 7.0))) < 1e-5


def test_accuracy_is_that_of_the_labels_whatever_the_teacher_says():
    labels = np.eye(3)[[0, 1, 2, 0]]
    taught = np.eye(3)[[1, 1, 1, 1]] * 9
    said = np.eye(3)[[0, 1, 1, 1]]
    found = label_accuracy(np.concatenate([labels, taught], axis=1), said.astype(np.float32))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), [1, 1, 0, 0])


# --- whole runs -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory, drawn_dataset):
    """A run's folder with seeded weights, for the classes of the drawn dataset."""
    keras.utils.set_random_seed(5)
    plan = plan_model("shiftvit", input_size=(16, 16), **SIZES)
    folder = tmp_path_factory.mktemp("teacher")
    names = drawn_dataset(3, 16).class_names
    save_weights(folder / WEIGHTS_FILE, plan, build_plan(plan).get_weights(), names, "float32")
    (folder / "recipe.json").write_text('{"recipe": {"name": "before"}}')
    return folder


def test_a_teacher_may_multiply_in_bfloat16_and_its_answers_are_kept_apart(
    data, tmp_path, teacher_folder
):
    exact = open_teacher(str(teacher_folder), data)
    coarse = open_teacher(str(teacher_folder), data, "bfloat16")
    policies = {layer.compute_dtype for layer in coarse.network._flatten_layers() if layer.weights}
    assert policies == {"bfloat16"}
    answers = [TeacherAnswers([one], TAUGHT, data, 7, tmp_path) for one in (exact, coarse)]
    said = [one.to_view(0, iter([data.images])) for one in answers]
    assert 0 < np.abs(said[0] - said[1]).max() < 0.05 * np.abs(said[0]).max()
    assert answers[0].paths(0) != answers[1].paths(0)
    assert len(list(tmp_path.glob("teacher-*-view0.npy"))) == 2


class Killed(Exception):
    """Stands for the kill."""


def test_a_run_with_a_teacher_resumes_to_the_same_weights(data, tmp_path, teacher_folder):
    validation = data.select(np.arange(10), "validation")
    teacher = open_teacher(str(teacher_folder), data)
    whole = train(PLAN, TAUGHT, data, validation, tmp_path / "whole", 7, teachers=[teacher])

    def die(epoch, step, steps, values):
        if epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        train(PLAN, TAUGHT, data, validation, tmp_path / "cut", 7, progress=die, teachers=[teacher])
    resumed = train(PLAN, TAUGHT, data, validation, tmp_path / "cut", 7, teachers=[teacher])
    assert len(resumed.log) == TAUGHT.epochs
    for one, other in zip(resumed.weights, whole.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    other = replace(teacher, digest="another")
    with pytest.raises(ConfigError, match="differs in teacher"):
        train(PLAN, TAUGHT, data, validation, tmp_path / "cut", 7, teachers=[other])


def test_the_time_of_an_epoch_is_without_the_teachers(data, tmp_path, teacher_folder, monkeypatch):
    spent = [0.0]
    clock = time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: clock() + spent[0])

    class Slow(Loud):
        def predict_on_batch(self, images):
            spent[0] += 1e6
            return super().predict_on_batch(images)

    teacher = open_teacher(str(teacher_folder), data)
    slow = replace(teacher, network=Slow(teacher.network), digest="slow")
    log = train(PLAN, TAUGHT, data, data, tmp_path, 7, teachers=[slow]).log
    assert spent[0] >= 2e6
    assert all(0 < row["seconds"] < 1e6 for row in log)


def test_with_the_whole_share_labels_change_nothing_and_the_teacher_everything(
    data, tmp_path, teacher_folder
):
    recipe = replace(TAUGHT, epochs=1, teacher_share=1.0)
    teacher = open_teacher(str(teacher_folder), data)
    loud = replace(teacher, network=Loud(teacher.network), digest="loud")
    relabelled = replace(data, labels=(data.labels + 1) % 3)

    def trained(dataset, by, folder):
        return train(PLAN, recipe, dataset, data, tmp_path / folder, 7, teachers=[by]).weights

    first = trained(data, teacher, "first")
    for one, other in zip(first, trained(relabelled, teacher, "relabelled"), strict=True):
        np.testing.assert_array_equal(one, other)
    others = trained(data, loud, "loud")
    assert any(np.abs(one - other).max() > 1e-4 for one, other in zip(first, others, strict=True))


def test_the_recipe_on_disk_says_who_the_teacher_was(data, tmp_path, teacher_folder):
    recipe = replace(TAUGHT, epochs=1)
    train_model(
        "shiftvit",
        None,
        recipe,
        data,
        data,
        tmp_path,
        fields={key: value for key, value in NANO.items() if key != "num_classes"},
        teachers=[str(teacher_folder)] * 2,
    )
    run = json.loads((tmp_path / "recipe.json").read_text())
    assert run["recipe"] == json.loads(json.dumps(asdict(recipe)))
    teacher, again = run["teachers"]
    assert teacher["model"] == "shiftvit"
    assert teacher["run"] == {"recipe": {"name": "before"}}
    assert len(teacher["sha256"]) == 64
    assert again == {key: value for key, value in teacher.items() if key != "run"}  # told once
    assert run["initial"] is None


# --- refusals -------------------------------------------------------------------------------------


def test_a_recipe_and_a_teacher_belong_together(data, tmp_path, teacher_folder):
    with pytest.raises(ConfigError, match="learns from a teacher"):
        train_model("shiftvit", None, TAUGHT, data, data, tmp_path)
    with pytest.raises(ConfigError, match="has no use for a teacher"):
        train_model(
            "shiftvit", None, RECIPES["plain"], data, data, tmp_path, teachers=[str(teacher_folder)]
        )
    assert list(tmp_path.iterdir()) == []


def test_a_teacher_of_other_classes_is_refused(data, teacher_folder, drawn_dataset):
    with pytest.raises(ConfigError, match="They must be the same"):
        open_teacher(str(teacher_folder), drawn_dataset(10, 16, classes=5))


def test_a_teacher_that_is_not_there_is_refused(data, tmp_path, teacher_folder):
    with pytest.raises(ModelFileError, match="no such weights"):
        open_teacher(str(tmp_path), data)
    shutil.copy(teacher_folder / WEIGHTS_FILE, tmp_path / "half.safetensors")
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "half.safetensors").read_bytes()[:99])
    with pytest.raises(ModelFileError, match="damaged"):
        open_teacher(str(tmp_path / "half.safetensors"), data)


@pytest.mark.parametrize(
    "wrong",
    [
        {"teacher_share": 1.5},
        {"teacher_share": -0.1},
        {"temperature": 0.0},
        {"views": -1},
    ],
    ids=str,
)
def test_a_recipe_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ConfigError, match="Received"):
        Recipe("wrong", **wrong)
