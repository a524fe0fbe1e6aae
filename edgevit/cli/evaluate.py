"""``edgevit evaluate``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgevit.cli import console, options
from edgevit.cli.completion import complete_models

if TYPE_CHECKING:
    from edgevit.core.parity import AccuracyReport, TaskReport


@click.command()
@click.argument("model", shell_complete=complete_models)
@options.data
@click.option("--limit", type=options.COUNT, help="Only so many images, drawn by a seed.")
@click.option("--kernels", help="LiteRT kernels: xnnpack (default), builtin or reference.")
@click.option(
    "--robustness",
    is_flag=True,
    help="Also on the same images saved as JPEG of quality 95, 75 and 50, and moved by two pixels.",
)
@click.option(
    "--split",
    type=click.Choice(["test", "validation"]),
    default="test",
    help="validation: training images that nothing behind MODEL's weights was trained on, to "
    "choose by. MODEL is then no exported file.",
)
@click.option(
    "--against",
    metavar="MODEL",
    help="The float model that the file was made of: its figures beside the file's, on the same "
    "samples. What is known of a file on samples without labels.",
)
@options.runtime
@options.workers
@options.reading
@options.as_json
def evaluate(
    model: str,
    data: str | None,
    kernels: str | None,
    robustness: bool,
    against: str | None,
    runtime: str | None,
    jobs: int | None,
    ray: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Accuracy of MODEL over labelled images, in the figures of its task.

    Top-1 and top-5 over class folders, or recall@1 of an embedding; mean IoU over a folder of
    images/ and masks/; R2 and errors, or those of several labels at once, over a CSV that names a
    picture and its values in each row; closeness to the float model of --against over samples
    without labels. MODEL is an exported file, run by its own runtime, or a float model, run by
    Keras in float32.

    \b
    edgevit evaluate shiftvit --data cifar10.tar.gz
    edgevit evaluate exports/shiftvit-tflite-int8.tflite --data cifar10.tar.gz
    edgevit evaluate exports/shiftvit-tflite-int8.tflite --data cifar10.tar.gz --runtime tflm
    edgevit evaluate exports/shiftvit-tflite-int8.tflite --data cifar10.tar.gz --robustness
    edgevit evaluate runs/shiftvit --data cifar10.tar.gz --split validation
    edgevit evaluate exports/unet-tflite-int8.tflite --data streets
    edgevit evaluate exports/ages-onnx-int8.onnx --data ages.csv --against ages.keras
    edgevit evaluate exports/faces-tflite-int8.tflite --data people
    edgevit evaluate exports/detector-tflite-int8.tflite --data photos --against detector.keras
    """
    from edgevit.base.files import digest_path

    if runtime:
        kernels = _choose_kernels(model, runtime, kernels)
    options.check_model(model)
    with console.working() as work:
        from edgevit.data.datasets import find_source
        from edgevit.verbs.evaluate import (
            AS_IS,
            evaluate_robustness,
            evaluate_task,
            needs_task_report,
        )
        from edgevit.verbs.evaluate import evaluate as evaluate_model

        chosen["workers"] = options.choose_workers(jobs, ray)
        chosen |= {"kernels": kernels, "status": work.status, "progress": work.advance}
        source = find_source(data)
        if against or needs_task_report(model, source, chosen.get("task")):
            found = evaluate_task(model, source, against=against, **_for_task(chosen, robustness))
            _answer_task(model, found, as_json)
            return
        if robustness:
            reports = evaluate_robustness(model, source, **chosen)
        else:
            reports = {AS_IS: evaluate_model(model, source, **chosen)}
    first, split = reports[AS_IS], chosen["split"]

    def text() -> str:
        line = (
            f"{model}: top-1 {first.top1:.2f} %, top-5 {first.top5:.2f} % of {first.images:,} "
            f"{split} images ({first.source}), run by {first.runtime} in "
            f"{sum(report.seconds for report in reports.values()):.0f} s"
        )
        return f"{line}\n{_draw(reports)}" if robustness else line

    document = {"model": model, "split": split, **asdict(first)}
    if robustness:
        document["robustness"] = {
            name: {"top1": report.top1, "top5": report.top5} for name, report in reports.items()
        }
    if first.runtime != "keras":
        document["sha256"] = digest_path(Path(model))
    console.answer(document, as_json, text)


def _for_task(chosen: dict[str, Any], robustness: bool) -> dict[str, Any]:
    """The arguments of an evaluation by the model's task.

    Raises:
        ConfigError: one that only top-1 accuracy of one model takes.
    """
    from edgevit.base.errors import ConfigError

    if robustness or chosen["split"] != "test":
        raise ConfigError(
            "--split and --robustness are for the top-1 accuracy of a model alone. Drop them."
        )
    return {name: value for name, value in chosen.items() if name != "split"}


def _answer_task(model: str, found: TaskReport, as_json: bool) -> None:
    from edgevit.base.files import digest_path

    def text() -> str:
        low, high = found.interval
        figures = ", ".join(f"{name} {value:.4g}" for name, value in found.figures.items())
        rows = [
            {"": name, **{key: f"{value:.4g}" for key, value in row.items()}}
            for name, row in found.rows.items()
        ]
        line = (
            f"{model}: {figures} of {found.images:,} samples ({found.source}), {found.task}, run "
            f"by {found.runtime} in {found.seconds:.0f} s; 95 % interval of {found.figure}: "
            f"{low:.4g} .. {high:.4g}"
        )
        lines = [line]
        if (beside := found.float_model) is not None:
            known = ", ".join(f"{name} {value:.4g}" for name, value in beside.figures.items())
            low, high = beside.interval
            lines.append(
                f"float model: {known}; the file loses {beside.points_lost:.2f} points of "
                f"{found.figure} (95 % interval {low:.2f} .. {high:.2f})"
            )
        return "\n".join([*lines, console.table(rows, words=("",))] if rows else lines)

    document = {"model": model, **asdict(found)}
    if found.runtime != "keras":
        document["sha256"] = digest_path(Path(model))
    console.answer(document, as_json, text)


def _draw(degraded: dict[str, AccuracyReport]) -> str:
    """A table of accuracies; points are relative to the first row."""
    from edgevit.data.degradations import DEGRADATIONS

    summaries = {way.name: way.summary for way in DEGRADATIONS}
    base = next(iter(degraded.values()))
    rows = [
        {
            "images": name,
            "top-1": f"{report.top1:.2f} %",
            "points": f"{report.top1 - base.top1:+.2f}" if report is not base else "",
            "top-5": f"{report.top5:.2f} %",
            "what was done to them": summaries.get(name, "as the dataset has them"),
        }
        for name, report in degraded.items()
    ]
    return console.table(rows, words=("images", "what was done to them"))


def _choose_kernels(model: str, runtime: str, kernels: str | None) -> str:
    """The kernel set behind ``--runtime``, for an exported file."""
    from edgevit.base.errors import ConfigError
    from edgevit.formats.registry import choose_runtime
    from edgevit.frontend.opening import is_exported

    if kernels:
        raise ConfigError("--kernels and --runtime say the same: give one of them.")
    if not is_exported(Path(model)):
        raise ConfigError(f"{model}: --runtime is for exported files; this is run by Keras.")
    return choose_runtime(Path(model), runtime).name
