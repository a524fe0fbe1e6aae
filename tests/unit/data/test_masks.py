"""Folders of pictures and masks: which class each pixel is, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgevit.base.errors import DataError
from edgevit.core.signature import InputSpec, OutputSpec, Role, Signature
from edgevit.core.tensors import Preprocess
from edgevit.data.images import resize_image
from edgevit.data.masks import load_masks
from helpers.refusals import line_of

SIZE = (4, 6)


def signature_of(preparation: Preprocess, output: tuple | None = None) -> Signature:
    spec = InputSpec("photo", (None, *preparation.network_size, 3), preparation=preparation)
    shape = (None, *(output or preparation.network_size), 5)
    return Signature((spec,), (OutputSpec("mask", shape, "float32", Role.MASK),))


SIGNATURE = signature_of(Preprocess(SIZE, SIZE))
NUMBERS = np.random.default_rng(0).integers(0, 5, SIZE).astype(np.uint8)
NUMBERS[0, :2] = 255


def orientation(number: int) -> bytes:
    exif = Image.Exif()
    exif[274] = number
    return exif.tobytes()


def write(folder: Path, mask: Image.Image | np.ndarray, name: str = "a", **options) -> Path:
    """A picture and its mask in a folder; ``options`` go to the picture."""
    mask = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
    for part in ("images", "masks"):
        (folder / part / name).parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.full((mask.height, mask.width, 3), 9, np.uint8))
    picture.save(folder / "images" / f"{name}.png", **options)
    mask.save(folder / "masks" / f"{name}.png", exif=mask.info.get("exif", b""))
    return folder


def refusal(folder: Path, classes: int = 5, signature: Signature = SIGNATURE) -> str:
    return line_of(DataError, lambda: load_masks(folder, signature, classes))


def palette(numbers: np.ndarray) -> Image.Image:
    picture = Image.fromarray(numbers, "P")
    picture.putpalette(np.random.default_rng(1).bytes(768))
    return picture


@pytest.mark.parametrize(
    "store",
    [
        palette,
        Image.fromarray,
        lambda numbers: Image.fromarray(numbers.astype(np.uint16)),
        lambda numbers: Image.fromarray(np.stack([numbers] * 3, axis=-1)),
    ],
    ids=["palette", "grey", "grey of 16 bits", "grey as colours"],
)
def test_the_numbers_of_a_mask_are_classes_and_255_does_not_count(store, tmp_path):
    found = load_masks(write(tmp_path, store(NUMBERS)), SIGNATURE, 5)
    expected = np.where(NUMBERS == 255, -1, NUMBERS.astype(int))
    np.testing.assert_array_equal(found.masks, expected[None])
    assert found.masks.dtype == np.int64
    np.testing.assert_array_equal(found.images, np.full((1, *SIZE, 3), 9))
    assert (found.source, len(found)) == (tmp_path.name, 1)


def test_pictures_and_masks_go_together_by_their_stem(tmp_path):
    for number, name in enumerate(("c", "a.left", "town/b")):
        write(tmp_path, np.full(SIZE, number, np.uint8), name)
        level = np.full((*SIZE, 3), 50 * number, np.uint8)
        Image.fromarray(level).save(tmp_path / "images" / f"{name}.png")
    picture = tmp_path / "images" / "c.png"
    Image.open(picture).save(picture.with_suffix(".BMP"))
    picture.unlink()
    (tmp_path / "masks" / "of-no-picture.png").write_bytes(b"")
    (tmp_path / "images" / "notes.txt").write_text("text")
    (tmp_path / "images" / "._c.png").write_bytes(b"what macOS leaves")
    found = load_masks(tmp_path, SIGNATURE, 5)
    assert found.masks[:, 0, 0].tolist() == [1, 0, 2]
    assert found.images[:, 0, 0, 0].tolist() == [50, 0, 100]


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize(
    ("levels", "expected"),
    [([0, 255], [0, 1]), ([0, 1], [0, 1]), ([0, 1, 255], [0, 1, -1]), ([False, True], [0, 1])],
)
def test_a_binary_mask_is_0_and_1_or_0_and_255(classes, levels, expected, tmp_path):
    mask = np.resize(np.array(levels), SIZE)
    mask = mask if mask.dtype == bool else mask.astype(np.uint8)
    found = load_masks(write(tmp_path, mask), SIGNATURE, classes)
    np.testing.assert_array_equal(found.masks[0], np.resize(expected, SIZE))


def test_one_mask_with_a_1_says_what_255_is_in_all(tmp_path):
    write(tmp_path, np.resize(np.array([0, 255], np.uint8), SIZE), "a")
    write(tmp_path, np.resize(np.array([0, 1], np.uint8), SIZE), "b")
    assert set(load_masks(tmp_path, SIGNATURE, 1).masks[0].ravel()) == {0, -1}


def test_255_is_a_class_of_its_own_where_there_are_as_many(tmp_path):
    found = load_masks(write(tmp_path, NUMBERS), SIGNATURE, 256)
    np.testing.assert_array_equal(found.masks[0], NUMBERS)


def test_a_number_that_is_no_class_is_refused_by_file_and_number(tmp_path):
    message = refusal(write(tmp_path, NUMBERS), classes=4)
    assert "masks/a.png: the model tells 4 classes apart, 0 to 3. Received: 4" in message
    message = refusal(write(tmp_path, NUMBERS), classes=1)
    assert "0 and 1, or 0 and 255. Received: 4" in message


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(8, 12), (2, 3), (4, 6), (5, 5)])
def test_masks_are_brought_to_the_size_of_the_output_by_the_nearest_pixel(size, tmp_path):
    numbers = np.arange(24, dtype=np.uint8).reshape(SIZE)
    write(tmp_path, numbers)
    expected = Image.fromarray(numbers).resize(size[::-1], Image.Resampling.NEAREST)
    for found in (
        load_masks(tmp_path, SIGNATURE, 24, size),
        load_masks(tmp_path, signature_of(Preprocess(SIZE, SIZE), size), 24),
    ):
        np.testing.assert_array_equal(found.masks[0], np.asarray(expected))


def test_a_mask_is_cropped_as_its_picture_is(tmp_path):
    numbers = np.arange(64, dtype=np.uint8).reshape(8, 8)
    write(tmp_path, numbers)
    cropped = signature_of(Preprocess((8, 8), (4, 4), resize=(8, 8)))
    np.testing.assert_array_equal(load_masks(tmp_path, cropped, 64).masks[0], numbers[2:6, 2:6])
    smaller = signature_of(Preprocess((16, 16), (2, 2), resize=(4, 4)))
    np.testing.assert_array_equal(
        load_masks(tmp_path, smaller, 64).masks[0], numbers[1::2, 1::2][1:3, 1:3]
    )
    coarse = load_masks(tmp_path, cropped, 64, (2, 2))
    np.testing.assert_array_equal(coarse.masks[0], numbers[3:7:2, 3:7:2])


def test_pictures_are_resized_to_the_raw_size_of_the_model(tmp_path, drawn_images):
    image = drawn_images(1, (20, 30))[0]
    write(tmp_path, NUMBERS)
    Image.fromarray(image).save(tmp_path / "images" / "a.png")
    found = load_masks(tmp_path, SIGNATURE, 5)
    np.testing.assert_array_equal(found.images[0], resize_image(image, SIZE))


# --- orientation ----------------------------------------------------------------------------------


def test_a_turned_picture_needs_a_mask_drawn_upright_or_turned_itself(tmp_path):
    upright = np.rot90(NUMBERS, -1)
    signature = signature_of(Preprocess(upright.shape, upright.shape))
    expected = np.where(upright == 255, -1, upright.astype(int))
    write(tmp_path / "a", NUMBERS, exif=orientation(6))
    message = refusal(tmp_path / "a", signature=signature)
    assert "is 6x4 pixels, and its picture 4x6" in message
    assert "EXIF" in message
    Image.fromarray(upright.copy()).save(tmp_path / "a" / "masks" / "a.png")
    np.testing.assert_array_equal(load_masks(tmp_path / "a", signature, 5).masks[0], expected)
    turned = Image.fromarray(NUMBERS)
    turned.info["exif"] = orientation(6)
    write(tmp_path / "b", turned, exif=orientation(6))
    np.testing.assert_array_equal(load_masks(tmp_path / "b", signature, 5).masks[0], expected)


# --- refusals -------------------------------------------------------------------------------------


def test_a_picture_without_a_mask_is_refused_by_name(tmp_path):
    write(tmp_path, NUMBERS)
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / "a.jpg")
    message = refusal(tmp_path)
    assert str(tmp_path / "images" / "a.png") in message
    assert str(tmp_path / "masks" / "a.png") in message


def test_two_pictures_of_one_stem_are_refused(tmp_path):
    write(tmp_path, NUMBERS)
    Image.open(tmp_path / "images" / "a.png").save(tmp_path / "images" / "a.bmp")
    assert "same stem" in refusal(tmp_path)


def test_colours_and_other_formats_are_refused(tmp_path):
    colours = np.zeros((*SIZE, 3), np.uint8)
    colours[0, 0, 1] = 1
    assert "one channel" in refusal(write(tmp_path, colours))
    assert "one channel" in refusal(write(tmp_path, np.zeros((*SIZE, 4), np.uint8)))
    Image.fromarray(NUMBERS).save(tmp_path / "masks" / "a.png", "JPEG")
    assert "a mask is a PNG" in refusal(tmp_path)
    (tmp_path / "masks" / "a.png").write_bytes(b"\x89PNG")
    assert "masks/a.png" in refusal(tmp_path)


def test_a_folder_without_the_two_folders_or_pictures_is_refused(tmp_path):
    assert "images/ and masks/" in refusal(tmp_path)
    assert "images/ and masks/" in refusal(tmp_path / "nowhere")
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    assert "no picture" in refusal(tmp_path)


def test_a_model_of_more_than_a_picture_or_without_a_mask_is_refused(tmp_path):
    write(tmp_path, NUMBERS)
    vector = InputSpec("pose", (None, 3))
    both = Signature((*SIGNATURE.inputs, vector), SIGNATURE.outputs)
    assert "one picture each" in refusal(tmp_path, signature=both)
    assert "one picture each" in refusal(tmp_path, signature=Signature((vector,), ()))
    free = OutputSpec("mask", (None, None, None, 5), "float32", Role.MASK)
    assert "no mask of a fixed size" in refusal(
        tmp_path, signature=Signature(SIGNATURE.inputs, (free,))
    )
