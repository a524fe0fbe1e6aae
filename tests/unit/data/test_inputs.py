"""Arrays that fit the inputs of a model, and those that do not."""

from __future__ import annotations

import zipfile
from functools import partial

import numpy as np
import pytest

from edgevit.base.errors import DataError
from edgevit.core.signature import InputSpec, Signature
from edgevit.core.tensors import Preprocess
from edgevit.data.inputs import fit_array, fit_inputs, read_arrays
from helpers.refusals import line_of

SCALE = Preprocess((6, 5), (4, 4))
PICTURE = InputSpec("photo", (None, 4, 4, 3), preparation=SCALE)
GREY = InputSpec(
    "grey",
    (None, 4, 4, 1),
    preparation=Preprocess((6, 5), (4, 4), scale=(1.0,), offset=(0.0,)),
)
CLIP = InputSpec("clip", (None, 2, 4, 4, 3), preparation=SCALE)
VECTOR = InputSpec("pose", (None, 3))
NUMBER = InputSpec("age", (None, 1))
SIGNAL = InputSpec("signal", (None, None, 2))
INDEX = InputSpec("word", (None, 4), "int32", levels=10)
FREE_INDEX = InputSpec("place", (None,), "int32")


def refusal(array, spec) -> str:
    call = partial(fit_array, np.asarray(array), spec, "set.npz")
    message = line_of(DataError, call, "set.npz: ")
    assert spec.name in message
    return message


@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint16", "float32", "float64", "float16"])
def test_whole_pixels_of_any_type_become_uint8(dtype):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 6, 5, 3))
    found = fit_array(pixels.astype(dtype), PICTURE, "x")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.full((1, 6, 5, 3), 0.5, np.float32), "whole numbers of 0..255"),
        (np.ones((1, 6, 5, 3), np.float32), "is scaled"),  # white of a picture scaled to 0..1
        (np.full((1, 6, 5, 3), -1.0, np.float32), "leaves 0..255"),
        (np.full((1, 6, 5, 3), 256), "leaves 0..255"),
        (np.full((1, 6, 5, 3), np.nan, np.float32), "leaves 0..255"),
        (np.full((1, 6, 5, 3), True), "cannot be pixels"),
        (np.full((1, 6, 5, 3), "a"), "cannot be pixels"),
    ],
)
def test_pixels_of_another_scale_are_refused(array, said):
    message = refusal(array, PICTURE)
    assert said in message
    assert "0..255" in message


def test_one_scaled_picture_among_many_is_found():
    pixels = np.full((50, 6, 5, 3), 7.0, np.float32)
    pixels[33, 2, 2, 1] = 7.25
    assert "is scaled" in refusal(pixels, PICTURE)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (PICTURE, (2, 4, 4, 3)),  # the size behind the resize
        (PICTURE, (2, 6, 5)),
        (PICTURE, (6, 5, 3)),
        (PICTURE, (2, 6, 5, 1)),
        (CLIP, (2, 6, 5, 3)),
        (VECTOR, (2, 4)),
        (VECTOR, (3,)),
        (VECTOR, (2, 3, 1)),
        (SIGNAL, (2, 7, 3)),
        (SIGNAL, (2, 0, 2)),
        (FREE_INDEX, (2, 1)),
        (NUMBER, ()),
    ],
)
def test_another_shape_is_refused_with_both_shapes(spec, shape):
    message = refusal(np.zeros(shape), spec)
    assert "the model takes " + spec.name in message
    assert str(shape) in message


@pytest.mark.parametrize(
    ("spec", "shape", "kept"),
    [
        (PICTURE, (2, 6, 5, 3), (2, 6, 5, 3)),
        (GREY, (2, 6, 5), (2, 6, 5, 1)),
        (GREY, (2, 6, 5, 1), (2, 6, 5, 1)),
        (CLIP, (2, 2, 6, 5, 3), (2, 2, 6, 5, 3)),
        (VECTOR, (2, 3), (2, 3)),
        (NUMBER, (2,), (2, 1)),
        (SIGNAL, (2, 9, 2), (2, 9, 2)),
        (FREE_INDEX, (2,), (2,)),
    ],
)
def test_a_free_size_takes_any_and_a_last_axis_of_one_may_be_missing(spec, shape, kept):
    found = fit_array(np.zeros(shape, np.uint8), spec, "x")
    assert found.shape == kept
    assert found.dtype == spec.raw_dtype


def test_numbers_of_any_type_become_float32():
    for dtype in ("float64", "float16", "int64", "uint8", "bool"):
        found = fit_array(np.ones((2, 3), dtype), VECTOR, "x")
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_a_number_that_is_not_finite_is_refused(value):
    assert "no finite" in refusal([[0.0, value, 1.0]], VECTOR)


def test_text_and_complex_numbers_are_refused():
    assert "takes numbers" in refusal([["a", "b", "c"]], VECTOR)
    assert "takes numbers" in refusal([[1j, 2, 3]], VECTOR)


def test_indices_lie_within_the_levels():
    found = fit_array(np.array([[0, 9, 3, 1]], np.uint8), INDEX, "x")
    assert found.dtype == np.int32
    assert found.tolist() == [[0, 9, 3, 1]]
    assert "0..9" in refusal([[0, 10, 3, 1]], INDEX)
    assert "0..9" in refusal([[0, -1, 3, 1]], INDEX)
    assert "takes integers" in refusal([[0.0, 1.0, 3.0, 1.0]], INDEX)


def test_indices_without_levels_lie_within_their_type():
    assert fit_array(np.array([-7, 2**31 - 1]), FREE_INDEX, "x").tolist() == [-7, 2**31 - 1]
    assert "2147483647" in refusal([2**31], FREE_INDEX)


def test_no_sample_is_refused():
    assert "at least one" in refusal(np.zeros((0, 3)), VECTOR)


# --- several inputs -------------------------------------------------------------------------------

SIGNATURE = Signature((PICTURE, VECTOR), ())


def refusal_of(arrays) -> str:
    with pytest.raises(DataError) as caught:
        fit_inputs(arrays, SIGNATURE, "set.npz")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_arrays_come_in_the_order_of_the_model():
    arrays = {"pose": np.ones((2, 3)), "photo": np.full((2, 6, 5, 3), 9)}
    found = fit_inputs(arrays, SIGNATURE, "x")
    assert list(found) == ["photo", "pose"]
    assert [array.dtype.name for array in found.values()] == ["uint8", "float32"]


def test_a_missing_an_unknown_and_a_longer_array_are_refused_by_name():
    photos, poses = np.zeros((2, 6, 5, 3), np.uint8), np.zeros((2, 3))
    assert "nothing for the input 'pose'" in refusal_of({"photo": photos})
    assert "Did you mean pose?" in refusal_of({"photo": photos, "poses": poses})
    message = refusal_of({"photo": photos, "pose": poses, "zzz": poses})
    assert "photo (uint8 N 6 5 3), pose (float32 N 3)" in message
    assert "photo 2, pose 3" in refusal_of({"photo": photos, "pose": np.zeros((3, 3))})


def write_npy_header(shape: str, kind: str) -> bytes:
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"1234"


@pytest.mark.parametrize(
    ("shape", "kind", "said"),
    [
        ("(1000000000000,)", "'|u1'", "declares the shape"),
        ("(4,)", "'|O'", "Python objects"),
        ("(2**40,)", "'|u1'", "damaged"),
        ("(-4,)", "'|u1'", "declares the shape"),
        ("(4", "'|u1'", "damaged"),
    ],
)
def test_an_npz_whose_header_lies_is_refused_before_memory_is_taken(tmp_path, shape, kind, said):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", write_npy_header(shape, kind))
    with pytest.raises(DataError, match=said):
        read_arrays(path, ["x"])


def test_an_npz_gives_what_numpy_wrote(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.random((3, 4)),
        "b": np.asfortranarray(rng.integers(0, 9, (2, 3, 4))),
        "c": np.array(["x", "yy"]),
        "d": np.float32(3),
        "e": np.zeros((0, 5), np.uint8),
    }
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    found = read_arrays(tmp_path / "a.npz", list(arrays))
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == np.asarray(values).dtype
    found["a"][0] = 1  # it can be written to
