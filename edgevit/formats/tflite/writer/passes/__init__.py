"""Named passes that rewrite a network for the integer kernels of TFLite, each one to switch.

All but the last three are exact in real arithmetic: before anything is rounded the rewritten graph
returns what the Keras model returns. They are rows of one table, run in its order on the float
graph that calibration runs and that the quantiser starts from, so whatever network comes gains from
them.
"""

from __future__ import annotations

from edgevit.base.errors import UnknownNameError
from edgevit.formats import passes
from edgevit.formats.passes import Pass, PassReport
from edgevit.formats.tflite.options import TfliteOptions
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.passes.attend_through_tokens import attend_through_tokens
from edgevit.formats.tflite.writer.passes.equalise_channels import equalise_channels
from edgevit.formats.tflite.writer.passes.fold_affine import fold_affine

CENTRE_NORMS = "centre-norms"
LEVEL_CHANNELS = "level-channels"
CORRECT_BIASES = "correct-biases"
TRY_ON_SAMPLES = "try-on-samples"


def _run_elsewhere(graph: TfliteGraph) -> PassReport:
    """Changes nothing in the float graph: it is done while the model is traced, or quantised."""
    return PassReport("", 0)


PASSES: dict[str, Pass[TfliteGraph]] = {
    row.name: row
    for row in (
        Pass(
            CENTRE_NORMS,
            "LayerNormalization as sub, mul, mean, rsqrt, which have integer kernels",
            _run_elsewhere,  # edgevit.frontend.lowering
        ),
        Pass(
            "fold-affine",
            "gamma and beta of a norm, and scales and offsets, into the Dense or Conv behind",
            fold_affine,
        ),
        Pass(
            "attend-through-tokens",
            "self-attention of heads as wide as tokens without keys and values",
            attend_through_tokens,
        ),
        Pass(
            "equalise-channels",
            "even ranges of channels between two linear layers (Nagel et al. 2019)",
            equalise_channels,
            default=False,
        ),
        Pass(
            LEVEL_CHANNELS,
            "channels of one size, as the samples show them (Nagel et al. 2019)",
            _run_elsewhere,  # edgevit.formats.tflite.writer.quantize.level_channels
            exact=False,
            default=False,
        ),
        Pass(
            CORRECT_BIASES,
            "the mean error of rounded weights off each bias (Nagel et al. 2019)",
            _run_elsewhere,  # edgevit.formats.tflite.writer.quantize.correct_biases
            exact=False,
            default=False,
        ),
        Pass(
            TRY_ON_SAMPLES,
            "the two above, learnt rounding and narrower ranges, each if the samples gain from it",
            _run_elsewhere,  # edgevit.formats.tflite.writer.quantize.choose_form
            exact=False,
        ),
    )
}
DEFAULT_PASSES = tuple(row.name for row in PASSES.values() if row.default)
# These begin with what a record of the float graph says, and leave that graph as it is.
WITH_RECORD = (LEVEL_CHANNELS, CORRECT_BIASES, TRY_ON_SAMPLES)


def find_passes(names: str | tuple[str, ...]) -> tuple[str, ...]:
    """Names of passes in the order of the table.

    Args:
        names: names, with commas between if they are one text: "default" stands for those that run
            anyway, "all" for every one, "none" for none; "no-NAME" leaves one out.

    Raises:
        UnknownNameError: no such pass.
    """
    words = names.split(",") if isinstance(names, str) else names
    chosen: set[str] = set()
    for word in (word.strip() for word in words):
        if word in ("none", ""):
            continue
        without = word.removeprefix("no-")
        group = {"default": DEFAULT_PASSES, "all": tuple(PASSES)}.get(word, (without,))
        if group[0] not in PASSES:
            raise UnknownNameError(
                "surgery step", word, [*PASSES, "default", "all", "none"], "no-NAME leaves one out."
            )
        chosen = chosen - set(group) if word.startswith("no-") else chosen | set(group)
    return tuple(name for name in PASSES if name in chosen)


def chosen_passes(options: TfliteOptions) -> tuple[str, ...]:
    """Names of the passes that a user chose, or of those that run by default."""
    return DEFAULT_PASSES if options.surgery is None else options.surgery


def describe_passes(options: TfliteOptions) -> str:
    """What activation ranges depend on beside the network."""
    return " ".join(n for n in chosen_passes(options) if n not in WITH_RECORD) or "no surgery"


def run_passes(graph: TfliteGraph, names: tuple[str, ...]) -> tuple[str, ...]:
    """Runs passes on a float graph, which is changed in place.

    Args:
        graph: float32.
        names: of :func:`find_passes`.

    Returns:
        A line for the manifest for each pass that changed something.
    """
    lines = passes.report_lines(passes.run_passes(graph, [PASSES[name] for name in names]))
    if lines:
        graph.prune()
    return lines
