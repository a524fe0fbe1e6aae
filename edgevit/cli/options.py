"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path

import click

as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")

data = click.option(
    "--data",
    metavar="PATH",
    help="Class folders, a tar or zip of them, an npz, or cifar10. Default: $EDGEVIT_DATA.",
)

weights = click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Weights instead of the shipped ones: a .safetensors file, or a training run's folder.",
)

trust_code = click.option(
    "--trust-code",
    is_flag=True,
    help="Let a .keras file run the Python code that it contains (Lambda layers).",
)


def parse_batch(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    """``--batch 4`` or ``--batch dynamic``."""
    if value == "dynamic":
        return None
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a number of at least 1 nor 'dynamic'.")
    return int(value)
