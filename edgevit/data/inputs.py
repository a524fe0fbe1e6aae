"""Arrays for the inputs of a model, checked against what its signature says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgevit.base.bounds import check_regular
from edgevit.base.errors import DataError, in_one_line, suggest
from edgevit.core.signature import InputSpec, Signature
from edgevit.core.tensors import show_shape
from edgevit.data.archives import READ_ERRORS
from edgevit.data.npz import MOST_BYTES, open_npz


def fit_inputs(
    arrays: Mapping[str, np.ndarray], signature: Signature, source: str
) -> dict[str, np.ndarray]:
    """The array of each input, in the model's order, of the type that it enters with.

    Args:
        arrays: by the name of an input; all of the same length.
        signature: of the model.
        source: how errors call where the arrays came from.

    Returns:
        By name: uint8 for pictures and clips, float32 or an integer type for the others.

    Raises:
        DataError: one is missing, unknown, empty, of another length than the others, of another
            shape than the model takes, or holds values that the input cannot take.
    """
    names = [spec.name for spec in signature.inputs]
    for name in arrays:
        if name not in names:
            hint = suggest(name, names) or describe(signature)
            raise DataError(f"{source}: the model has no input {name!r}. {hint}")
    missing = [name for name in names if name not in arrays]
    if missing:
        raise DataError(
            f"{source}: holds nothing for the input {missing[0]!r}. {describe(signature)}"
        )
    found = {spec.name: fit_array(arrays[spec.name], spec, source) for spec in signature.inputs}
    lengths = {name: len(array) for name, array in found.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"{source}: every input needs as many samples. Received: {told}")
    return found


def describe(signature: Signature) -> str:
    """A sentence that names the inputs of a model and what each takes."""
    return f"The model takes {', '.join(map(describe_input, signature.inputs))}."


def describe_input(spec: InputSpec) -> str:
    """Name, type and shape of an input, such as ``images (uint8 N 32 32 3)``."""
    return f"{spec.name} ({spec.raw_dtype} {show_shape(('N', *spec.raw_shape))})"


def fit_array(array: np.ndarray, spec: InputSpec, source: str) -> np.ndarray:
    """One array of the shape and type that an input takes.

    A last axis of length one may be left out, as Keras allows: N for N 1, N H W for N H W 1.

    Args:
        array: N samples.
        spec: the input.
        source: how errors call where the array came from.

    Raises:
        DataError: no sample, another shape, or values that the input cannot take.
    """
    array, wanted, whose = np.asarray(array), spec.raw_shape, f"{source}: {spec.name!r}"
    shape = array.shape
    if wanted and wanted[-1] == 1 and array.ndim == len(wanted):
        array = array[..., None]
    fits = array.ndim == len(wanted) + 1 and all(
        size > 0 and expected in (None, size)
        for size, expected in zip(array.shape[1:], wanted, strict=True)
    )
    if not fits:
        raise DataError(
            f"{source}: the model takes {describe_input(spec)}. Received: {array.dtype} {shape}"
        )
    if len(array) == 0:
        raise DataError(f"{whose} needs at least one sample. Received: 0")
    if spec.preparation is not None:
        return _as_pixels(array, whose)
    if np.dtype(spec.raw_dtype).kind == "f":
        return _as_floats(array, whose)
    return _as_integers(array, spec, whose)


def _as_pixels(array: np.ndarray, whose: str) -> np.ndarray:
    """Raw uint8 pixels; whole numbers of 0..255 in another type are those too."""
    if array.dtype == np.uint8:
        return array
    remedy = "Pictures are raw, whole numbers of 0..255; the exported file scales them itself."
    if array.dtype.kind not in "iuf":
        raise DataError(f"{whose} cannot be pixels. {remedy} Received: {array.dtype}")
    low, high = array.min(), array.max()  # NaN if there is one
    if not (low >= 0 and high <= 255):
        raise DataError(f"{whose} leaves 0..255. {remedy} Received: {low:g} to {high:g}")
    if array.dtype.kind == "f" and (0 < high <= 1 or not _are_whole(array)):
        raise DataError(f"{whose} is scaled. {remedy} Received: {array.dtype} {low:g} to {high:g}")
    return array.astype(np.uint8)


def _are_whole(array: np.ndarray) -> bool:
    return all(bool((part == np.floor(part)).all()) for part in array)  # one at a time: memory


def _as_floats(array: np.ndarray, whose: str) -> np.ndarray:
    if array.dtype.kind not in "iufb":
        raise DataError(f"{whose} takes numbers. Received: {array.dtype}")
    with np.errstate(over="ignore"):  # a float64 beyond float32 is told of below
        floats = array.astype(np.float32)
    if not np.isfinite(floats).all():
        raise DataError(f"{whose} holds a value that is no finite float32 number.")
    return floats


def _as_integers(array: np.ndarray, spec: InputSpec, whose: str) -> np.ndarray:
    if array.dtype.kind not in "iu":
        raise DataError(f"{whose} takes integers. Received: {array.dtype}")
    limits = np.iinfo(spec.raw_dtype)
    low, high = (0, spec.levels - 1) if spec.levels else (limits.min, limits.max)
    if int(array.min()) < low or int(array.max()) > high:
        raise DataError(
            f"{whose} takes integers of {low}..{high}. "
            f"Received: {int(array.min())} to {int(array.max())}"
        )
    return array.astype(spec.raw_dtype)


def sole_input(signature: Signature, source: str) -> InputSpec:
    """The one input of a model.

    Raises:
        DataError: it has several, so that an array alone does not say for which it is.
    """
    if len(signature.inputs) > 1:
        raise DataError(
            f"{source}: the model has {len(signature.inputs)} inputs, so each array needs a name. "
            f"{ask_for_arrays(signature)}"
        )
    return signature.inputs[0]


def ask_for_arrays(signature: Signature) -> str:
    """A sentence that says what to give for a model that pictures alone do not serve."""
    keys = ", ".join(spec.name for spec in signature.inputs)
    noun = "key" if len(signature.inputs) == 1 else "keys"
    return f"Give an npz, or a dict of arrays, with the {noun} {keys}."


def list_arrays(path: Path) -> tuple[str, ...]:
    """The keys of an npz.

    Raises:
        DataError: no npz, or a damaged one.
    """
    with open_npz(path) as arrays:
        return arrays.files


def read_arrays(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of an npz, by these keys of it.

    Raises:
        DataError: no npz, or a damaged one.
    """
    with open_npz(path) as arrays:
        return {key: arrays[key] for key in keys}


def read_array(path: Path) -> np.ndarray:
    """The array of a .npy file.

    Raises:
        DataError: no .npy file, or a damaged one.
    """
    check_regular(path, MOST_BYTES, DataError)
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except READ_ERRORS as error:
        raise DataError(f"{path}: no sound .npy file ({in_one_line(error)}).") from None
