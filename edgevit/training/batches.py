"""Training batches: augmented by Keras' layers, and the same after a kill as without one.

The layers run in TensorFlow functions on the CPU whatever backend trains, as they do in a tf.data
pipeline: torch takes half a second to translate 128 images.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import keras
import numpy as np
from keras import layers

from edgevit.base.errors import needed
from edgevit.data.datasets import ImageDataset
from edgevit.training.recipe import Recipe

Augmentation = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class TrainingBatches(keras.utils.PyDataset):
    """One epoch of augmented batches of raw images.

    Every batch is a function of (seed, epoch, index) alone, so a resumed run sees exactly the
    batches that the uninterrupted run would have seen.

    Args:
        dataset: what is learnt from.
        recipe: how.
        seed: of everything random.

    Yields:
        uint8 B H W 3, float32 B classes (smoothed and mixed targets).

    Raises:
        MissingDependencyError: TensorFlow is not installed.
    """

    def __init__(self, dataset: ImageDataset, recipe: Recipe, seed: int):
        super().__init__()  # Keras' own workers change the order of a run's first batches
        self.dataset = dataset
        self.recipe = recipe
        self.seed = seed
        self.worker = ThreadPoolExecutor(1)  # prepares a batch while the one before is learnt from
        self.prepared: dict[tuple[int, int], Future] = {}
        size = min(recipe.batch_size, len(dataset))
        shape = (size, *dataset.images.shape[1:])
        classes = len(dataset.class_names)
        steps = image_layers(recipe, *dataset.images.shape[1:3])
        mixing = {
            "cutmix": (recipe.cutmix_probability, layers.CutMix(seed=0)),
            "mixup": (recipe.mixup_probability, layers.MixUp(seed=0)),
        }
        used = {name: layer for name, (share, layer) in mixing.items() if share}
        self.layers = [*steps, *used.values()]
        self.augment = {"plain": compile_layers(steps, shape, classes)}
        for name, layer in used.items():
            self.augment[name] = compile_layers([*steps, layer], shape, classes)
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Shuffles for this epoch, counted from 0."""
        self.epoch = epoch
        self.order = np.random.default_rng((self.seed, epoch)).permutation(len(self.dataset))
        self.prepared.clear()

    def __len__(self) -> int:
        return max(1, len(self.dataset) // self.recipe.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        place = self.epoch, index
        now = self.prepared.pop(place, None) or self.worker.submit(self._prepare, *place)
        if index + 1 < len(self):
            self.prepared[self.epoch, index + 1] = self.worker.submit(
                self._prepare, self.epoch, index + 1
            )
        return now.result()

    def _prepare(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """One batch; nothing else seeds or runs the layers meanwhile."""
        recipe, entropy = self.recipe, (self.seed, epoch, index)
        chosen = self.order[index * recipe.batch_size : (index + 1) * recipe.batch_size]
        classes = len(self.dataset.class_names)
        targets = np.eye(classes, dtype=np.float32)[self.dataset.labels[chosen]]  # B classes
        targets += recipe.label_smoothing * (np.float32(1 / classes) - targets)
        name = self._choose_mixing(epoch, np.random.default_rng(entropy).random())
        for number, layer in enumerate(self.layers):
            seed_layer(layer, (*entropy, number))
        return self.augment[name](self.dataset.images[chosen], targets)

    def _choose_mixing(self, epoch: int, drawn: float) -> str:
        """Names the augmentation of a batch, given a number drawn evenly from [0, 1)."""
        recipe = self.recipe
        if epoch >= recipe.mixing_until * recipe.epochs:
            return "plain"
        if drawn < recipe.cutmix_probability:
            return "cutmix"
        return "mixup" if drawn < recipe.cutmix_probability + recipe.mixup_probability else "plain"


def image_layers(recipe: Recipe, rows: int, columns: int) -> list[keras.Layer]:
    """The layers that a recipe changes single images with; their seeds are set for each batch."""
    found: list[keras.Layer] = []
    if recipe.flip:
        found.append(layers.RandomFlip("horizontal", seed=0))
    if recipe.crop_padding:
        down, across = (min(1.0, recipe.crop_padding / length) for length in (rows, columns))
        found.append(
            layers.RandomTranslation(
                down, across, fill_mode="reflect", interpolation="nearest", seed=0
            )
        )
    if recipe.rand_augment:
        found.append(layers.RandAugment(factor=recipe.rand_augment, seed=0))
    return found


def compile_layers(steps: list[keras.Layer], shape: tuple[int, ...], classes: int) -> Augmentation:
    """Compiles layers into a function of one batch: images (uint8 B H W 3) and targets."""
    with needed("tensorflow", "train", "Augmenting images"):
        import tensorflow as tf
    if keras.backend.backend() != "tensorflow":
        with contextlib.suppress(RuntimeError):  # TensorFlow runs already
            tf.config.set_visible_devices([], "GPU")  # the memory is the backend's

    @tf.function
    def apply(images, targets):
        with tf.device("CPU"):
            data = {"images": tf.cast(images, "float32"), "labels": targets}
            for layer in steps:
                data = layer(data)
            pixels = tf.clip_by_value(tf.round(data["images"]), 0, 255)
            return tf.cast(pixels, "uint8"), data["labels"]

    # Tracing makes the random generators, which are seeded before the first batch.
    traced = apply.get_concrete_function(
        tf.TensorSpec(shape, "uint8"), tf.TensorSpec((shape[0], classes), "float32")
    )

    def augment(images: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = traced(tf.constant(images), tf.constant(targets))
        return found[0].numpy(), found[1].numpy()

    return augment


def seed_layer(layer: keras.Layer, entropy: tuple[int, ...]) -> None:
    """Sets the random generators of an augmentation layer, TensorFlow's inside functions too."""
    for generator in (layer.generator, *getattr(layer, "_backend_generators", {}).values()):
        words = np.random.SeedSequence(entropy).generate_state(2)
        generator.state.assign(words.astype(generator.state.dtype))
