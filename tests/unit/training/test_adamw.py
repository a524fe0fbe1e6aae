"""The optimizer of each backend; torch's, in one pass, against the one that Keras has for it."""

from __future__ import annotations

import keras
import pytest

from edgevit.training.adamw import FusedAdamW, make_adamw

STEPS = """
import keras, numpy as np, torch
from edgevit.training.adamw import make_adamw

rng = np.random.default_rng(0)
shapes = {"kernel": (30, 20), "bias": (20,)}
start = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
# From far below the norm that is clipped to far above it, and below epsilon too.
sizes = (1e-9, 1e-5, 1e-2, 1, 30, 0.1, 1e-3)
gradients = [
    [(size * rng.normal(size=shape)).astype(np.float32) for shape in shapes.values()]
    for size in sizes
]
found = []
for kind in (keras.optimizers.AdamW, make_adamw):
    variables = [keras.Variable(value, name=name) for name, value in start.items()]
    optimizer = kind(
        learning_rate=keras.optimizers.schedules.CosineDecay(0.05, len(sizes)),
        weight_decay=0.5,
        global_clipnorm=GLOBAL_CLIPNORM,
        use_ema=True,
        ema_momentum=0.9,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    for step in gradients:
        optimizer.apply([torch.tensor(gradient) for gradient in step], variables)
    values = [np.array(v.numpy(), np.float64) for v in (*variables, *optimizer.variables)]
    found.append((type(optimizer).__name__, values))
(usual, expected), (fused, measured) = found
assert (usual, fused) == ("AdamW", "FusedAdamW"), (usual, fused)
assert len(expected) == len(measured) >= 9  # two each of weights, averages, momenta and velocities
for first, second in zip(expected, measured):
    np.testing.assert_allclose(second, first, rtol=2e-5, atol=1e-6 * np.abs(first).max())
moved = max(np.abs(a - b).max() for a, b in zip(expected, start.values()))
assert moved > 0.05, moved
"""


def test_other_backends_have_the_one_of_keras():
    assert keras.backend.backend() != "torch"
    optimizer = make_adamw(learning_rate=0.1, weight_decay=0.01)
    assert isinstance(optimizer, keras.optimizers.AdamW)
    assert not isinstance(optimizer, FusedAdamW)


@pytest.mark.parametrize("clipnorm", [1.0, None])
def test_on_torch_one_pass_does_what_keras_does(run_on_torch, clipnorm):
    run_on_torch(STEPS, GLOBAL_CLIPNORM=clipnorm)
