"""What tests of training share."""

from __future__ import annotations

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
