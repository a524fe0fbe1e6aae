"""LayerScale: one factor a channel."""

from __future__ import annotations

import numpy as np
from keras import ops

from edgevit.layers.layer_scale import LayerScale


def test_factors_start_small_and_act_on_channels():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    layer = LayerScale(0.01)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), x * 0.01, rtol=1e-6)
    factors = np.arange(5, dtype=np.float32)
    layer.set_weights([factors])
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), x * factors, rtol=1e-6)
    assert layer.compute_output_shape((None, 3, 4, 5)) == (None, 3, 4, 5)


def test_layer_survives_its_own_config():
    layer = LayerScale(0.5, name="scale")
    assert LayerScale.from_config(layer.get_config()).get_config() == layer.get_config()
    assert layer.initial == 0.5
