"""Layers on torch in fewer passes, against those that Keras has."""

from __future__ import annotations

import keras
import pytest

from edgevit.models.build import build
from edgevit.training.fused_layers import FUSED, fuse_layers

STEPS = """
import keras, numpy as np
from edgevit.models.build import build
from edgevit.training.fused_layers import FUSED, fuse_layers
from edgevit.training.precision import policy_of

rng = np.random.default_rng(0)
images = (5 + 3 * rng.random((6, 22, 22, 3))).astype(np.float32)  # a mean far from zero
targets = np.eye(10, dtype=np.float32)[rng.integers(0, 10, 6)]
found = []
for fused in (False, True):
    keras.utils.set_random_seed(0)
    with policy_of(PRECISION):
        network = build(NAME, image_size=22, num_classes=10, dropout=0.0, drop_path=0.0, **SIZES)
    if fused:
        fuse_layers(network)
    kinds = {type(layer) for layer in network._flatten_layers()}
    own = {kind for kind in FUSED if kind in kinds or FUSED[kind] in kinds}
    assert {kind.__name__ for kind in own} == set(KINDS), own
    assert kinds.isdisjoint(own if fused else FUSED.values())
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.SGD(0.05), {"logits": loss})
    losses = [network.train_on_batch(images, targets) for _ in range(3)]
    answers = network.predict(images, verbose=0)["logits"]
    found.append((losses, answers, {w.path: np.array(w.numpy()) for w in network.weights}))
(usual, answers, expected), (losses, said, measured) = found
np.testing.assert_allclose(losses, usual, rtol=RTOL)
np.testing.assert_allclose(said, answers, rtol=0, atol=10 * RTOL * np.abs(answers).max())
assert expected.keys() == measured.keys()
for path, value in expected.items():
    # Norms see 6 * 6 * 6 values a channel: a variance over one less would be off by 5e-3.
    limit = RTOL * (1 + 10 * np.abs(value).max())
    np.testing.assert_allclose(measured[path], value, rtol=0, atol=limit, err_msg=path)
    assert "variance" not in path or not np.allclose(value, 1), path
"""

NANO = {"variant": "nano"}
NETWORKS = {
    "shiftvit": (NANO, ("BatchNormalization", "Conv2D")),
    "patchconvnet": ({"dim": 32}, ("LayerNormalization", "Conv2D")),
    "resnet": ({"depths": (1, 1, 1)}, ("BatchNormalization", "Conv2D")),
}


def test_other_backends_keep_the_layers_of_keras():
    assert keras.backend.backend() != "torch"
    network = build("resnet", image_size=8, depths=(1, 1, 1))
    fuse_layers(network)
    kinds = {type(layer) for layer in network._flatten_layers()}
    assert keras.layers.BatchNormalization in kinds
    assert kinds.isdisjoint(FUSED.values())


@pytest.mark.parametrize(("precision", "rtol"), [("float32", 1e-5), ("bfloat16", 5e-3)])
@pytest.mark.parametrize("name", NETWORKS)
def test_on_torch_they_do_what_those_of_keras_do(run_on_torch, name, precision, rtol):
    sizes, kinds = NETWORKS[name]
    run_on_torch(STEPS, NAME=name, SIZES=sizes, KINDS=kinds, PRECISION=precision, RTOL=rtol)
