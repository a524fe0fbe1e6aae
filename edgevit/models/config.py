"""Sizes of an architecture: a frozen dataclass whose fields say which values make sense."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import field, fields
from typing import Any

from edgevit.base.errors import ConfigError
from edgevit.core.tensors import Preprocess

FORMS = ("paper", "tutorial")


class ModelConfig:
    """What the configs of all architectures share: checks of single fields, and preprocessing.

    A subclass is a frozen dataclass whose fields are made by :func:`choice`, :func:`size`,
    :func:`rate` and :func:`positive`; those below are among them. Lists become tuples. Where
    fields depend on each other, its ``__post_init__`` calls this one first.

    Attributes:
        image_size: side of the square image that enters the network, in pixels.
        num_classes: length of the logits.

    Raises:
        ConfigError: a field has a value that makes no sense.
    """

    image_size: int
    num_classes: int

    def __post_init__(self) -> None:
        for one in fields(self):  # type: ignore[arg-type]  # of the dataclass that derives
            if isinstance(value := getattr(self, one.name), list):
                object.__setattr__(self, one.name, value := tuple(value))
            if "check" in one.metadata and not (value is None and one.default is None):
                _check_shape(one.name, value, one.default)
                one.metadata["check"](one.name, value)

    def preprocess(self) -> Preprocess:
        """The pixels that the weights expect: [0, 1] at the network's size."""
        return Preprocess(network_size=(self.image_size, self.image_size))

    def layer(self, kind: Any, name: str, **own: Any) -> Any:
        """A layer of a class, which takes each of these fields whose name it knows.

        Args:
            kind: the class.
            name: of the layer.
            **own: further arguments, and those that differ from the field of their name.
        """
        known = inspect.signature(kind.__init__).parameters
        sizes = {
            one.name: getattr(self, one.name)
            for one in fields(self)  # type: ignore[arg-type]
            if one.name in known
        }
        return kind(**{**sizes, **own}, name=name)


def choice(default: str, allowed: Iterable[str]) -> Any:
    """A field with one of these values."""
    known = tuple(allowed)
    return _checked(default, known.__contains__, f"one of {', '.join(map(repr, known))}")


def size(default: int | tuple[int, ...] | None, empty: bool = False) -> Any:
    """A field of whole numbers of at least 1: one, or a tuple of them, which may be ``empty``."""

    def fits(value: Any) -> bool:
        members = value if isinstance(value, tuple) else (value,)
        return bool(members or empty) and all(_is_whole(one) and one >= 1 for one in members)

    return _checked(default, fits, "made of whole numbers of at least 1")


def rate(default: float) -> Any:
    """A field in [0, 1)."""
    return _checked(default, lambda value: _is_number(value) and 0 <= value < 1, "a rate in [0, 1)")


def positive(default: float | tuple[float, ...] | None) -> Any:
    """A field of finite numbers above 0: one, or a tuple of them."""

    def fits(value: Any) -> bool:
        members = value if isinstance(value, tuple) else (value,)
        return all(_is_number(one) and 0 < one < float("inf") for one in members)

    return _checked(default, fits, "a number above 0")


def _checked(default: object, fits: Callable[[Any], bool], wanted: str) -> Any:
    def check(name: str, value: object) -> None:
        if not fits(value):
            raise ConfigError(f"{name} must be {wanted}. Received: {name}={value!r}")

    return field(default=default, metadata={"check": check})


def _check_shape(name: str, value: object, default: object) -> None:
    """Raises ConfigError for one number where the default is a tuple of them, or the reverse."""
    if default is not None and isinstance(value, tuple) != isinstance(default, tuple):
        wanted = "a list" if isinstance(default, tuple) else "one value"
        raise ConfigError(f"{name} must be {wanted}. Received: {name}={value!r}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
