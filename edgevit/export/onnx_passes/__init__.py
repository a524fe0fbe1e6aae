"""Rewrites of an ONNX graph, one a file, in one ordered tuple."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgevit.export.onnx_passes.split_padded_max_pool import split_padded_max_pool

# Each changes a ModelProto in place and says how often; what it does is its function's name.
PASSES: tuple[Callable[[Any], int], ...] = (split_padded_max_pool,)


def run_passes(model: Any) -> tuple[str, ...]:
    """Runs every pass once, in order; a line for the manifest for each that did anything."""
    steps = []
    for rewrite in PASSES:
        count = rewrite(model)
        if count:
            steps.append(f"{rewrite.__name__}: {count}")
    return tuple(steps)
