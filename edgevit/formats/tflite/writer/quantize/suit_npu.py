"""Rewrites an integer-only TFLite graph so that Arm's Ethos-U runs all of it.

What Vela, its compiler, left to the CPU of the five architectures: means over channels (of every
LayerNormalization) and resizes to other than twice the size (of the preprocessing). Each has a form
that the NPU runs; the same numbers, within the rounding of LiteRT's own kernels. Shifts of channels
ran there, but as a dozen copies of memory each.

What comes out runs in LiteRT too.
"""

from __future__ import annotations

from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.quantize.convolve_shifts import convolve_shifts
from edgevit.formats.tflite.writer.quantize.multiply_means import multiply_means
from edgevit.formats.tflite.writer.quantize.multiply_resizes import multiply_resizes

REWRITES = (
    (convolve_shifts, "shifts of channels as depthwise convolutions"),
    (multiply_means, "means over channels as products"),
    (multiply_resizes, "bilinear resizes as two products"),
)


def suit_npu(graph: TfliteGraph) -> tuple[str, ...]:
    """Rewrites shifts, means over channels and resizes.

    Args:
        graph: integer-only; changed in place.

    Returns:
        Steps taken; none if the graph is as it was.
    """
    counts = [(rewrite(graph), summary) for rewrite, summary in REWRITES]
    steps = tuple(f"{count} {summary}" for count, summary in counts if count)
    if steps:
        graph.prune()
    return steps
