"""What an export refuses before anything slow begins."""

from __future__ import annotations

from edgevit.base.errors import ConfigError
from edgevit.core.target import Format, Precision, Target

OPTIMIZATIONS = ("cpu",)


def check_request(
    targets: list[Target],
    *,
    batch: int | None,
    measured_twice: bool,
    budget: bool,
    recipe: bool,
    micro: bool,
    optimize: str | None,
    preprocess: bool,
) -> None:
    """Whether options go together, and with the targets.

    Args:
        targets: all that are asked for.
        batch: images a run; None: free.
        measured_twice: whether images to calibrate with and a file of ranges are given.
        budget: whether precisions are searched for.
        recipe: whether precisions are given.
        micro: whether TensorFlow Lite Micro shall run the files.
        optimize: what float32 ONNX is optimised for, beyond what always pays.
        preprocess: whether the files take raw images.

    Raises:
        ConfigError: they do not.
    """
    if measured_twice:
        raise ConfigError("--ranges and --calibration say the same twice. Give one of them.")
    if batch is not None and batch < 1:
        raise ConfigError(f"the batch must be at least 1, or dynamic. Received: {batch}")
    if (budget or recipe) and not any(target.precision is Precision.MIXED for target in targets):
        raise ConfigError("a budget or a recipe is for tflite-mixed, which is not asked for.")
    if budget and not preprocess:
        raise ConfigError("--max-drop runs raw images: drop --no-preprocess.")
    if budget and recipe:
        raise ConfigError("a budget looks for a recipe: give one of them, not both.")
    if optimize is not None:
        _check_optimize(targets, optimize)
    if micro:
        _check_micro(targets, batch)


def _check_optimize(targets: list[Target], name: str) -> None:
    if name not in OPTIMIZATIONS:
        raise ConfigError(f"--optimize knows {', '.join(OPTIMIZATIONS)}. Received: {name!r}")
    if not any((row.format, row.precision) == (Format.ONNX, Precision.FLOAT32) for row in targets):
        raise ConfigError("--optimize is for onnx-float32, which is not asked for.")


def _check_micro(targets: list[Target], batch: int | None) -> None:
    others = [
        target.name
        for target in targets
        if target.format is not Format.TFLITE or not target.integer_only
    ]
    if others:
        raise ConfigError(
            "files for TensorFlow Lite Micro are integer-only TFLite: ask for tflite-int8. "
            f"Received: {', '.join(others)}"
        )
    if batch is None:
        raise ConfigError(
            "TensorFlow Lite Micro cannot resize an input, so its files need a fixed batch."
        )
