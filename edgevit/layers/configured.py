"""What layers with arguments share."""

from __future__ import annotations

from typing import Any

from keras import layers


class ConfiguredLayer(layers.Layer):
    """A layer that is saved with its arguments and, unless it says otherwise, keeps the shape.

    A subclass sets ``config``, its arguments by name, once in ``__init__``.
    """

    config: dict[str, Any]

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), **self.config}
