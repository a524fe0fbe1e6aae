"""Networks that a file describes, bounded by what the file holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edgevit.base.errors import ModelFileError

# A file holds its network's weights. They may be packed, or of 8 bits where the network's are 32.
SLACK_BYTES = 64 << 20
FOLD = 16
MOST_WEIGHTS = 100_000  # arrays of one network


@contextmanager
def bounded_weights(origin: str, held: int) -> Iterator[None]:
    """Refuses a network whose weights are far more than its file can hold, before they are made.

    Args:
        origin: what errors call the file.
        held: bytes that it unpacks to.

    Raises:
        ModelFileError: it declares more.
    """
    import keras

    most, declared, count = SLACK_BYTES + FOLD * held, 0, 0
    add = keras.layers.Layer.add_weight

    def add_counted(layer: Any, shape: Any = None, *args: Any, **kwargs: Any) -> Any:
        nonlocal declared, count
        count += 1
        declared += 4 * math.prod(int(size) for size in shape or ())
        if declared > most or count > MOST_WEIGHTS:
            raise ModelFileError(
                f"{origin}: declares {count:,} weights or more, of {declared / 1e9:.1f} GB, and "
                f"holds {held / 1e6:.1f} MB. It is damaged, or made to fill the memory."
            )
        return add(layer, shape, *args, **kwargs)

    keras.layers.Layer.add_weight = add_counted
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = add
