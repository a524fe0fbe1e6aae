"""What tests of training share: whole runs, and code on torch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec

import keras
import pytest


@pytest.fixture(scope="module")
def fast_steps():
    """Runs TensorFlow eagerly: two steps an epoch are not worth compiling for."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def run_on_torch() -> Callable[..., None]:
    """Runs code in a process with Keras on torch: (code, names and values that it sees) -> None."""
    if find_spec("torch") is None:
        pytest.skip("torch is not installed")

    def run(code: str, **values: object) -> None:
        head = "".join(f"{name} = {value!r}\n" for name, value in values.items())
        environment = {**os.environ, "KERAS_BACKEND": "torch"}
        done = subprocess.run(
            [sys.executable, "-c", head + code], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    return run
