"""A file whose reference kernels end their process is judged by those that devices run."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("ai_edge_litert")

import edgevit  # noqa: E402

CLASSES = 600
ENDS = "litert-reference ends its process (SIGABRT) on these inputs. It holds an 8-bit softmax"


@pytest.fixture(scope="module")
def flat() -> keras.Model:
    """An untrained classifier, whose classes are nearly equal whatever it sees."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image))
    small = keras.initializers.RandomNormal(stddev=1e-5)
    x = keras.layers.Dense(CLASSES, activation="softmax", kernel_initializer=small)(x)
    return keras.Model(image, x, name="flat")


def test_an_export_and_a_verification_say_so_and_go_on(flat, command, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3)).astype(np.uint8)
    outcome = edgevit.export(flat, "tflite-int8", tmp_path, calibration=images, keep_failed=True)
    (caveat,) = outcome.caveats
    assert ENDS in caveat
    assert {report.runtime for report in outcome.reports} == {"litert-xnnpack"}
    path = outcome.artifact.path
    answer = command("verify", path, "--json")
    assert answer.document["caveats"] == [caveat]
    assert answer.document["verdict"] == "lossy"  # a 600th is less than half of the smallest level
    assert caveat in command("verify", path).out.replace("\n", " ")
    alone = command("verify", path, "--runtime", "litert-reference")
    assert alone.code == 1
    assert ENDS in alone.err.splitlines()[-1]
