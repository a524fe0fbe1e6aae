"""JSON of dataclasses and arrays: what goes in comes out, and the bytes are always the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgevit.base.documents import decode_array, encode_array, to_json
from edgevit.core.parity import Verdict

DTYPES = ("uint8", "int8", "int32", "int64", "float16", "float32", "float64", "bool", "complex64")


@dataclass(frozen=True)
class Inner:
    values: tuple[float, ...]


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    path: Path
    verdict: Verdict
    nothing: None = None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0, 3), (5,), (2, 3, 4), ()], ids=str)
def test_an_array_survives_the_round_trip_bit_for_bit(dtype, shape):
    array = (np.random.default_rng(0).normal(size=shape) * 100).astype(dtype)
    found = decode_array(json.loads(json.dumps(encode_array(array))))
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
def test_byte_order_and_memory_layout_leave_no_trace(dtype):
    array = np.arange(24, dtype=dtype).reshape(4, 6)
    expected = encode_array(array)
    assert encode_array(array.astype(array.dtype.newbyteorder(">"))) == expected
    assert encode_array(np.asfortranarray(array)) == expected
    np.testing.assert_array_equal(decode_array(expected), array)


def test_an_array_with_nan_keeps_it_since_it_travels_as_bytes():
    array = np.array([np.nan, np.inf, -0.0], np.float32)
    assert decode_array(encode_array(array)).tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "damage",
    [
        {"base64": "%%%"},
        {"base64": "AAAA"},
        {"shape": [7, 7]},
        {"dtype": "float31"},
        {"dtype": "object"},
        {"shape": "wide"},
    ],
    ids=str,
)
def test_a_damaged_array_is_refused(damage):
    document = encode_array(np.zeros((2, 3), np.float32))
    assert decode_array(document).shape == (2, 3)
    with pytest.raises(ValueError, match=r"."):
        decode_array({**document, **damage})


@pytest.mark.parametrize("key", ["dtype", "shape", "base64"])
def test_an_array_with_a_missing_key_is_refused(key):
    document = encode_array(np.zeros(3, np.float32))
    del document[key]
    with pytest.raises(ValueError, match=key):
        decode_array(document)


def test_a_dataclass_becomes_plain_json():
    value = Outer("a", Inner((1.5, 2.0)), Path("x/y"), Verdict.NOT_RUN)
    assert json.loads(to_json(value)) == {
        "name": "a",
        "inner": {"values": [1.5, 2.0]},
        "path": "x/y",
        "verdict": "not run",
        "nothing": None,
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan"), -np.inf])
def test_what_is_not_finite_becomes_null_however_deep(value):
    assert json.loads(to_json({"a": [Inner((value, 1.0))]})) == {"a": [{"values": [None, 1.0]}]}


def test_numpy_numbers_become_json_numbers():
    document = {"a": np.int8(-3), "b": np.float32(0.5), "c": np.bool_(True), 7: "key"}
    assert to_json(document) == '{"a": -3, "b": 0.5, "c": true, "7": "key"}'


@pytest.mark.parametrize(
    "value", [{1, 2}, b"bytes", object(), np.zeros(2)], ids=lambda value: type(value).__name__
)
def test_what_has_no_json_form_is_an_error_and_not_a_guess(value):
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        to_json({"value": value})
