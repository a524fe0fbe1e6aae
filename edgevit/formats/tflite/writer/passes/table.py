"""Named steps that rewrite a network for the integer kernels of TFLite, each one to switch.

Every step is exact in real arithmetic: before anything is rounded the rewritten graph says what the
Keras model says. (One makes up for what rounding does, so it changes what is rounded alone.) They
are rows of one table, applied in its order to the float graph that
calibration runs and that the quantiser starts from, so whatever network comes gains from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgevit.base.errors import UnknownNameError
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.passes.attend_through_tokens import attend_through_tokens
from edgevit.formats.tflite.writer.passes.equalise_channels import equalise_channels
from edgevit.formats.tflite.writer.passes.fold_affine import fold_affine
from edgevit.formats.tflite.writer.passes.reports import Changes
from edgevit.frontend.source import ExportOptions


@dataclass(frozen=True)
class Step:
    """One rewrite.

    Attributes:
        name: as typed on the command line.
        summary: one line for people.
        default: whether it is done unless somebody asks for other steps.
        apply: changes the graph; None: done while the model is traced, by
            :mod:`edgevit.frontend.lowering`, or while it is quantised, by
            :mod:`edgevit.formats.tflite.writer.quantize.correct_biases`.
    """

    name: str
    summary: str
    default: bool
    apply: Callable[[TfliteGraph], Changes] | None = field(default=None, repr=False)


CENTRE_NORMS = "centre-norms"
CORRECT_BIASES = "correct-biases"
STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        Step(
            CENTRE_NORMS,
            "LayerNormalization as sub, mul, mean, rsqrt, which have integer kernels",
            default=True,
        ),
        Step(
            "fold-affine",
            "gamma and beta of a norm, and scales and offsets, into the Dense or Conv behind",
            default=True,
            apply=fold_affine,
        ),
        Step(
            "attend-through-tokens",
            "self-attention of heads as wide as tokens without keys and values",
            default=True,
            apply=attend_through_tokens,
        ),
        Step(
            "equalise-channels",
            "even ranges of channels between two linear layers (Nagel et al. 2019)",
            default=False,
            apply=equalise_channels,
        ),
        Step(
            CORRECT_BIASES,
            "the mean error of rounded weights off each bias (Nagel et al. 2019)",
            default=False,
        ),
    )
}
DEFAULT_STEPS = tuple(step.name for step in STEPS.values() if step.default)


def find_steps(names: str | tuple[str, ...]) -> tuple[str, ...]:
    """Names of steps in the order of the table.

    Args:
        names: names, with commas between if they are one text: "default" stands for those that are
            done anyway, "all" for every one, "none" for none; "no-NAME" leaves one out.

    Raises:
        UnknownNameError: no such step.
    """
    words = names.split(",") if isinstance(names, str) else names
    chosen: set[str] = set()
    for word in (word.strip() for word in words):
        if word in ("none", ""):
            continue
        without = word.removeprefix("no-")
        group = {"default": DEFAULT_STEPS, "all": tuple(STEPS)}.get(word, (without,))
        if group[0] not in STEPS:
            raise UnknownNameError(
                "surgery step", word, [*STEPS, "default", "all", "none"], "no-NAME leaves one out."
            )
        chosen = chosen - set(group) if word.startswith("no-") else chosen | set(group)
    return tuple(name for name in STEPS if name in chosen)


def chosen_steps(options: ExportOptions) -> tuple[str, ...]:
    """The steps that a user chose, or those that are done by default."""
    return DEFAULT_STEPS if options.surgery is None else options.surgery


def operate(graph: bytes, names: tuple[str, ...]) -> tuple[bytes, tuple[str, ...]]:
    """Applies steps to a float TFLite graph, in the order of the table.

    Args:
        graph: float32 .tflite.
        names: of :func:`find_steps`.

    Returns:
        (the rewritten graph, lines for the manifest).
    """
    opened = TfliteGraph(graph)
    lines = []
    for name in names:
        apply = STEPS[name].apply
        count = apply(opened).count if apply else 0
        lines += [f"{name}: {count}"] if count else []
    return (opened.to_bytes() if lines else graph), tuple(lines)
