"""Operations over space and time in two dimensions, and pooling to a given size by slices.

LiteRT computes CONV_3D in float alone, has no pooling over three axes, and TensorFlow Lite Micro
has neither. A volume is a row of frames: the taps of a kernel along time are so many channels of
one frame, and a maximum or a mean over three axes is one over two and then over the third. Exact in
real arithmetic. Shapes: B T H W C; nothing of more than four axes is computed with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

Sizes = tuple[int, ...]
RANK = 5  # of a batch of volumes


def conv_in_groups(own: Callable) -> Callable:
    """Keras' convolution, with those over volumes in groups as one for each group.

    Converters know groups of pictures only: tf2onnx forgets those of volumes.
    """
    import tensorflow as tf

    def call(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
        groups = inputs.shape[-1] // kernel.shape[-2]
        if not _is_volume(inputs, data_format) or groups == 1:
            return own(inputs, kernel, strides, padding, data_format, dilation_rate)
        sides = zip(tf.split(inputs, groups, -1), tf.split(kernel, groups, -1), strict=True)
        parts = [own(x, k, strides, padding, data_format, dilation_rate) for x, k in sides]
        return tf.concat(parts, -1)

    return call


def conv_of_frames(own: Callable) -> Callable:
    """Keras' convolution, with those over volumes as one over frames."""

    def call(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
        if not _is_volume(inputs, data_format) or inputs.shape[-1] != kernel.shape[-2]:
            return own(inputs, kernel, strides, padding, data_format, dilation_rate)
        step, wide = _each(strides, 3), _each(dilation_rate, 3)
        taps, *kernel_size = kernel.shape[:3]
        reach = (taps - 1) * wide[0] + 1
        count, before, after = _along(inputs.shape[1], reach, step[0], padding)
        starts = [tap * wide[0] for tap in range(taps)]
        frames = _stack_taps(inputs, (before, after), starts, count, step[0])
        flat = _flat_kernel(kernel, (1, 2, 0, 3, 4), (*kernel_size, -1, kernel.shape[-1]))
        found = own(frames, flat, step[1:], padding, data_format, wide[1:])
        return _volume(found, count)

    return call


def conv_transpose_of_frames(own: Callable) -> Callable:
    """Keras' transposed convolution, with those over volumes as one over frames.

    Along time, zeros stand between the frames, and the kernel is turned round.
    """

    def call(
        inputs,
        kernel,
        strides=1,
        padding="valid",
        output_padding=None,
        data_format=None,
        dilation_rate=1,
    ):
        dilated = max(_each(dilation_rate, 3)) > 1
        if not _is_volume(inputs, data_format) or dilated or output_padding is not None:
            return own(inputs, kernel, strides, padding, output_padding, data_format, dilation_rate)
        import tensorflow as tf

        step, taps, length = _each(strides, 3), kernel.shape[0], inputs.shape[1]
        same = padding.lower() == "same"
        count = length * step[0] + (0 if same else max(taps - step[0], 0))
        cut = max((length - 1) * step[0] + taps - count, 0) // 2 if same else 0
        left = taps - 1 - cut
        right = count + taps - 1 - left - length * step[0]
        spread = _spread(_rows(inputs), step[0])
        spread = tf.pad(spread, [(0, 0), (left, max(right, 0)), (0, 0)])
        frames = _stack_rows(spread, inputs.shape[2:], range(taps), count, 1)
        turned = tf.reverse(kernel, [0])
        flat = _flat_kernel(turned, (1, 2, 3, 0, 4), (*kernel.shape[1:4], -1))
        return _volume(own(frames, flat, step[1:], padding, None, data_format), count)

    return call


def pool_of_frames(own: Callable) -> Callable:
    """Keras' pooling, with that over volumes as one over frames and one over time."""

    def call(inputs, pool_size, strides=None, padding="valid", data_format=None):
        if not _is_volume(inputs, data_format):
            return own(inputs, pool_size, strides, padding, data_format)
        import tensorflow as tf

        size = _each(pool_size, 3)
        step = size if strides is None else _each(strides, 3)
        x, length = inputs, inputs.shape[1]
        if (*size[1:], *step[1:]) != (1, 1, 1, 1):
            frames = tf.reshape(x, (-1, *x.shape[2:]))  # BT H W C
            x = _volume(own(frames, size[1:], step[1:], padding, data_format), length)
        if (size[0], step[0]) == (1, 1):
            return x
        rows = tf.reshape(x, (-1, length, math.prod(x.shape[2:4]), x.shape[4]))  # B T HW C
        found = own(rows, (size[0], 1), (step[0], 1), padding, data_format)
        return tf.reshape(found, (-1, found.shape[1], *x.shape[2:]))

    return call


def adaptive_pool(name: str) -> Callable[[Callable], Callable]:
    """Keras' pooling to a given size, by the plain operation where windows are even, else slices.

    Args:
        name: of the plain operation in Keras' backend, "average_pool" or "max_pool".
    """

    def make(own: Callable) -> Callable:
        def call(inputs, output_size, data_format=None):
            from keras.src import backend
            from keras.src.backend import nn

            sizes = tuple(inputs.shape[1:-1])
            if backend.standardize_data_format(data_format) != "channels_last" or None in sizes:
                return own(inputs, output_size, data_format)
            wanted = _each(output_size, len(sizes))
            if all(size % many == 0 for size, many in zip(sizes, wanted, strict=True)):
                window = tuple(size // many for size, many in zip(sizes, wanted, strict=True))
                return getattr(nn, name)(inputs, window, window, "valid", data_format)
            x = inputs
            for axis, many in enumerate(wanted, 1):
                x = _pool_windows(x, axis, many, name)
            return x

        return call

    return make


def _pool_windows(x: Any, axis: int, many: int, name: str) -> Any:
    """Means or maxima of windows along an axis, as even as they can be."""
    import tensorflow as tf

    length = x.shape[axis]
    if length == many:
        return x
    reduce = tf.reduce_mean if name == "average_pool" else tf.reduce_max
    before, after = x.shape[1:axis], x.shape[axis + 1 :]
    view = tf.reshape(x, (-1, length, math.prod(after)))
    parts = [
        reduce(view[:, place * length // many : -(-(place + 1) * length // many)], 1, keepdims=True)
        for place in range(many)
    ]
    return tf.reshape(tf.concat(parts, 1), (-1, *before, many, *after))


def _is_volume(inputs: Any, data_format: str | None) -> bool:
    from keras.src import backend

    last = backend.standardize_data_format(data_format) == "channels_last"
    return last and len(inputs.shape) == RANK and None not in inputs.shape[1:]


def _each(value: Any, count: int) -> Sizes:
    return (value,) * count if isinstance(value, int) else tuple(value)


def _along(length: int, reach: int, step: int, padding: str) -> tuple[int, int, int]:
    """(positions of a kernel along an axis, zeros before, zeros behind)."""
    if padding.lower() != "same":
        return (length - reach) // step + 1, 0, 0
    count = -(-length // step)
    zeros = max((count - 1) * step + reach - length, 0)
    return count, zeros // 2, zeros - zeros // 2


def _rows(volume: Any) -> Any:
    import tensorflow as tf

    return tf.reshape(volume, (-1, volume.shape[1], math.prod(volume.shape[2:])))  # B T HWC


def _volume(frames: Any, count: int) -> Any:
    import tensorflow as tf

    return tf.reshape(frames, (-1, count, *frames.shape[1:]))  # B T H W C


def _spread(rows: Any, step: int) -> Any:
    """Rows with zeros behind each, step - 1 of them. B T F -> B (T step) F."""
    import tensorflow as tf

    if step == 1:
        return rows
    _, length, width = rows.shape
    apart = tf.pad(
        tf.reshape(rows, (-1, length, 1, width)), [(0, 0), (0, 0), (0, step - 1), (0, 0)]
    )
    return tf.reshape(apart, (-1, length * step, width))


def _stack_taps(
    volume: Any, zeros: tuple[int, int], starts: Sequence[int], count: int, step: int
) -> Any:
    import tensorflow as tf

    rows = _rows(volume)
    if zeros != (0, 0):
        rows = tf.pad(rows, [(0, 0), zeros, (0, 0)])
    return _stack_rows(rows, volume.shape[2:], starts, count, step)


def _stack_rows(rows: Any, frame: Sizes, starts: Sequence[int], count: int, step: int) -> Any:
    """The frames that each tap meets, side by side in the channels. -> BT H W KC."""
    import tensorflow as tf

    parts = [
        tf.reshape(rows[:, start : start + (count - 1) * step + 1 : step], (-1, *frame))
        for start in starts
    ]
    return parts[0] if len(parts) == 1 else tf.concat(parts, -1)


def _flat_kernel(kernel: Any, order: Sizes, shape: Sizes) -> Any:
    import tensorflow as tf

    return tf.reshape(tf.transpose(kernel, order), shape)
