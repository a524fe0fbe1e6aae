"""How Keras layers are written down while a model is traced, so that converters do well.

Keras computes LayerNormalization as ``x * inv + (beta - mean * inv)``. In int8 that form cancels
badly and reaches kernels (SQUARED_DIFFERENCE, NEG) that are slow, missing or float-only; in ONNX
no fusion recognises it. Keras' exact GELU becomes Erfc, which is not an ONNX operator. The forms
below are equal in real arithmetic.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Form = Callable[[Any, Any], Any]  # (layer, x) -> what the layer makes of x; None leaves Keras' own


@dataclass(frozen=True)
class Lowering:
    """One way of writing the layers.

    Attributes:
        layer_norm: (layer, x) -> normalised x; None leaves Keras' own.
        gelu: (x, approximate) -> activation; None leaves Keras' own.
        matmul: (x, matrix, own matmul) -> product; None leaves Keras' own.
        steps: for the manifest.
        layers: forms of further layers, by the name of their class.
        functions: by module and name in Keras' backend, such as "nn.conv": own -> replacement.
    """

    layer_norm: Form | None
    gelu: Callable[[Any, bool], Any] | None
    matmul: Callable[[Any, Any, Callable], Any] | None
    steps: tuple[str, ...]
    layers: Mapping[str, Form] = field(default_factory=dict)
    functions: Mapping[str, Callable[[Callable], Callable]] = field(default_factory=dict)

    @property
    def all_layers(self) -> dict[str, Form]:
        """Forms of all layers that have one, by the name of their class."""
        found = {} if self.layer_norm is None else {"LayerNormalization": self.layer_norm}
        return {**found, **self.layers}

    @property
    def all_functions(self) -> dict[str, Callable[[Callable], Callable]]:
        """Replacements of all functions that have one."""
        found: dict[str, Callable[[Callable], Callable]] = {
            f"numpy.{name}": plain_extreme for name in ("argmax", "argmin")
        }
        gelu, matmul = self.gelu, self.matmul
        if gelu is not None:
            found["nn.gelu"] = lambda own: lambda x, approximate=True: gelu(x, approximate)
        if matmul is not None:
            found["numpy.matmul"] = lambda own: lambda x1, x2: matmul(x1, x2, own)
        return {**found, **self.functions}


KERAS = Lowering(None, None, None, ())  # Keras' own forms throughout


def layer_norm_centred(layer: Any, x: Any) -> Any:
    """``d * rsqrt(mean(d * d) + epsilon)`` with ``d = x - mean(x)``: only ops with int8 kernels."""
    from keras import ops

    if layer.rms_scaling:
        return None
    centred = x - ops.mean(x, axis=layer.axis, keepdims=True)
    variance = ops.mean(centred * centred, axis=layer.axis, keepdims=True)
    return _scale_and_shift(layer, centred * ops.rsqrt(variance + layer.epsilon))


def conv_in_one(own: Callable) -> Callable:
    """Keras' convolution, with grouped ones as the plain operation that converters know."""
    import tensorflow as tf
    from keras.src import backend

    def call(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
        layout = backend.standardize_data_format(data_format)
        grouped = inputs.shape[-1] != kernel.shape[-2]
        if layout != "channels_last" or not grouped:
            return own(inputs, kernel, strides, padding, data_format, dilation_rate)
        return tf.nn.convolution(inputs, kernel, strides, padding.upper(), dilations=dilation_rate)

    return call


def group_norm_centred(layer: Any, x: Any) -> Any:
    """As :func:`layer_norm_centred`, of the channels of each group over all places."""
    from keras import ops

    shape, axis = x.shape, layer.axis % len(x.shape)
    if axis != len(shape) - 1 or None in shape[1:]:
        return None
    groups = shape[-1] if layer.groups == -1 else layer.groups
    places = math.prod(shape[1:-1])
    grouped = ops.reshape(x, (-1, places, groups, shape[-1] // groups))  # B N G D
    centred = grouped - ops.mean(grouped, axis=(1, 3), keepdims=True)
    variance = ops.mean(centred * centred, axis=(1, 3), keepdims=True)
    normal = centred * ops.rsqrt(variance + layer.epsilon)
    normal = ops.reshape(normal, (-1, *shape[1:]))
    if layer.gamma is not None:
        normal = normal * layer.gamma
    return normal if layer.beta is None else normal + layer.beta


def layer_norm_textbook(layer: Any, x: Any) -> Any:
    """``d / sqrt(mean(d ** 2) + epsilon)``: the form that onnxruntime fuses."""
    import tensorflow as tf
    from keras import ops

    if layer.rms_scaling:
        return None
    centred = x - ops.mean(x, axis=layer.axis, keepdims=True)
    variance = ops.mean(tf.pow(centred, 2.0), axis=layer.axis, keepdims=True)
    return _scale_and_shift(layer, centred / tf.sqrt(variance + layer.epsilon))


def gelu_textbook(x: Any, approximate: bool) -> Any:
    """Exact GELU through Erf (Hendrycks & Gimpel 2016, arXiv:1606.08415): onnxruntime fuses it."""
    import tensorflow as tf

    if approximate:
        return tf.nn.gelu(x, approximate=True)
    return x * (tf.math.erf(x / math.sqrt(2.0)) + 1.0) * 0.5


def matmul_rows(x: Any, matrix: Any, own: Callable) -> Any:
    """A product with one matrix, computed on rows.

    Keras' own becomes a tensordot, which with a free batch computes its shapes while it runs and
    loses them for everything behind it.
    """
    from keras import ops

    if len(matrix.shape) != 2 or len(x.shape) < 3 or None in x.shape[1:]:
        return own(x, matrix)
    rows = own(ops.reshape(x, (-1, x.shape[-1])), matrix)  # rows C'
    return ops.reshape(rows, (-1, *x.shape[1:-1], matrix.shape[-1]))


def square_as_product(own: Callable) -> Callable:
    """``x * x``: SQUARE has no integer kernel, MUL has one."""
    return lambda x: x * x


def elu_by_exp(own: Callable) -> Callable:
    """ELU through exp: LiteRT's reference kernels have no ELU of the version that is written."""
    import tensorflow as tf

    def elu(x: Any, alpha: float = 1.0) -> Any:
        return tf.nn.relu(x) + alpha * (tf.exp(tf.minimum(x, 0.0)) - 1.0)

    return elu


def celu_by_exp(own: Callable) -> Callable:
    """CELU through exp: ``exp(x) - 1`` as one operation is no ONNX operator."""
    import tensorflow as tf

    def celu(x: Any, alpha: float = 1.0) -> Any:
        return tf.nn.relu(x) + alpha * (tf.exp(tf.minimum(x, 0.0) / alpha) - 1.0)

    return celu


def resize_by_products(own: Callable) -> Callable:
    """Keras' resize, where no edge runtime has one: a fixed resize is a product a side.

    Bicubic and other smooth kernels, and antialiasing, are in LiteRT not at all, and in ONNX with
    other weights than TensorFlow's.
    """
    from keras.src import backend

    def call(images, size, interpolation="bilinear", antialias=False, *rest, **options):
        plain = interpolation in ("bilinear", "nearest") and not antialias
        last = backend.standardize_data_format(options.get("data_format")) == "channels_last"
        fitted = rest or any(options.get(name) for name in FITTED)
        if plain or fitted or not last or len(images.shape) != 4 or None in images.shape[1:]:
            return own(images, size, interpolation, antialias, *rest, **options)
        import tensorflow as tf

        rows, columns = (
            _resize_matrix(old, new, interpolation, antialias)
            for old, new in zip(images.shape[1:3], size, strict=True)
        )
        x = tf.transpose(tf.cast(images, "float32"), (0, 2, 3, 1))  # B W C H
        x = tf.transpose(_on_rows(x, rows), (0, 3, 2, 1))  # B h C W
        return tf.transpose(_on_rows(x, columns), (0, 1, 3, 2))  # B h w C

    return call


FITTED = ("crop_to_aspect_ratio", "pad_to_aspect_ratio")


def _resize_matrix(old: int, new: int, interpolation: str, antialias: bool) -> Any:
    """What each old place gives to each new one, as TensorFlow resizes. float32 old new."""
    import tensorflow as tf

    with tf.init_scope():
        lines = tf.eye(old)[:, :, None, None]  # a picture for each old place
        found = tf.image.resize(lines, (new, 1), interpolation, antialias=antialias)
        return found[:, :, 0, 0].numpy()


def _on_rows(x: Any, matrix: Any) -> Any:
    import tensorflow as tf

    rows = tf.matmul(tf.reshape(x, (-1, x.shape[-1])), matrix)
    return tf.reshape(rows, (-1, *x.shape[1:-1], matrix.shape[-1]))


def take_plainly(own: Callable) -> Callable:
    """Elements by index, in one operation where indices are computed, as those of an Embedding are.

    Keras counts negative indices from the end, which costs a comparison and a choice that
    microcontrollers do not have. A file's indices are 0 to N - 1.
    """
    import tensorflow as tf
    from keras import ops

    def call(x, indices, axis=None):
        computed = tf.is_tensor(indices) and tf.get_static_value(indices) is None
        if axis is None or not computed or not indices.dtype.is_integer:
            return own(x, indices, axis)
        return tf.gather(ops.convert_to_tensor(x), indices, axis=axis)

    return call


def plain_extreme(own: Callable) -> Callable:
    """argmax or argmin in one operation.

    Keras' own tells -0.0 from 0.0 by the bits of a float, which no edge runtime can ask for. Which
    of several equal values is named differs in that case alone.
    """
    import tensorflow as tf

    choose = getattr(tf, own.__name__)

    def call(x, axis=None, keepdims=False):
        values = tf.reshape(x, [-1]) if axis is None else x
        found = choose(values, axis=0 if axis is None else axis, output_type="int32")
        if not keepdims:
            return found
        rank = len(x.shape)
        return tf.reshape(found, [1] * rank) if axis is None else tf.expand_dims(found, axis)

    return call


def _scale_and_shift(layer: Any, x: Any) -> Any:
    from keras import ops

    shape = [1] * len(x.shape)
    for axis in layer.axis:
        shape[axis] = x.shape[axis]
    if layer.gamma is not None:
        x = x * ops.reshape(layer.gamma, shape)
    if layer.beta is not None:
        x = x + ops.reshape(layer.beta, shape)
    return x


@contextlib.contextmanager
def unrolled_loops() -> Iterator[None]:
    """While the context lasts, recurrent layers write every step down.

    Loops keep their body in a graph of its own, which neither quantisers nor passes look into; an
    exported file has a fixed number of steps anyway.
    """
    import keras

    recurrent = keras.layers.RNN
    own = recurrent.call

    def call(self, sequences, *args, **options):
        before = self.unroll, getattr(self, "use_cudnn", None)
        self.unroll, self.use_cudnn = sequences.shape[1] is not None, False
        try:
            return own(self, sequences, *args, **options)
        finally:
            self.unroll, self.use_cudnn = before

    recurrent.call = call
    try:
        yield
    finally:
        recurrent.call = own


@contextlib.contextmanager
def applied(lowering: Lowering) -> Iterator[None]:
    """While the context lasts, Keras layers are traced in the given forms."""
    import keras
    from keras.src import backend

    with contextlib.ExitStack() as stack:
        for place, make in lowering.all_functions.items():
            module, name = place.split(".")
            home = getattr(backend, module)
            stack.enter_context(_replaced(home, name, make(getattr(home, name))))
        for name, form in lowering.all_layers.items():
            kind = getattr(keras.layers, name)
            stack.enter_context(_replaced(kind, "call", _call_in_form(kind.call, form)))
        stack.enter_context(_replaced(_seeded_layer(), "_get_seed_generator", _constant_seed))
        with unrolled_loops():
            yield


def _seeded_layer() -> type:
    """Base class of the layers that augment pictures."""
    import keras

    kinds = keras.layers.RandomHue.__mro__
    return next(kind for kind in kinds if "_get_seed_generator" in vars(kind))


def _constant_seed(layer: Any, backend: Any = None) -> int:
    """Instead of a layer's own generator.

    Layers that augment pictures draw at inference too, and use none of it. Drawn from a state that
    each call counts on, a converter keeps the drawing, with its loops.
    """
    return 1


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Callable) -> Iterator[None]:
    own = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, own)


def _call_in_form(own: Callable, form: Form) -> Callable:
    import keras

    def call(self, inputs):
        found = form(self, inputs)
        return own(self, inputs) if found is None else keras.ops.cast(found, self.compute_dtype)

    return call
