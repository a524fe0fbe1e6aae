"""Where functions move: outside of it they are flat, and levels out there tell nothing.

Hard swish is zero below -3. Kernels saturate at the ends of a range, and what saturates there
returns the same. A convolution in front of a hard swish reaches -12 in a trained network, so half
of its levels would go to what is cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

Pair = tuple[float, float]

WHOLE: Pair = (-math.inf, math.inf)
HARD_SWISH: Pair = (-3.0, math.inf)


def join_parts(parts: Iterable[Pair]) -> Pair:
    """The part in which any of several functions moves; all of it where there is no function."""
    lows, highs = zip(*(list(parts) or [WHOLE]), strict=True)
    return min(lows), max(highs)


def cut_range(pair: Pair, part: Pair) -> Pair:
    """A range without what lies outside of a part; one value where nothing moves in it."""
    (low, high), (first, last) = pair, part
    return min(max(low, first), last), max(min(high, last), first)
