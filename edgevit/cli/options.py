"""Options that several verbs share."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import Field
from pathlib import Path
from typing import Any

import click

from edgevit.base.errors import ConfigError, in_one_line
from edgevit.base.loading import import_from_here, load_attribute
from edgevit.base.naming import split_names
from edgevit.core.options import KEY
from edgevit.core.tensors import SCALINGS
from edgevit.data.labels import read_class_names
from edgevit.formats.options import flag_of, list_options
from edgevit.formats.registry import RUNTIMES
from edgevit.tasks import TASKS

PATH = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)
SCALING = click.Choice(tuple(SCALINGS))

_WORKERS = (
    click.option(
        "--jobs",
        type=COUNT,
        help="Share the samples among so many processes; the result is the same to the bit, "
        "whatever their number.  [default: all in this one]",
    ),
    click.option(
        "--ray",
        metavar="ADDRESS",
        help="Share them among the machines of a Ray cluster: its address, or 'auto'.",
    ),
)

file = click.argument("file", type=PATH)

as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")

data = click.option(
    "--data",
    metavar="PATH",
    help="Class folders, a tar or zip of them, an npz, or cifar10. Default: $EDGEVIT_DATA.",
)

runtime = click.option(
    "--runtime",
    metavar="NAME",
    help="Another runtime or kernel set that reads the file: "
    + ", ".join(name for name, row in RUNTIMES.items() if row.device == "cpu")
    + ".",
)

thorough = click.option(
    "--thorough",
    is_flag=True,
    help="Run all golden inputs in slow kernels too (LiteRT's reference kernels, TensorFlow Lite "
    "Micro); else they run the first sixteen, of a float32 file four.",
)

weights = click.option(
    "--weights",
    type=PATH,
    metavar="PATH",
    help="Weights instead of those that come with MODEL: a .weights.h5, .h5, .keras or "
    ".safetensors file, or a training run's folder; 'none' leaves a model of keras.applications "
    "untrained.",
)


def of_value(read: Callable[[Any], Any]) -> Callable:
    """A callback of click that reads an option's value."""
    return lambda context, parameter, value: read(value)


def of_formats(*names: str) -> Callable[[Callable], Callable]:
    """Options that belong to formats, by the names of their fields; none: all of them."""

    def add(command: Callable) -> Callable:
        fields = list_options()
        for name in reversed(names or tuple(fields)):
            command = _click_option(fields[name])(command)
        return command

    return add


def _click_option(field: Field) -> Callable[[Callable], Callable]:
    words, flag = field.metadata[KEY], flag_of(field)
    text = words.help + (f" Default: {words.shown_default}." if words.shown_default else "")
    named = f"{flag}/--no-{flag[2:]}" if isinstance(field.default, bool) else flag

    def read(value: Any) -> Any:
        return load_attribute(words.read)(value) if words.read and value is not None else value

    return click.option(
        named,
        field.name,
        type=click.Choice(words.choices) if words.choices else str if words.read else None,
        default=field.default,
        metavar=words.metavar or None,
        callback=of_value(read),
        help=text,
        show_default=False if words.shown_default else None,
    )


@of_value
def parse_size(value: str | None) -> tuple[int, int] | None:
    """``--image-size 64`` or ``--image-size 48x64`` (rows x columns)."""
    if value is None:
        return None
    parts = value.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and 1 <= int(part) <= 8192 for part in parts):
        raise click.BadParameter(f"{value!r} is neither a side nor ROWSxCOLUMNS, in pixels.")
    return int(parts[0]), int(parts[-1])


@of_value
def parse_counts(value: str | None) -> tuple[int, ...]:
    """``--threads 1,2``: numbers of at least 1; nothing where the option is not given."""
    if value is None:
        return ()
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() and int(part) >= 1 for part in parts):
        raise click.BadParameter(f"{value!r} is no list of numbers of at least 1, such as 1,4.")
    return tuple(int(part) for part in parts)


@of_value
def parse_share(value: str) -> float:
    """``--max-slowdown 5%`` or ``--max-slowdown 0.05``."""
    from edgevit.bench.gating import read_share

    return read_share(value)


@of_value
def read_fields(value: tuple[str, ...]) -> dict[str, Any]:
    """``--set image_size=64 --set window_sizes=2,2,4,2``: values are Python literals, else text."""
    found: dict[str, Any] = {}
    for entry in value:
        field, equals, text = entry.partition("=")
        if not equals or not field.strip():
            raise click.BadParameter(f"{entry!r} is not FIELD=VALUE.")
        try:
            found[field.strip()] = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError):
            found[field.strip()] = text.strip()
    return found


@of_value
def parse_names(value: str | None) -> tuple[str, ...] | None:
    """``--outputs logits,attention``."""
    return None if value is None else tuple(split_names(value))


@of_value
def parse_shapes(value: tuple[str, ...]) -> dict[str, tuple[int | None, ...]] | None:
    """``--input-shape image=1x224x224x3``; "?" is a free size."""
    found: dict[str, tuple[int | None, ...]] = {}
    for entry in value:
        name, _, text = entry.rpartition("=")
        parts = text.lower().split("x")
        if not name or not all(part == "?" or (part.isdecimal() and int(part)) for part in parts):
            raise click.BadParameter(f"{entry!r} is not NAME=SIZES, such as image=1x224x224x3.")
        found[name] = tuple(None if part == "?" else int(part) for part in parts)
    return found or None


@of_value
def read_labels(path: Path | None) -> tuple[str, ...]:
    """``--labels names.txt`` (one a line) or a JSON list; nothing where it is not given.

    Raises:
        ConfigError: see :func:`edgevit.data.labels.read_class_names`.
    """
    return () if path is None else read_class_names(path)


@of_value
def import_modules(names: tuple[str, ...]) -> None:
    """``--import my_layers``: makes the classes of a file known to Keras.

    Raises:
        ConfigError: one that cannot be imported.
    """
    from edgevit.frontend.sources.custom import register_classes

    for name in names:
        try:
            with redirect_stdout(sys.stderr):  # standard output is for the answer
                register_classes(import_from_here(name))
        except Exception as error:  # whatever a user's module raises
            reason = in_one_line(error, 200)
            raise ConfigError(
                f"--import {name}: cannot be imported ({type(error).__name__}: {reason}). It is "
                "looked for in this folder and among the installed packages."
            ) from None


image_size = click.option(
    "--image-size",
    callback=parse_size,
    metavar="SIDE|HxW",
    help="Size of the raw image, resized inside. Default: that of the training images.",
)

modules = click.option(
    "--import",
    multiple=True,
    callback=import_modules,
    expose_value=False,
    metavar="MODULE",
    help="A file of your own: Python module that defines its layers.",
)

trust_code = click.option(
    "--trust-code",
    is_flag=True,
    help="Let a .keras or .h5 file run the Python code that it contains (Lambda layers).",
)

_READING = (
    weights,
    click.option(
        "--outputs",
        callback=parse_names,
        metavar="NAME[,NAME...]",
        help="Outputs of an architecture beside the logits, such as attention, or all (see "
        "'edgevit models'); those to keep of a model of your own.",
    ),
    image_size,
    click.option(
        "--input-shape",
        multiple=True,
        callback=parse_shapes,
        metavar="NAME=1xHxWxC",
        help="Sizes of an input that the model leaves free, the batch first.",
    ),
    click.option(
        "--task",
        type=click.Choice(tuple(TASKS)),
        help="What the model is for.  [default: guessed from its outputs]",
    ),
    click.option(
        "--scaling",
        type=SCALING,
        help="A model of your own: the pixels of its training: 0..255, 0..1, -1..1, or ImageNet's "
        "mean and deviation.  [default: raw]",
    ),
    click.option(
        "--labels",
        "class_names",
        type=PATH,
        callback=read_labels,
        metavar="FILE",
        help="A model of your own: its class names, one a line or a JSON list.",
    ),
    modules,
    trust_code,
)


def reading(command: Callable) -> Callable:
    """The options that say how MODEL is read: :class:`edgevit.frontend.opening.Opening`."""
    for option in reversed(_READING):
        command = option(command)
    return command


def workers(command: Callable) -> Callable:
    """The options that say which processes share samples."""
    for option in reversed(_WORKERS):
        command = option(command)
    return command


def choose_workers(jobs: int | None, ray: str | None) -> Any:
    """What :func:`workers` asked for; None: this process alone."""
    from edgevit.sweeps.shards import Workers

    return None if jobs is None and ray is None else Workers(jobs or 0, ray)


def check_model(model: str) -> None:
    """Refuses what is no model before anything slow is imported.

    Raises:
        UnknownNameError: it looks like an architecture's name, and there is none.
        ModelFileError: there is no such file, or it is something else.
    """
    from edgevit.frontend.opening import is_exported
    from edgevit.frontend.sources.table import find_kind

    if not is_exported(Path(model)):
        find_kind(model)
