"""The Preprocessing layer against the numpy contract, and against a pixel-by-pixel resize."""

from __future__ import annotations

import json
import math

import keras
import numpy as np
import pytest

from edgevit.core.tensors import Preprocess
from edgevit.layers.preprocessing import Preprocessing

IMAGENET = {
    "scale": tuple(1 / 255 / s for s in (0.229, 0.224, 0.225)),
    "offset": tuple(
        -m / s for m, s in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
    ),
}
CONTRACTS = {
    "scale only": ((9, 7), Preprocess(network_size=(9, 7))),
    "enlarge": ((8, 8), Preprocess(network_size=(12, 12))),
    "shrink": ((16, 16), Preprocess(network_size=(6, 6))),
    "not square": ((10, 14), Preprocess(network_size=(13, 5))),
    "resize and crop": ((8, 8), Preprocess(network_size=(12, 12), resize=(13, 13))),
    "odd crop": ((8, 6), Preprocess(network_size=(9, 10), resize=(12, 13))),
    "crop without resize": ((9, 9), Preprocess(network_size=(4, 6), resize=(9, 9))),
    "scale for each channel": ((6, 6), Preprocess(network_size=(6, 6), scale=(1.0, 0.5, 0.25))),
    "offset": ((6, 6), Preprocess(network_size=(6, 6), scale=(1 / 127.5,) * 3, offset=(-1.0,) * 3)),
    "everything": ((11, 9), Preprocess(network_size=(8, 6), resize=(10, 7), **IMAGENET)),
}


def bilinear_pixel(image: np.ndarray, row: float, column: float) -> np.ndarray:
    """Value between the four pixels around a position; beyond the border, the border's."""
    rows, columns = image.shape[:2]
    top, left = math.floor(row), math.floor(column)
    result = np.zeros(image.shape[-1])
    for r, row_share in ((top, 1 - (row - top)), (top + 1, row - top)):
        for c, column_share in ((left, 1 - (column - left)), (left + 1, column - left)):
            inside = image[min(max(r, 0), rows - 1), min(max(c, 0), columns - 1)]
            result += row_share * column_share * inside
    return result


def contract_in_loops(images: np.ndarray, contract: Preprocess) -> np.ndarray:
    """Resize with half-pixel centres, crop the centre, scale and shift: one pixel at a time."""
    rows, columns = contract.network_size
    tall, wide = contract.resize or contract.network_size
    top, left = (tall - rows) // 2, (wide - columns) // 2
    result = np.zeros((len(images), rows, columns, 3))
    for number, image in enumerate(images.astype(np.float64)):
        for row in range(rows):
            for column in range(columns):
                source_row = (row + top + 0.5) * image.shape[0] / tall - 0.5
                source_column = (column + left + 0.5) * image.shape[1] / wide - 0.5
                result[number, row, column] = bilinear_pixel(image, source_row, source_column)
    return result * np.array(contract.scale) + np.array(contract.offset)


@pytest.mark.parametrize(("size", "contract"), CONTRACTS.values(), ids=CONTRACTS)
def test_preprocessing_layer_equals_the_numpy_contract_and_a_loop_over_pixels(
    size, contract, drawn_images
):
    images = drawn_images(2, size)
    result = keras.ops.convert_to_numpy(Preprocessing.of(contract)(images))
    assert result.dtype == np.float32
    limit = 2e-4 * max(contract.scale)  # float32 rounding of values up to 255
    np.testing.assert_allclose(result, contract_in_loops(images, contract), rtol=0, atol=limit)
    np.testing.assert_allclose(result, contract.apply(images), rtol=0, atol=limit)


def test_preprocessing_layer_takes_uint8_in_a_functional_model(drawn_images):
    size, contract = CONTRACTS["everything"]
    inputs = keras.Input((*size, 3), dtype="uint8")
    outputs = Preprocessing.of(contract)(inputs)
    assert outputs.shape == (None, *contract.network_size, 3)
    assert outputs.dtype == "float32"
    images = drawn_images(3, size)
    result = keras.ops.convert_to_numpy(keras.Model(inputs, outputs)(images))
    np.testing.assert_allclose(result, contract.apply(images), rtol=1e-5, atol=1e-5)


def test_preprocessing_layer_is_rebuilt_from_its_config_after_json():
    contract = CONTRACTS["everything"][1]
    config = json.loads(json.dumps(Preprocessing.of(contract).get_config()))
    assert Preprocessing.from_config(config).contract == contract


@pytest.mark.parametrize("kind", ["everything", "clip"])
def test_pictures_are_not_reshaped_and_clips_are_resized_frame_by_frame(kind, drawn_images):
    """A reshape around the resize would keep converters from folding what stands beside it."""
    tf = pytest.importorskip("tensorflow")
    size, contract = CONTRACTS["everything"]
    layer = Preprocessing.of(contract)
    shape = (None, 2, *size, 3) if kind == "clip" else (None, *size, 3)
    function = tf.function(layer, input_signature=[tf.TensorSpec(shape, "uint8")])
    kinds = {op.type for op in function.get_concrete_function().graph.get_operations()}
    assert ("Reshape" in kinds) == (kind == "clip")
    images = drawn_images(4, size)
    given = images.reshape(2, 2, *images.shape[1:]) if kind == "clip" else images
    found = function(given).numpy()
    expected = contract.apply(images).reshape(found.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(contract.apply(given), expected)
