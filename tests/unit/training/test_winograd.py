"""Winograd's convolution and its gradients, against torch's own (needs torch)."""

from __future__ import annotations

import pytest

GRADIENTS = """
import torch
from edgevit.training.winograd import convolve

torch.manual_seed(0)
images = torch.randn(BATCH, ROWS, COLUMNS, CHANNELS, requires_grad=True)
kernel = (0.1 * torch.randn(3, 3, CHANNELS, WIDTH)).requires_grad_()
gradient = torch.randn(BATCH, ROWS, COLUMNS, WIDTH)
found = []
for number in range(2):
    images.grad = kernel.grad = None
    if number:
        y = convolve(images, kernel)
    else:
        own = images.double().permute(0, 3, 1, 2), kernel.double().permute(3, 2, 0, 1)
        y = torch.nn.functional.conv2d(*own, padding=1).permute(0, 2, 3, 1)
    y.backward(gradient.to(y.dtype))
    found.append((y.detach().double(), images.grad.double(), kernel.grad.double()))
for expected, measured in zip(*found):
    assert expected.shape == measured.shape
    assert (expected - measured).abs().max() < 3e-5 * expected.abs().max()
"""

CHOICE = """
import torch
from edgevit.training import fused_layers, winograd
from edgevit.training.winograd import is_worthwhile

def asks(size=(12, 12), channels=(128, 128), side=3, dtype=torch.float32):
    images = torch.zeros(1, *size, channels[0], dtype=dtype)
    return is_worthwhile(images, torch.zeros(side, side, *channels, dtype=dtype))

assert asks() and asks((14, 14)) and asks((8, 8), (256, 128))
assert not asks((6, 6))  # four tiles that are mostly border
assert not asks(channels=(96, 128)) and not asks(channels=(128, 96))
assert not asks(side=1) and not asks(side=5)
assert not asks(dtype=torch.bfloat16)

import keras
import numpy as np

calls = []
apply = winograd.convolve
winograd.convolve = lambda *given: calls.append(1) or apply(*given)
x = keras.ops.convert_to_tensor(np.random.default_rng(0).random((2, 8, 8, 128), np.float32))
for options, expected in (
    ({}, 1),
    ({"use_bias": False, "activation": "relu"}, 1),
    ({"strides": 2}, 0),
    ({"padding": "valid"}, 0),
    ({"dilation_rate": 2}, 0),
    ({"groups": 2}, 0),
):
    layer = keras.layers.Conv2D(128, 3, **{"padding": "same", **options})
    usual = layer(x).detach()
    if layer.use_bias:
        layer.bias.assign(np.arange(128) / 100)
        usual = layer(x).detach()
    calls.clear()
    object.__setattr__(layer, "__class__", fused_layers.FusedConv2D)
    np.testing.assert_allclose(layer(x).detach(), usual, rtol=0, atol=1e-4)
    assert len(calls) == expected, options
"""


@pytest.mark.parametrize(
    ("rows", "columns", "channels", "width"),
    [(8, 8, 16, 24), (12, 12, 8, 8), (7, 10, 5, 3), (1, 2, 4, 4), (13, 9, 1, 7)],
)
def test_it_convolves_and_differentiates_like_the_definition(
    run_on_torch, rows, columns, channels, width
):
    run_on_torch(GRADIENTS, BATCH=3, ROWS=rows, COLUMNS=columns, CHANNELS=channels, WIDTH=width)


def test_wide_ones_of_stride_1_take_it_and_no_others(run_on_torch):
    run_on_torch(CHOICE)
