"""Feature maps cut into square windows, and put together again.

Source: Liu et al. 2021, "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows"
(arXiv:2103.14030), section 3.2.

The usual form transposes six axes. Neighbouring axes that stay neighbours are kept merged here, so
that four are enough: the batch with the window's row, and a window's columns with the channels.
"""

from __future__ import annotations

from keras import ops


def window_partition(x, window: int):
    """Cuts a feature map into windows that do not overlap.

    Args:
        x: B H W C, with H and W multiples of the window.
        window: side of a window, in tokens.

    Returns:
        M N C with N = window * window tokens and M = B * H/window * W/window windows: those of one
        image stay together, row by row.
    """
    _, rows, columns, channels = x.shape
    _check_fit(rows, columns, window)
    if columns > window:
        across = columns // window
        x = ops.reshape(x, (-1, window, across, window * channels))  # B*H/w w W/w w*C
        x = ops.transpose(x, (0, 2, 1, 3))  # B*H/w W/w w w*C
    return ops.reshape(x, (-1, window * window, channels))  # M N C


def window_reverse(windows, window: int, rows: int, columns: int):
    """Puts windows together again: the inverse of :func:`window_partition`.

    Args:
        windows: M N C, as :func:`window_partition` returns them.
        window: side of a window, in tokens.
        rows: of the feature map.
        columns: of the feature map.

    Returns:
        B rows columns C.
    """
    _check_fit(rows, columns, window)
    channels = windows.shape[-1]
    if columns > window:
        across = columns // window
        x = ops.reshape(windows, (-1, across, window, window * channels))  # B*H/w W/w w w*C
        windows = ops.transpose(x, (0, 2, 1, 3))  # B*H/w w W/w w*C
    return ops.reshape(windows, (-1, rows, columns, channels))  # B H W C


def _check_fit(rows: int, columns: int, window: int) -> None:
    if window < 1 or rows % window or columns % window:
        raise ValueError(
            "rows and columns must be multiples of the window. "
            f"Received: rows={rows}, columns={columns}, window={window}"
        )
