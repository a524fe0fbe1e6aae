"""What the layers of this package share."""

from __future__ import annotations

import inspect

from keras import layers


class ConfiguredLayer(layers.Layer):
    """A layer whose arguments are attributes; unless it says otherwise, it keeps the shape.

    Every argument of ``__init__``, defaults among them, can be read from ``self`` by its name as
    soon as ``__init__`` runs. Keras derives ``get_config`` from the same arguments, so they are
    numbers, strings, None, or lists, tuples and dicts of these.
    """

    def __new__(cls, *args, **kwargs):
        layer = super().__new__(cls, *args, **kwargs)
        signature = inspect.signature(cls.__init__)
        bound = signature.bind(layer, *args, **kwargs)
        bound.apply_defaults()
        own = list(signature.parameters)[1:]  # without self
        vars(layer).update({name: bound.arguments[name] for name in own if name != "kwargs"})
        return layer

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)
