"""Models of keras.applications, with the preprocessing that their publishers trained with."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevit.base.errors import ModelFileError, UnknownNameError, in_one_line
from edgevit.core.tensors import Preprocess
from edgevit.frontend.sources.filling import fill_network

if TYPE_CHECKING:
    import keras

NAME = re.compile(r"(?:tf\.|tensorflow\.)?keras\.applications\.(?P<place>[\w.]+)")
PUBLISHED, UNTRAINED = "imagenet", "none"  # words in the place of a weights file
SIDE = 224  # pixels, where an architecture takes any size: what it was trained on


def read_application(name: str, weights: Path | None) -> tuple[keras.Model, Preprocess]:
    """Builds a model of keras.applications.

    Args:
        name: such as "keras.applications.MobileNetV3Small".
        weights: a file; "none" leaves it untrained; None and "imagenet" are what Keras downloads.

    Returns:
        The network, and what makes its input of R, G, B in 0..255.

    Raises:
        UnknownNameError: Keras has no such application.
        ModelFileError: the weights cannot be downloaded, or belong to another network.
    """
    build = _find(name)
    published = weights is None or str(weights) == PUBLISHED
    model = _build(name, build, PUBLISHED if published else None)
    if weights is not None and str(weights) not in (PUBLISHED, UNTRAINED):
        fill_network(model, weights)
    pixels = probe_pixels(sys.modules[build.__module__])
    rows, columns = model.inputs[0].shape[1:3]
    contract = Preprocess((rows, columns), (rows, columns), None, pixels.scale, pixels.offset)
    if pixels.reversed:
        _reverse_channels(name, model)
    return model, contract


def _find(name: str) -> Callable[..., Any]:
    """The function of keras.applications that a name means."""
    import keras

    match = NAME.fullmatch(name)
    assert match is not None  # the table asks for such names only
    found: Any = keras.applications
    for part in match["place"].split("."):
        found = getattr(found, part, None)
    if not inspect.isfunction(found) or "weights" not in inspect.signature(found).parameters:
        known = [
            key for key, value in vars(keras.applications).items() if inspect.isfunction(value)
        ]
        raise UnknownNameError("model of keras.applications", match["place"], known)
    return found


def _build(name: str, build: Callable[..., Any], weights: str | None) -> keras.Model:
    try:
        with redirect_stdout(sys.stderr):  # Keras tells there how a download goes
            model = build(weights=weights)
            if None in model.inputs[0].shape[1:]:
                model = build(weights=weights, input_shape=(SIDE, SIDE, 3))
        return model
    except Exception as error:  # what a download can raise
        if weights is None:
            raise
        reason = in_one_line(error.__context__ or error, 160)  # Keras adds a long address
        raise ModelFileError(
            f"{name}: its {weights} weights are not on this machine, and cannot be downloaded "
            f"({reason}). Give --weights FILE, or --weights {UNTRAINED} for "
            "untrained ones."
        ) from None


@dataclass(frozen=True)
class Pixels:
    """A ``preprocess_input`` on pixels of 0..255: ``x * scale + offset``, then perhaps B, G, R in
    the place of R, G, B.

    Attributes:
        scale: for R, G, B.
        offset: likewise.
        reversed: whether the network takes B, G, R.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    reversed: bool


def probe_pixels(module: ModuleType) -> Pixels:
    """Finds out what a module's ``preprocess_input`` does, by four pixels.

    Raises:
        ModelFileError: it mixes channels.
    """
    probe = np.zeros((1, 1, 4, 3))
    probe[0, 0, range(3), range(3)] = 255.0  # pure R, G and B; then black
    found = np.asarray(module.preprocess_input(probe, data_format="channels_last"))[0, 0]
    black = found[3]
    matrix = (found[:3] - black).T / 255.0  # network channel x pixel channel
    for flipped, square, offset in (
        (False, matrix, black),
        (True, matrix[::-1], black[::-1]),
    ):
        scale = np.diag(square)
        if np.array_equal(square, np.diag(scale)):
            return Pixels(tuple(map(float, scale)), tuple(map(float, offset)), flipped)
    raise ModelFileError(
        f"{module.__name__}: its preprocessing mixes the colours. Put it into a model of your own "
        "as a layer, and export that."
    )


def _reverse_channels(name: str, model: keras.Model) -> None:
    """Lets a network that takes B, G, R take R, G, B: its first convolution is reversed."""
    import keras

    for layer in model.layers[1:]:
        if isinstance(layer, keras.layers.Conv2D):
            kernel, *bias = layer.get_weights()
            layer.set_weights([kernel[:, :, ::-1], *bias])
            return
        if not isinstance(layer, keras.layers.ZeroPadding2D):
            break
    raise ModelFileError(
        f"{name}: takes B, G, R, and does not begin with a convolution that could be reversed."
    )
