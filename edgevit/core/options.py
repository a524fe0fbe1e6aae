"""Options as fields of dataclasses: the command line and the keyword arguments come from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgevit.base.errors import ConfigError
from edgevit.core.target import Precision

KEY = "option"


@dataclass(frozen=True)
class Option:
    """How a field is typed and shown.

    Attributes:
        help: one sentence for people.
        flag: on the command line; "": the field's name with hyphens.
        metavar: what stands for the value in a usage text; "": that of its type.
        choices: the values there are; empty: any.
        read: ``(text) -> value``, written "module:attribute"; "": the type of the default.
        shown_default: in words, where the default's own value says too little.
        precisions: of the targets that it is for; empty: all of its format.
    """

    help: str
    flag: str = ""
    metavar: str = ""
    choices: tuple[str, ...] = ()
    read: str = ""
    shown_default: str = ""
    precisions: tuple[Precision, ...] = ()


def option(help: str, **words: Any) -> dict[str, Option]:
    """The metadata of a field that is an option.

    Args:
        help: one sentence for people.
        **words: see :class:`Option`.
    """
    return {KEY: Option(help, **words)}


def read_batch(text: str) -> int | None:
    """``--batch 4`` or ``--batch dynamic``.

    Raises:
        ConfigError: neither a number of at least 1 nor "dynamic".
    """
    if text == "dynamic":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--batch: {text!r} is neither a number of at least 1 nor 'dynamic'.")
    return int(text)
