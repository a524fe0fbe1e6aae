"""Dataclasses to versioned JSON and arrays to text, the same bytes every time."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, is_dataclass
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
