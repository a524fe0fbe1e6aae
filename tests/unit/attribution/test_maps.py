"""Maps: what each output is read as, and occlusion on a classifier whose eyes are known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgevit.attribution.maps import EXPLAINERS, Map, read_attention
from edgevit.attribution.occlusion import occlude
from edgevit.attribution.pictures import Explanation, draw_explanation
from edgevit.base.errors import ConfigError


def test_a_finished_attention_map_is_shown_as_it_is():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    (only,) = read_attention(values)
    np.testing.assert_array_equal(only.values, values)


def test_attention_without_a_class_token_is_what_each_token_receives():
    weights = np.zeros((2, 9, 9), np.float32)
    weights[0, :, 4] = 1.0  # in the first head all look at the middle
    weights[1, :, 2] = 1.0  # in the second at the top right corner
    mean, first, second = read_attention(weights)
    assert np.unravel_index(first.values.argmax(), (3, 3)) == (1, 1)
    assert np.unravel_index(second.values.argmax(), (3, 3)) == (0, 2)
    assert mean.values[1, 1] == mean.values[0, 2] == 0.5
    assert mean.values.sum() == pytest.approx(1.0)


def test_attention_with_a_class_token_is_where_that_token_looks():
    weights = np.full((1, 5, 5), 0.2, np.float32)
    weights[0, 0] = [0.0, 0.1, 0.2, 0.3, 0.4]
    mean, head = read_attention(weights)
    np.testing.assert_allclose(head.values, [[0.1, 0.2], [0.3, 0.4]])
    np.testing.assert_allclose(mean.values, head.values)


@pytest.mark.parametrize("shape", [(3, 7, 7), (4,), (2, 3, 4)])
def test_attention_of_no_grid_is_refused(shape):
    with pytest.raises(ConfigError):
        read_attention(np.zeros(shape, np.float32))


def test_gates_give_a_map_a_level_and_the_modulator_its_norm():
    gates = np.stack([np.full((2, 2), level, np.float32) for level in range(3)], axis=-1)
    maps = EXPLAINERS["gates"](gates)
    assert [drawn.values[0, 0] for drawn in maps] == [0, 1, 2]
    assert maps[-1].title == "gate of the whole"
    (norm,) = EXPLAINERS["modulator"](np.full((2, 2, 4), 3.0, np.float32))
    np.testing.assert_allclose(norm.values, 6.0)


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (3, 5), (1, 1)])
def test_occlusion_finds_the_only_pixels_that_count(size):
    rows, columns = size
    top, left = rows // 2, columns - 1
    image = np.full((rows, columns, 3), 10, np.uint8)
    image[top, left] = 250

    def run(images):  # class 1 if that pixel is bright
        bright = 1 / (1 + np.exp(2 - images[:, top, left, 0].astype(np.float32) / 50))
        return np.stack([1 - bright, bright], axis=-1)

    drawn = occlude(run, image)
    assert drawn.limit == 1.0  # one scale for all pictures, centred on zero
    found = drawn.values
    assert found.shape == size
    if rows > 1:
        assert found[top, left] == found.max() > 0.4
        far = found[0, 0]
        assert abs(far) < 1e-6


@pytest.mark.parametrize("channels", [1, 4])
def test_occlusion_covers_pictures_of_any_channels(channels):
    image = np.full((8, 8, channels), 10, np.uint8)
    image[6, 6] = 250

    def run(images):
        return images[:, 6, 6, :1].astype(np.float32) / 255

    found = occlude(run, image).values
    assert found[6, 6] == found.max() > 0.4
    assert abs(found[0, 0]) < 1e-6


def test_an_explanation_becomes_one_picture_with_a_panel_for_each_map(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    maps = [Map(f"map {n}", np.eye(6, dtype=np.float32)) for n in range(3)]
    sizes = []
    for count in (1, 3):
        explanation = Explanation(image, "ship", 0.9, "attention", tuple(maps[:count]))
        path = tmp_path / f"{count}.png"
        draw_explanation(explanation, path, "test")
        again = tmp_path / "again.png"
        draw_explanation(explanation, again, "test")
        assert again.read_bytes() == path.read_bytes()
        with Image.open(path) as drawn:
            sizes.append(drawn.size)
    assert sizes[1][0] > 1.5 * sizes[0][0]
    assert sizes[1][1] == sizes[0][1]
