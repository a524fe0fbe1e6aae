"""``edgevit export``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from edgevit.base.lean import import_frameworks
from edgevit.base.processor import count_cores
from edgevit.base.stopwatch import Stage, Stopwatch
from edgevit.cli import console, options
from edgevit.cli.completion import complete_models, complete_targets

if TYPE_CHECKING:
    from edgevit.quantization.search import SearchReport
    from edgevit.verbs.export import ExportArguments, Outcome


class Export(click.Command):
    """Names the target that replaces an option which is none any more."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(context, args)
        except click.NoSuchOption as error:
            from edgevit.verbs.export import REPLACED, describe_replaced

            name = error.option_name.removeprefix("--")
            if name not in REPLACED:
                raise
            raise click.UsageError(describe_replaced(name)) from None


@click.command(cls=Export)
@click.argument("model", shell_complete=complete_models)
@click.option(
    "--format",
    "formats",
    metavar="TARGET[,TARGET...]",
    shell_complete=complete_targets,
    help="Targets, or 'all'; see 'edgevit targets'.  [default: tflite-int8 where activation ranges "
    "ship or are given, else tflite-float32]",
)
@click.option(
    "--out",
    type=options.PATH,
    default=Path("exports"),
    help="Folder for the files.",
)
@click.option(
    "--calibration",
    metavar="PATH",
    help="Samples for int8: a dataset or a folder of pictures; for any other model an .npz with an "
    "array for each input, by its name. Default: ranges shipped with the weights.",
)
@click.option(
    "--ranges",
    type=options.PATH,
    metavar="FILE",
    help="Activation ranges for int8, written by 'edgevit calibrate'.",
)
@options.of_formats()
@click.option(
    "--max-drop",
    type=float,
    metavar="POINTS",
    help="tflite-mixed: the quickest precisions that lose at most so many points of the task's "
    "figure (accuracy, mean IoU, R2, recall@1; all of 100) on samples of --data. Writes the recipe "
    "it finds beside the file.",
)
@options.data
@click.option(
    "--validation-images",
    type=click.IntRange(min=10),
    default=1000,
    help="How many images --max-drop measures on.",
)
@options.reading
@click.option("--keep-failed", is_flag=True, help="Write a file even if its verification fails.")
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Exit with 0 for a file whose precision costs more than its limit.",
)
@click.option(
    "--embed-samples/--no-embed-samples",
    default=True,
    help="Let a few of the held-out calibration samples travel inside the file (at most half a "
    "megabyte), so that it is verified on them too.",
)
@click.option(
    "--cache/--no-cache",
    default=True,
    help="Keep the float model's outputs for the next export of the same weights; see 'edgevit "
    "cache'.",
)
@options.thorough
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes at once: with several targets, a file is verified beside the writing of the "
    "next.  [default: 2 where there are several cores]",
)
@click.option(
    "--sign",
    type=options.PATH,
    metavar="KEY",
    help="A private ed25519 key: sign each file with it, so that 'edgevit verify --trust' knows "
    "who made it.",
)
@click.option(
    "--timings",
    is_flag=True,
    help="Show where the wall time of the whole call went; with --json the document is "
    '{"outcomes": [...], "timings": [...], "seconds": ...}.',
)
@options.as_json
def export(
    model: str,
    formats: str | None,
    out: Path,
    max_drop: float | None,
    data: str | None,
    validation_images: int,
    jobs: int | None,
    timings: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Export MODEL and verify each file in its own runtime.

    MODEL is an architecture with shipped weights (see 'edgevit models'), a model of your own, or
    the folder of a training run. A file appears whole or not at all, with a manifest beside it, and
    only if it is right: its runtimes agree with the float model as far as its precision allows. A
    file that is right but loses more than its target's limit is 'lossy'; the exit code is 1 then
    too, unless you accept that.

    \b
    edgevit export shiftvit --format tflite-int8
    edgevit export shiftvit --format all --out build
    edgevit export shiftvit --format tflite-int8-micro
    edgevit export patchconvnet --format onnx-float32 --outputs logits,attention
    edgevit export runs/patchconvnet --format onnx-float32-cpu
    edgevit export my.keras --format tflite-int8 --scaling unit --calibration photos/
    edgevit export runs/vit --format tflite-int8,onnx-int8 --ranges vit-ranges.json
    edgevit export shiftvit --format tflite-mixed --max-drop 0.3 --data cifar10.tar.gz
    edgevit export shiftvit --format tflite-mixed --recipe-file edited.toml
    """
    from edgevit.formats.registry import find_targets

    if formats is None:
        formats = _default_target(model, chosen)
    find_targets(formats)  # before anything slow is imported
    options.check_model(model)
    watch = Stopwatch("starting")
    with console.working() as work:

        def status(line: str) -> None:
            watch.begin(line)
            work.status(line)

        from edgevit.data.datasets import find_source
        from edgevit.verbs.export import Budget, export_all, plan_export

        if max_drop is not None:
            chosen["budget"] = Budget(max_drop, find_source(data), validation_images)
        plan_export(formats, cast("ExportArguments", chosen))  # refuses before anything slow
        status("importing Keras and TensorFlow")
        import_frameworks()
        chosen |= {"status": status, "progress": work.advance}
        outcomes = export_all(model, formats, out, jobs=jobs or min(2, count_cores()), **chosen)
    stages = watch.stop()
    documents = [_document(outcome) for outcome in outcomes]
    console.answer(
        _with_timings(documents, stages) if timings else documents,
        as_json,
        lambda: _text(outcomes, stages, timings),
    )
    if not all(outcome.accepted for outcome in outcomes):
        sys.exit(1)


def _with_timings(documents: list[dict[str, Any]], stages: Sequence[Stage]) -> dict[str, Any]:
    rows = [{"stage": stage.name, "seconds": round(stage.seconds, 3)} for stage in stages]
    seconds = round(sum(stage.seconds for stage in stages), 3)
    return {"outcomes": documents, "timings": rows, "seconds": seconds}


def _timings_text(stages: Sequence[Stage]) -> str:
    rows = [{"stage": stage.name, "s": f"{stage.seconds:.2f}"} for stage in stages]
    total = {"stage": "in all", "s": f"{sum(stage.seconds for stage in stages):.2f}"}
    return console.table([*rows, total], words=("stage",))


def _default_target(model: str, chosen: dict[str, Any]) -> str:
    """int8 where something says which ranges activations have, else what needs none."""
    from edgevit.models import is_known

    calibrated = chosen["calibration"] is not None or chosen["ranges"] is not None
    return "tflite-int8" if calibrated or is_known(model) else "tflite-float32"


def _search_document(search: SearchReport) -> dict[str, Any]:
    interval, counted = search.drop.interval(), search.drop.counted
    counts = {}
    if counted is not None:  # the figure is a share of right answers
        counts = {"float_accuracy": search.float_figure, "mcnemar_p": counted.p_value}
    return {
        "max_drop": search.max_drop,
        "images": search.images,
        "source": search.source,
        "figure": search.figure,
        "float_figure": search.float_figure,
        "points_lost": search.drop.points,
        "interval": [interval.low, interval.high],
        **counts,
        "evaluations": search.evaluations,
        "trials": [
            {
                "name": trial.name,
                "points_lost": None if trial.drop is None else trial.drop.points,
                "latency_ms": trial.latency_ms,
                "operators": trial.operators,
                "chosen": number == search.chosen,
            }
            for number, trial in enumerate(search.trials)
        ],
    }


def _search_text(search: SearchReport) -> list[str]:
    from edgevit.quantization.search import describe_drop

    rows = [
        {
            "precisions": trial.name + (" (chosen)" if number == search.chosen else ""),
            "points lost": "-" if trial.drop is None else f"{trial.drop.points:.2f}",
            "ms here": f"{trial.latency_ms:.2f}",
            **{name: str(count) for name, count in trial.operators.items()},
        }
        for number, trial in enumerate(search.trials)
    ]
    drop = describe_drop(search.drop, search.drop.interval())
    return [
        console.table(rows, words=("precisions",)),
        f"{search.figure} on {search.images} validation samples of {search.source}, float32 "
        f"{search.float_figure:.2f} %: {drop}; {search.evaluations} evaluations.",
    ]


def _document(outcome: Outcome) -> dict[str, Any]:
    from edgevit.reports.text import summarise_others, summarise_outputs, summarise_parity
    from edgevit.verbs.export import recipe_path
    from edgevit.verification.signing import signature_path

    if outcome.refusal:
        return {
            "target": outcome.target.name,
            "path": None,
            "verdict": "refused",
            "error": outcome.refusal,
            "seconds": round(outcome.seconds, 2),
            "warnings": list(outcome.warnings),
        }
    artifact = outcome.artifact
    figures = summarise_parity(outcome.reports)
    document: dict[str, Any] = {
        "target": outcome.target.name,
        "path": str(artifact.path) if artifact else None,
        "size_bytes": artifact.size_bytes if artifact else None,
        "sha256": artifact.sha256 if artifact else None,
        "verdict": str(outcome.verdict),
        "max_abs": figures["max_abs"],
        "top1_agreement": figures["top1_agreement"],
        "seconds": round(outcome.seconds, 2),
    }
    if artifact and signature_path(artifact.path).exists():
        document["signature"] = str(signature_path(artifact.path))
    if outcome.not_run:
        document["not_run"] = [row.name for row in outcome.not_run]
    if outcome.search:
        document["search"] = _search_document(outcome.search)
        document["recipe"] = str(recipe_path(artifact.path)) if artifact else None
    others = summarise_others(outcome.reports)
    document["task"] = outcome.task
    document["warnings"] = list(outcome.warnings)
    document["caveats"] = list(outcome.caveats)
    if outcome.saturation:
        document["saturation"] = outcome.saturation
    document["suspects"] = [row.layer for row in outcome.suspects]
    document["results"] = summarise_outputs(outcome.reports)
    document["runs"] = [report.to_document() for report in outcome.reports]
    return {**document, "outputs": others} if others else document


def _note(outcomes: list[Outcome]) -> str:
    """What the figures of the table rest on."""
    from edgevit.reports.text import judging_runs

    first = next(outcome for outcome in outcomes if not outcome.refusal)
    judging = judging_runs(first.reports)[0]
    count, runtimes = judging.images, sorted({r.runtime for o in outcomes for r in o.reports})
    kind = "of your own samples, held out" if judging.samples == "own" else "golden inputs"
    return (
        f"{first.task}; {count} {kind}, each file against float Keras, run in "
        f"{', '.join(runtimes)}."
    )


def _text(outcomes: list[Outcome], stages: Sequence[Stage], timings: bool) -> str:
    from edgevit.reports.tables import agreement_column, share_and_limit
    from edgevit.reports.text import summarise_others, summarise_parity
    from edgevit.verbs.export import recipe_path

    rows = []
    for outcome in outcomes:
        figures = summarise_parity(outcome.reports)
        artifact = outcome.artifact
        if outcome.refusal:
            continue
        first, tolerance = outcome.reports[0].first, outcome.target.tolerance
        rows.append(
            {
                "target": outcome.target.name,
                "verdict": str(outcome.verdict),
                "MB": console.megabytes(artifact.size_bytes) if artifact else "-",
                "max |diff|": f"{figures['max_abs']:.2g}",
                "mean/std": share_and_limit(
                    figures["relative"], first.allowed(tolerance).limit(first.role).relative
                ),
                **agreement_column(first, figures["top1_agreement"], tolerance),
                "s": f"{outcome.seconds:.1f}",
                "file": console.shown_path(artifact.path) if artifact else "not written",
            }
        )
    lines = []
    if rows:
        seconds = sum(stage.seconds for stage in stages)
        lines = [console.table(rows, words=("target", "verdict", "file")), _note(outcomes)]
        lines.append(f"{seconds:.1f} s in all; a target's own are those behind the opened model.")
    lines += [f"{console.paint('warning:')} {line}" for line in outcomes[0].warnings]
    for outcome in outcomes:
        if outcome.refusal:
            lines.append(f"{outcome.target.name}: {console.paint('refused')}. {outcome.refusal}")
            continue
        lines += [
            f"{outcome.target.name}: layer {row.layer} ({row.kind}) adds {row.excess_db:.0f} dB "
            "more error than the precision explains. 'edgevit export ... --keep-failed' and "
            "'edgevit diff' show the rest."
            for row in outcome.suspects[:1]
        ]
        lines += console.verdict_lines(
            outcome.target.name,
            outcome.target.tolerance,
            outcome.reports,
            outcome.verdict,
            outcome.saturation,
        )
        lines += console.not_run_lines(outcome.target, outcome.not_run)
        lines += [f"{outcome.target.name}: {line}" for line in outcome.caveats]
        if outcome.search:
            lines += _search_text(outcome.search)
            if outcome.artifact:
                lines.append(f"recipe: {console.shown_path(recipe_path(outcome.artifact.path))}")
        for name, figure in summarise_others(outcome.reports).items():
            lines.append(
                f"{outcome.target.name}, output {name!r}: max |diff| {figure['max_abs']:.2g}, "
                f"mean/std {100 * figure['relative']:.2g} %"
            )
    lines += [_timings_text(stages)] if timings else []
    return "\n".join(lines)
