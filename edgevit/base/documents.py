"""Dataclasses to versioned JSON and arrays to text, the same bytes every time."""

from __future__ import annotations

import base64
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

VERSION = 1


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON of dataclasses, tuples, paths and numpy numbers; NaN becomes null."""
    return json.dumps(_plain(value), indent=indent, sort_keys=False, allow_nan=False)


def encode_array(array: np.ndarray) -> dict[str, Any]:
    """An array as {"dtype", "shape", "base64"}, little-endian."""
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "base64": base64.b64encode(little.tobytes()).decode("ascii"),
    }


def decode_array(document: dict[str, Any]) -> np.ndarray:
    """The array of :func:`encode_array`.

    Raises:
        ValueError: the document is damaged.
    """
    try:
        dtype = np.dtype(document["dtype"]).newbyteorder("<")
        data = base64.b64decode(document["base64"], validate=True)
        array = np.frombuffer(data, dtype=dtype).reshape(document["shape"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an encoded array: {error}") from None
    return array.astype(dtype.newbyteorder("="))


def from_plain(kind: Any, value: Any) -> Any:
    """Plain JSON values as the (nested) dataclass that :func:`to_json` wrote.

    Args:
        kind: a dataclass, or the type of one of its fields: tuples, dicts, optional values and
            plain types. Fields that the document lacks take their default; others that it has
            are ignored.
        value: what json.loads gave.

    Raises:
        ValueError: the document is not of this kind.
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        return _read_dataclass(typing.cast(type, kind), value)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in parts:
            return None
        return from_plain(next(part for part in parts if part is not type(None)), value)
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"expected a list, found {value!r:.60}")
        return tuple(from_plain(parts[0], item) for item in value)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"expected an object, found {value!r:.60}")
        return {str(key): from_plain(parts[1], item) for key, item in value.items()}
    if kind is Any:
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"expected {kind.__name__}, found {value!r:.60}")
    return value


def _read_dataclass(kind: Any, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"expected an object ({kind.__name__}), found {value!r:.60}")
    hints = typing.get_type_hints(kind)
    found = {}
    for field in fields(kind):
        if field.name in value:
            found[field.name] = from_plain(hints[field.name], value[field.name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{kind.__name__} lacks {field.name!r}")
    return kind(**found)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.floating, float)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (str, int, bool)):
        return value
    raise TypeError(f"cannot be written as JSON: {type(value).__name__}")
