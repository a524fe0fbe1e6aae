"""What every test shares: the backend, drawn pictures, and CIFAR-10 where this machine has it."""

from __future__ import annotations

import os

# Before the first import of Keras. EDGEVIT_TEST_BACKEND lets one file run again on another backend.
os.environ["KERAS_BACKEND"] = os.environ.get("EDGEVIT_TEST_BACKEND", "tensorflow")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

from collections.abc import Callable

import numpy as np
import pytest

from edgevit.data.datasets import ENVIRONMENT_VARIABLE, ImageDataset, load_dataset


def draw_images(count: int, size: int | tuple[int, int] = 32, seed: int = 0) -> np.ndarray:
    """Draws pictures with structure: a sloping background, a disc and a little grain.

    Args:
        count: pictures.
        size: side in pixels, or (rows, columns).
        seed: the same seed draws the same pictures.

    Returns:
        uint8 count rows columns 3; no two are equal.
    """
    rows, columns = (size, size) if isinstance(size, int) else size
    rng = np.random.default_rng(seed)
    down = np.linspace(0, 1, rows)[:, None, None]
    across = np.linspace(0, 1, columns)[None, :, None]
    images = np.empty((count, rows, columns, 3), np.uint8)
    for number in range(count):
        first, second, disc = rng.uniform(0, 255, (3, 3))
        slope = rng.uniform(0, 1)
        picture = first + (second - first) * (slope * down + (1 - slope) * across)  # H W 3
        middle, radius = rng.uniform(0, 1, 2), rng.uniform(0.1, 0.5)
        inside = (down - middle[0]) ** 2 + (across - middle[1]) ** 2 < radius**2
        picture = np.where(inside, disc, picture) + rng.normal(0, 4, (rows, columns, 3))
        images[number] = np.clip(picture, 0, 255)
    return images


@pytest.fixture(scope="session", autouse=True)
def files_of_tests_are_no_strangers():
    """Unsealed files that tests make are opened without a trial in a process of its own.

    Such a process takes a second; tests/unit/formats/test_trial.py and tests/robustness start it.
    """
    from edgevit.formats import registry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "try_out", lambda path, runtime: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def nothing_is_kept_in_the_home(tmp_path_factory):
    """What commands keep between runs lies in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEVIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def drawn_images() -> Callable[..., np.ndarray]:
    """The function ``draw_images(count, size=32, seed=0)`` -> uint8 count rows columns 3."""
    return draw_images


@pytest.fixture(scope="session")
def drawn_dataset() -> Callable[..., ImageDataset]:
    """A function (count, size=32, classes=3, seed=0) -> ImageDataset of drawn pictures."""

    def draw(count: int, size: int | tuple[int, int] = 32, classes: int = 3, seed: int = 0):
        names = tuple(f"class{number}" for number in range(classes))
        labels = np.arange(count, dtype=np.int64) % classes
        return ImageDataset(draw_images(count, size, seed), labels, names, "train", "drawn")

    return draw


@pytest.fixture(scope="session")
def convert_tflite() -> Callable[..., bytes]:
    """A function (forward, shape, name="images") -> float32 .tflite of a TensorFlow function."""

    def convert(forward: Callable, shape: tuple[int | None, ...], name: str = "images") -> bytes:
        import tensorflow as tf

        signature = [tf.TensorSpec(shape, tf.float32, name=name)]
        module = tf.Module()
        module.forward = tf.function(forward, input_signature=signature, autograph=False)
        concrete = module.forward.get_concrete_function()
        return bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert())

    return convert


@pytest.fixture
def run_tflite(tmp_path) -> Callable[..., np.ndarray]:
    """A function (.tflite, inputs, kernels="xnnpack", real=False) -> the file's one output.

    Inputs are run a batch of the file's at a time. ``real``: inputs and outputs are the numbers
    that integers stand for.
    """

    def run(data: bytes, inputs: np.ndarray, kernels: str = "xnnpack", real: bool = False):
        from edgevit.formats.tflite.runtime.litert import open_interpreter

        path = tmp_path / "run.tflite"
        path.write_bytes(data)
        interpreter = open_interpreter(path, kernels)
        interpreter.allocate_tensors()
        (entry,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
        step, middle = entry["quantization"]
        if real and step:
            limits = np.iinfo(entry["dtype"])
            inputs = np.clip(np.rint(inputs / step) + middle, limits.min, limits.max)
        found = []
        for batch in inputs.reshape(-1, *entry["shape"]):
            interpreter.set_tensor(entry["index"], batch.astype(entry["dtype"]))
            interpreter.invoke()
            found.append(interpreter.get_tensor(result["index"]))
        answers = np.concatenate(found)
        scale, zero = result["quantization"]
        return (answers.astype(np.float32) - zero) * scale if real and scale else answers

    return run


def _load_cifar(split: str) -> ImageDataset:
    source = os.environ.get(ENVIRONMENT_VARIABLE)
    if not source:
        pytest.skip(f"{ENVIRONMENT_VARIABLE} is not set: this machine has no CIFAR-10 images")
    return load_dataset(source, split)


@pytest.fixture(scope="session")
def cifar_test() -> ImageDataset:
    """The 10,000 test images named by EDGEVIT_DATA; skips where the variable is unset."""
    return _load_cifar("test")


@pytest.fixture(scope="session")
def cifar_train() -> ImageDataset:
    """The 50,000 training images named by EDGEVIT_DATA; skips where the variable is unset."""
    return _load_cifar("train")
