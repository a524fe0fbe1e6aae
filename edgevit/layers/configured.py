"""What the layers of this package share."""

from __future__ import annotations

import inspect

from keras import layers


class ConfiguredLayer(layers.Layer):
    """A layer whose arguments are attributes; unless it says otherwise, it keeps the shape.

    Every argument of ``__init__``, defaults among them, can be read from ``self`` by its name as
    soon as ``__init__`` runs; a list is a tuple there. Keras derives ``get_config`` from the same
    values, so they are numbers, strings, None, or tuples and dicts of these.
    """

    def __new__(cls, *args, **kwargs):
        signature = inspect.signature(cls.__init__)
        bound = signature.bind(None, *args, **kwargs)
        bound.apply_defaults()
        own = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in bound.arguments.items()
            if name != "self" and signature.parameters[name].kind.name == "POSITIONAL_OR_KEYWORD"
        }
        layer = super().__new__(cls, **{**kwargs, **own})
        vars(layer).update(own)
        return layer

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)
