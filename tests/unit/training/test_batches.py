"""Augmented batches: what is done to images and targets, and that it can be done again."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from edgevit.training.batches import TrainingBatches
from edgevit.training.recipe import Recipe

STILL = Recipe("still", batch_size=8, label_smoothing=0.0, crop_padding=0, flip=False)
EVERYTHING = replace(
    STILL,
    crop_padding=2,
    flip=True,
    rand_augment=0.5,
    cutmix_probability=0.4,
    mixup_probability=0.4,
    mixing_until=1.0,
)


@pytest.fixture
def data(drawn_dataset):
    return drawn_dataset(20, 16)


def batches_of(data, recipe, seed=3, epoch=0) -> TrainingBatches:
    batches = TrainingBatches(data, recipe, seed)
    batches.start_epoch(epoch)
    return batches


def equal(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_batch_is_a_function_of_seed_epoch_and_index(data):
    batches = batches_of(data, EVERYTHING, epoch=1)
    first = [batches[index] for index in range(2)]
    for images, targets in first:
        assert (images.dtype, images.shape) == (np.uint8, (8, 16, 16, 3))
        assert (targets.dtype, targets.shape) == (np.float32, (8, 3))
        np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    again = batches_of(data, EVERYTHING, epoch=1)
    assert equal(again[1], first[1])  # whatever was asked before
    assert equal(again[0], first[0])
    again.start_epoch(2)
    assert not equal(again[0], first[0])
    again.seed = 4
    again.start_epoch(1)
    assert not equal(again[0], first[0])


def test_keras_is_given_the_batches_in_order_epoch_after_epoch(drawn_dataset):
    """As it is not with Keras' own worker threads."""
    recipe = replace(STILL, batch_size=2, crop_padding=2)
    batches = batches_of(drawn_dataset(60, 16), recipe)
    model = keras.Sequential([keras.Input((16, 16, 3), dtype="uint8"), Recorder()])
    model.compile(loss="mse", run_eagerly=True)
    begin = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: batches.start_epoch(epoch)
    )
    model.fit(batches, epochs=2, shuffle=False, verbose=0, callbacks=[begin])
    shown = model.layers[-1].shown[-60:]
    for epoch in range(2):
        batches.start_epoch(epoch)
        for index in range(30):
            np.testing.assert_array_equal(shown[30 * epoch + index], batches[index][0])


class Recorder(keras.layers.Layer):
    """Keeps what it is shown, and returns three numbers an image."""

    def __init__(self):
        super().__init__()
        self.scale = self.add_weight(shape=(), name="scale")
        self.shown = []

    def call(self, images):
        if getattr(images, "numpy", None):  # neither symbolic nor traced
            self.shown.append(np.array(keras.ops.convert_to_numpy(images)))
        return self.scale * keras.ops.mean(keras.ops.cast(images, "float32"), axis=(1, 2))


def test_labels_stay_with_their_images_and_an_epoch_shows_each_image_once(data):
    label_of = {
        image.tobytes(): label for image, label in zip(data.images, data.labels, strict=True)
    }
    batches = batches_of(data, replace(STILL, batch_size=10), epoch=1)
    seen = set()
    for index in range(len(batches)):
        images, targets = batches[index]
        seen |= {image.tobytes() for image in images}
        labels = [label_of[image.tobytes()] for image in images]
        np.testing.assert_array_equal(targets, np.eye(3)[labels])
    assert seen == label_of.keys()


def test_smoothing_spreads_its_share_over_all_classes(data):
    _, targets = batches_of(data, replace(STILL, label_smoothing=0.3))[0]
    np.testing.assert_allclose(np.sort(targets), [[0.1, 0.1, 0.8]] * 8, atol=1e-6)


def test_fewer_images_than_a_batch_are_one_batch(data):
    batches = batches_of(data, replace(STILL, batch_size=64))
    assert len(batches) == 1
    assert len(batches[0][0]) == 20


def test_mirrored_images_are_exact_and_about_half(drawn_dataset):
    data = drawn_dataset(64, 16)
    known = {image.tobytes(): False for image in data.images}
    known |= {image[:, ::-1].tobytes(): True for image in data.images}
    images, _ = batches_of(data, replace(STILL, batch_size=64, flip=True))[0]
    mirrored = [known[image.tobytes()] for image in images]
    assert 16 < sum(mirrored) < 48


def test_translations_are_whole_pixels_of_each_image_up_to_the_padding(drawn_dataset):
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None, None] * 10, (16, 16, 3))
    data = replace(drawn_dataset(64, 16), images=np.stack([ramp] * 64))
    images, _ = batches_of(data, replace(STILL, batch_size=64, crop_padding=3))[0]
    moved = (images[:, 8, 8, 0].astype(int) - 80) / 10
    assert {*moved} == {-3, -2, -1, 0, 1, 2, 3}


@pytest.mark.parametrize("mixing", ["cutmix_probability", "mixup_probability"])
def test_targets_are_mixed_as_the_images_are_until_the_recipe_says(mixing, drawn_dataset):
    # Flat images, a colour channel for each class: the mean colour tells the shares. The borders of
    # Keras' rectangles lie between pixels, so theirs are exact to one row and one column.
    colours = np.eye(3, dtype=np.uint8) * 250
    data = drawn_dataset(12, 96)
    images = np.broadcast_to(colours[data.labels][:, None, None], (12, 96, 96, 3)).copy()
    recipe = replace(STILL, epochs=2, batch_size=12, mixing_until=0.5, **{mixing: 1.0})
    batches = batches_of(replace(data, images=images), recipe)
    mixed, targets = batches[0]
    np.testing.assert_allclose(mixed.mean(axis=(1, 2)) / 250, targets, atol=2 / 96)
    assert (targets.max(axis=1) < 0.99).any()
    batches.start_epoch(1)
    assert np.isin(batches[0][1], (0, 1)).all()


def test_half_a_mixing_probability_mixes_about_half_of_the_batches(drawn_dataset):
    recipe = replace(STILL, batch_size=2, cutmix_probability=0.25, mixup_probability=0.25)
    batches = batches_of(drawn_dataset(80, 8), recipe)
    chosen = [batches._choose_mixing(0, drawn) for drawn in np.linspace(0, 0.999, 100)]
    assert [chosen.count(name) for name in ("cutmix", "mixup", "plain")] == [25, 25, 50]
