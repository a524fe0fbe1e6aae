"""``edgevit evaluate``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edgevit.cli import console, options


@click.command()
@click.argument("model")
@options.data
@click.option("--limit", type=click.IntRange(min=1), help="Only so many images, drawn by a seed.")
@click.option("--kernels", help="LiteRT kernels: xnnpack (default), builtin or reference.")
@options.runtime
@options.reading
@options.as_json
def evaluate(
    model: str,
    data: str | None,
    limit: int | None,
    kernels: str | None,
    runtime: str | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Top-1 and top-5 accuracy of MODEL over the test images of a dataset.

    MODEL is an exported file, run by its own runtime, or an architecture or .keras file, run by
    Keras in float32.

    \b
    edgevit evaluate shiftvit --data cifar10.tar.gz
    edgevit evaluate exports/shiftvit-tflite-int8.tflite --data cifar10.tar.gz
    edgevit evaluate exports/shiftvit-tflite-int8.tflite --data cifar10.tar.gz --runtime tflm
    """
    from edgevit.core.files import digest_path
    from edgevit.models import split_name

    if runtime:
        kernels = _choose_kernels(model, runtime, kernels)
    if not Path(model).exists() and Path(model).suffix == "":
        split_name(model)
    with console.working() as work:
        from edgevit.data.datasets import find_source
        from edgevit.pipeline import evaluate as evaluate_model

        found = evaluate_model(
            model,
            find_source(data),
            limit,
            kernels,
            work.status,
            work.advance,
            **options.opening(**reading),
        )

    def text() -> str:
        return (
            f"{model}: top-1 {found.top1:.2f} %, top-5 {found.top5:.2f} % of {found.images:,} test "
            f"images ({found.source}), run by {found.runtime} in {found.seconds:.0f} s"
        )

    document = {"model": model, **asdict(found)}
    if found.runtime != "keras":
        document["sha256"] = digest_path(Path(model))
    console.answer(document, as_json, text)


def _choose_kernels(model: str, runtime: str, kernels: str | None) -> str:
    """The kernel set behind ``--runtime``, for an exported file."""
    from edgevit.core.errors import ConfigError
    from edgevit.pipeline.sources import is_exported
    from edgevit.runtimes import choose_kernels

    if kernels:
        raise ConfigError("--kernels and --runtime say the same: give one of them.")
    if not is_exported(Path(model)):
        raise ConfigError(f"{model}: --runtime is for exported files; this is run by Keras.")
    return choose_kernels(Path(model), runtime)
