"""Dataclasses to versioned JSON and back, and arrays to text; the same bytes every time."""

from __future__ import annotations

import base64
import json
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from edgevit.base.bounds import DOCUMENT_BYTES, NESTING, TOML_BYTES, is_nested, read_bounded
from edgevit.base.errors import InputError, ModelFileError, in_one_line

VERSION = 1
Kind = TypeVar("Kind")

if TYPE_CHECKING:
    NanFloat = float
else:

    class NanFloat(float):
        """A field that may be NaN, which JSON has no number for: it is written and read as null."""


@dataclass(frozen=True)
class _Versioned:
    version: int


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON of dataclasses, tuples, paths and numpy numbers; NaN becomes null."""
    return json.dumps(to_plain(value), indent=indent, sort_keys=False, allow_nan=False)


def to_plain(value: Any) -> Any:
    """Dataclasses, tuples, paths and numpy numbers as JSON values; NaN becomes None.

    Raises:
        TypeError: a value that has no JSON form.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return to_plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
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


def from_plain(
    kind: type[Kind], value: Any, read_array: Callable[[Any], np.ndarray] = decode_array
) -> Kind:
    """JSON values as the (nested) dataclass that :func:`to_plain` was given.

    Args:
        kind: a dataclass, or any type that one of its fields may have. Fields that the document
            lacks take their default; others that it has are ignored.
        value: what json.loads returned.
        read_array: makes an array of how this document writes it.

    Raises:
        ValueError: the document is not of this kind. The message holds the path of the field.
    """
    import msgspec  # takes as long as the fastest commands; only those that read documents need it

    def read_other(wanted: type, found: Any) -> Any:
        if wanted is np.ndarray:
            return read_array(found)
        if wanted is not NanFloat:
            raise NotImplementedError(f"a field of the type {wanted} has no JSON form")
        try:
            return NanFloat("nan" if found is None else msgspec.convert(found, float))
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None  # to which convert adds the field

    return msgspec.convert(value, kind, dec_hook=read_other)


def parse_json(
    text: str | bytes, name: str, noun: str, kind: type[InputError] = ModelFileError
) -> Any:
    """Parses the text of a document.

    Args:
        text: JSON.
        name: of the file, for errors.
        noun: what errors call the document, such as "its manifest".
        kind: of error.

    Raises:
        InputError: it is no JSON, or nested too deeply.
    """
    try:
        return _check_nesting(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise kind(f"{name}: {noun} is damaged ({in_one_line(error, 160)}).") from None


def parse_toml(
    text: str, name: str, noun: str, kind: type[InputError] = ModelFileError
) -> dict[str, Any]:
    """Parses the text of a TOML document; arguments as in :func:`parse_json`.

    Raises:
        InputError: it is no TOML, longer than 4 MB, or nested too deeply.
    """
    if len(text) > TOML_BYTES:
        raise kind(f"{name}: {noun} has {len(text):,} characters, more than {TOML_BYTES:,}.")
    try:
        found: dict[str, Any] = _check_nesting(tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        raise kind(f"{name}: {noun} is no TOML ({in_one_line(error, 160)}).") from None
    return found


def _check_nesting(found: Any) -> Any:
    if is_nested(found):
        raise ValueError(f"more than {NESTING} lists and objects inside one another")
    return found


def read_json(
    path: Path, noun: str = "the document", kind: type[InputError] = ModelFileError
) -> Any:
    """The document in a file; arguments as in :func:`parse_json`.

    Raises:
        InputError: it cannot be read, is too large, or no JSON.
    """
    return parse_json(read_text(path, noun, kind), str(path), noun, kind)


def read_text(path: Path, noun: str = "the text", kind: type[InputError] = ModelFileError) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        InputError: it cannot be read, is too large, or no text.
    """
    try:
        return read_bounded(path, DOCUMENT_BYTES, kind).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise kind(f"{path}: {noun} cannot be read ({error}).") from None


def read_object(path: Path, noun: str) -> dict[str, Any]:
    """The JSON object in a file; see :func:`read_json`.

    Raises:
        ModelFileError: as there, or it is something else.
    """
    return parse_object(read_text(path, noun), str(path), noun)


def parse_object(text: str | bytes, name: str, noun: str) -> dict[str, Any]:
    """As :func:`parse_json`, for a document that is a JSON object.

    Raises:
        ModelFileError: it is no JSON, or something else.
    """
    document = parse_json(text, name, noun)
    if not isinstance(document, dict):
        raise ModelFileError(f"{name}: {noun} is no JSON object.")
    return document


def read_document(
    kind: type[Kind],
    document: Any,
    name: str,
    noun: str,
    read_array: Callable[[Any], np.ndarray] = decode_array,
) -> Kind:
    """A versioned document as a dataclass; see :func:`from_plain`.

    Args:
        kind: the dataclass.
        document: what :func:`parse_json` returned.
        name: of the file, for errors.
        noun: what errors call the document, such as "its manifest".
        read_array: makes an array of how this document writes it.

    Raises:
        ModelFileError: damaged, which names the field, or written by a newer version.
    """
    try:
        version = from_plain(_Versioned, document).version
        if version > VERSION:
            raise ModelFileError(
                f"{name}: written by a newer edgevit (document version {version}). Upgrade."
            )
        return from_plain(kind, document, read_array)
    except ValueError as error:
        raise ModelFileError(f"{name}: {noun} is damaged ({error}).") from None
