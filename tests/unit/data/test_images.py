"""One picture from bytes: what comes out, and what is refused."""

from __future__ import annotations

import io
import struct
import zlib
from functools import partial

import numpy as np
import pytest
from PIL import Image

from edgevit.base.errors import DataError
from edgevit.data import images as module
from edgevit.data.images import decode_image, is_image_name, read_image, resize_image
from helpers.refusals import line_of


def encode(image: np.ndarray, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


def save(picture: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def orientation(number: int) -> bytes:
    """An EXIF block that says how a picture is turned."""
    exif = Image.Exif()
    exif[274] = number
    return exif.tobytes()


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises width x height pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100)
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def refusal(data: bytes, size=None, channels=3) -> str:
    call = partial(decode_image, data, "some/name.png", size, channels)
    return line_of(DataError, call, "some/name.png: ")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF", "WEBP"])
def test_a_lossless_picture_comes_out_pixel_for_pixel(kind, drawn_images):
    image = drawn_images(1, (9, 13))[0]
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode_image(encode(image, kind, **options), "x")
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, image)


def test_a_jpeg_comes_out_close_to_what_went_in(drawn_images):
    image = np.repeat(np.repeat(drawn_images(1, 8)[0], 8, axis=0), 8, axis=1)  # smooth 8x8 blocks
    decoded = decode_image(encode(image, "JPEG", quality=98, subsampling=0), "x")
    assert decoded.shape == (64, 64, 3)
    assert np.abs(decoded.astype(int) - image).mean() < 2


def test_a_grey_picture_becomes_three_equal_channels(drawn_images):
    grey = drawn_images(1, 8)[0][..., 0]
    decoded = decode_image(encode(grey, "PNG"), "x")
    np.testing.assert_array_equal(decoded, np.stack([grey] * 3, axis=-1))


def test_a_palette_picture_becomes_its_colours():
    palette = Image.fromarray(np.array([[0, 1], [2, 0]], np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    stream = io.BytesIO()
    palette.save(stream, "GIF")
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]])
    np.testing.assert_array_equal(decode_image(stream.getvalue(), "x"), colours[[[0, 1], [2, 0]]])


def test_an_alpha_channel_is_dropped(drawn_images):
    image = drawn_images(1, 6)[0]
    alpha = np.concatenate([image, np.full((6, 6, 1), 128, np.uint8)], axis=-1)
    np.testing.assert_array_equal(decode_image(encode(alpha, "PNG"), "x"), image)


def test_a_given_size_is_rows_then_columns():
    flat = np.full((4, 10, 3), (7, 80, 200), np.uint8)
    decoded = decode_image(encode(flat, "PNG"), "x", size=(6, 3))
    np.testing.assert_array_equal(decoded, np.broadcast_to(flat[0, 0], (6, 3, 3)))


def test_halving_a_picture_averages_and_does_not_skip_pixels():
    stripes = np.zeros((8, 64, 3), np.uint8)
    stripes[:, ::2] = 200  # skipping every second column would give all 200 or all 0
    decoded = decode_image(encode(stripes, "PNG"), "x", size=(8, 16))
    np.testing.assert_allclose(decoded[:, 2:-2], 100, atol=2)


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (9_000, 9_000), (1, 2**31 - 1)])
def test_a_header_that_claims_an_enormous_picture_is_refused_before_decoding(
    width, height, monkeypatch
):
    def load(self):
        raise AssertionError("pixels were read")

    monkeypatch.setattr(Image.Image, "load", load)
    message = refusal(png_that_claims(width, height))
    assert "64 million" in message


def test_the_pixel_limit_is_exact(monkeypatch, drawn_images):
    monkeypatch.setattr(module, "MAX_PIXELS", 63)
    assert "8x8 pixels" in refusal(encode(drawn_images(1, 8)[0], "PNG"))
    monkeypatch.setattr(module, "MAX_PIXELS", 64)
    assert decode_image(encode(drawn_images(1, 8)[0], "PNG"), "x").shape == (8, 8, 3)


@pytest.mark.parametrize("data", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_bytes_that_are_no_picture_are_refused(data):
    refusal(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP", "GIF"])
def test_a_picture_cut_anywhere_in_its_first_half_is_refused(kind, drawn_images):
    data = encode(drawn_images(1, 64)[0], kind)
    for length in np.linspace(1, len(data) // 2, 25).astype(int):
        refusal(data[:length])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP", "GIF"])
def test_noise_in_a_picture_ends_in_pixels_or_a_data_error_and_nothing_else(kind, drawn_images):
    rng = np.random.default_rng(0)
    data = encode(drawn_images(1, 24)[0], kind)
    messages = []
    for _ in range(200):
        broken = bytearray(data)
        for position in rng.integers(0, min(len(data), 300), 4):
            broken[position] = rng.integers(256)
        try:
            decoded = decode_image(bytes(broken), "x")
        except DataError as error:
            messages.append(str(error))
        else:
            assert decoded.dtype == np.uint8
            assert decoded.ndim == 3
            assert decoded.shape[-1] == 3
    assert len(messages) > 10
    assert "\n" not in "".join(messages)


def test_a_postscript_file_named_png_is_refused_and_never_run(drawn_images, monkeypatch):
    from PIL import EpsImagePlugin

    def run(*arguments, **options):
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
    data = encode(drawn_images(1, 8)[0], "EPS")
    assert "format" in refusal(data)


@pytest.mark.parametrize("name", ["a.jpg", "A.JPEG", "b/c.png", "x.webp", "x.tiff", "x.bmp"])
def test_image_names_are_known_by_their_suffix(name):
    assert is_image_name(name)


@pytest.mark.parametrize("name", ["a.txt", "png", "a.png.txt", "a.npz", "README"])
def test_other_names_are_no_images(name):
    assert not is_image_name(name)


def test_a_picture_is_read_from_a_path(tmp_path, drawn_images):
    image = drawn_images(1, 8)[0]
    (tmp_path / "a.png").write_bytes(encode(image, "PNG"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.png")), image)


def test_a_path_that_cannot_be_read_is_a_data_error(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no such picture"):
        read_image(tmp_path / "nothing.png")
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path)
    (tmp_path / "big.png").write_bytes(bytes(1025))
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 1024)
    with pytest.raises(DataError, match="larger than the limit"):
        read_image(tmp_path / "big.png")


# --- channels -------------------------------------------------------------------------------------

RED, BLUE, CLEAR_GREEN = (200, 10, 30, 255), (0, 0, 255, 128), (5, 250, 7, 0)
COLOURS = np.array([[RED, BLUE, CLEAR_GREEN]], np.uint8)  # 1 3 4
LUMA = [[69, 29, 149]]  # of ITU-R 601: 0.299 R + 0.587 G + 0.114 B


def palette_picture(transparent: bool) -> bytes:
    """A PNG palette of the three colours, with or without their alpha."""
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    picture.putpalette(COLOURS[0, :, :3].tobytes())
    options = {"transparency": bytes(COLOURS[0, :, 3])} if transparent else {}
    return save(picture, "PNG", **options)


def cmyk_picture() -> bytes:
    inks = np.zeros((8, 8, 4), np.uint8)
    inks[..., 0], inks[..., 2], inks[..., 3] = 255, 51, 51
    return save(Image.fromarray(inks, "CMYK"), "JPEG", quality=100)


def animation() -> bytes:
    frames = [Image.fromarray(np.full((2, 2, 3), level, np.uint8)) for level in (40, 90, 200)]
    return save(frames[0], "GIF", save_all=True, append_images=frames[1:])


GREY_16 = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
GREY_8 = [[0, 0, 1, 1, 128, 255]]  # divided by 257 and rounded

PICTURES = {
    "colours": (encode(COLOURS[..., :3], "PNG"), COLOURS[..., :3], 255),
    "colours and alpha": (encode(COLOURS, "PNG"), COLOURS[..., :3], COLOURS[..., 3]),
    "palette": (palette_picture(False), COLOURS[..., :3], 255),
    "palette and alpha": (palette_picture(True), COLOURS[..., :3], COLOURS[..., 3]),
    "grey and alpha": (
        save(Image.fromarray(np.array([[[9, 0], [77, 255]]], np.uint8), "LA"), "PNG"),
        [[[9] * 3, [77] * 3]],
        [[0, 255]],
    ),
    "one bit": (
        save(Image.fromarray(np.array([[False, True]])), "PNG"),
        [[[0] * 3, [255] * 3]],
        255,
    ),
    "grey of 16 bits, PNG": (encode(GREY_16, "PNG"), np.stack(GREY_8 * 3, -1)[None], 255),
    "grey of 16 bits, TIFF": (encode(GREY_16, "TIFF"), np.stack(GREY_8 * 3, -1)[None], 255),
    "grey of 16 bits, PPM": (encode(GREY_16, "PPM"), np.stack(GREY_8 * 3, -1)[None], 255),
    "CMYK": (cmyk_picture(), np.full((8, 8, 3), (0, 204, 163)), 255),
    "animation": (animation(), np.full((2, 2, 3), 40), 255),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_every_kind_of_picture_has_defined_colours_and_alpha(kind):
    data, colours, alpha = PICTURES[kind]
    colours = np.asarray(colours)
    np.testing.assert_array_equal(decode_image(data, "x"), colours)
    both = decode_image(data, "x", channels=4)
    np.testing.assert_array_equal(both[..., :3], colours)
    np.testing.assert_array_equal(both[..., 3], np.broadcast_to(alpha, colours.shape[:2]))


@pytest.mark.parametrize("kind", ["colours", "colours and alpha", "palette", "palette and alpha"])
def test_one_channel_is_the_luma_of_the_colours(kind):
    grey = decode_image(PICTURES[kind][0], "x", channels=1)
    np.testing.assert_array_equal(grey, np.array(LUMA)[..., None])


def test_a_grey_picture_keeps_its_levels_in_one_channel(drawn_images):
    grey = drawn_images(1, (6, 9))[0][..., :1]
    np.testing.assert_array_equal(decode_image(encode(grey[..., 0], "PNG"), "x", channels=1), grey)
    wide = decode_image(encode(GREY_16, "PNG"), "x", channels=1)
    np.testing.assert_array_equal(wide[..., 0], GREY_8)


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", [kind for kind in PICTURES if "16 bits" not in kind])
def test_pixels_are_those_of_keras_load_img(kind, channels, tmp_path):
    import keras

    (tmp_path / "picture").write_bytes(PICTURES[kind][0])
    mode = {1: "grayscale", 3: "rgb", 4: "rgba"}[channels]
    expected = keras.utils.img_to_array(keras.utils.load_img(tmp_path / "picture", color_mode=mode))
    found = decode_image(PICTURES[kind][0], "x", channels=channels)
    np.testing.assert_array_equal(found, expected)


def test_floating_point_pixels_are_refused_for_want_of_a_scale():
    data = encode(np.array([[0.5, 1.0]], np.float32), "TIFF")
    assert "no fixed black and white" in refusal(data)


@pytest.mark.parametrize("channels", [1, 4, 5])
def test_every_channel_is_resized_by_itself(channels, drawn_images):
    image = np.concatenate([drawn_images(2, (12, 16))[number] for number in (0, 1)], axis=-1)
    image = image[..., :channels].copy()
    image[..., -1] = 0  # an alpha of 0 must not take the colours with it
    found = resize_image(image, (5, 7))
    for channel in range(channels):
        alone = resize_image(np.repeat(image[..., channel : channel + 1], 3, axis=-1), (5, 7))
        np.testing.assert_array_equal(found[..., channel], alone[..., 0])
    assert found.shape == (5, 7, channels)


# --- orientation ----------------------------------------------------------------------------------

# What a viewer shows of the stored pixels, by the orientation in the file.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}


@pytest.mark.parametrize("number", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_picture_is_turned_upright_by_its_exif_orientation(kind, number, drawn_images):
    stored = drawn_images(1, (5, 9))[0]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(stored, kind, exif=orientation(number), **options)
    np.testing.assert_array_equal(decode_image(data, "x"), UPRIGHT[number](stored))


@pytest.mark.parametrize("number", UPRIGHT)
def test_a_jpeg_of_a_phone_is_turned_upright(number):
    stored = np.zeros((32, 64, 3), np.uint8)
    stored[:16, :16] = 255  # the corner says how it lies
    data = encode(stored, "JPEG", quality=95, exif=orientation(number))
    found = decode_image(data, "x").astype(int)
    assert np.abs(found - UPRIGHT[number](stored)).max() < 8


def test_a_grey_picture_of_16_bits_is_turned_upright():
    data = encode(GREY_16, "PNG", exif=orientation(6))
    np.testing.assert_array_equal(
        decode_image(data, "x", channels=1)[..., 0], np.rot90(np.array(GREY_8), -1)
    )


def test_a_picture_is_turned_before_it_is_resized():
    stored = np.zeros((8, 16, 3), np.uint8)
    stored[:, :8] = 200  # left: on top once it is turned to the right
    found = decode_image(encode(stored, "PNG", exif=orientation(6)), "x", size=(4, 2))
    assert found.shape == (4, 2, 3)
    assert found[0].min() > 150
    assert found[-1].max() < 50


@pytest.mark.parametrize("number", [0, 9, 65535])
def test_an_orientation_that_there_is_not_leaves_a_picture_as_it_is(number, drawn_images):
    stored = drawn_images(1, (5, 9))[0]
    data = encode(stored, "PNG", exif=orientation(number))
    np.testing.assert_array_equal(decode_image(data, "x"), stored)


def test_a_damaged_exif_block_leaves_a_picture_as_it_is(drawn_images):
    stored = drawn_images(1, (5, 9))[0]
    rng = np.random.default_rng(0)
    blocks = [b"", b"Exif", b"Exif\0\0MM", orientation(6)[:-9], *(rng.bytes(60) for _ in range(20))]
    for block in blocks:
        decoded = decode_image(encode(stored, "PNG", exif=block), "x")
        np.testing.assert_array_equal(decoded, stored)


# --- arrays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_a_npy_file_is_taken_as_it_is(channels, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (4, 6, channels), np.uint8)
    for number, order in enumerate((image, np.asfortranarray(image))):
        np.save(tmp_path / f"{number}.npy", order)
        found = read_image(tmp_path / f"{number}.npy", channels=channels)
        np.testing.assert_array_equal(found, image)
    assert read_image(tmp_path / "0.npy", (8, 3), channels).shape == (8, 3, channels)


def test_a_npy_file_of_one_channel_needs_no_axis_for_it():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(decode_image(npy(image), "x", channels=1), image[..., None])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 5), np.float32),
        np.zeros((2, 4, 4, 5), np.uint8),
        np.zeros((0, 4, 5), np.uint8),
        np.zeros((), np.uint8),
        np.array([{}]),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_an_array_of_another_shape_or_type_is_refused(array):
    assert "must be uint8 H W 5" in refusal(npy(array), channels=5)


def test_a_picture_file_cannot_give_five_channels(drawn_images):
    message = refusal(encode(drawn_images(1, 8)[0], "PNG"), channels=5)
    assert "the model takes 5" in message
    assert ".npy" in message


def test_a_damaged_npy_file_is_refused(monkeypatch):
    data = npy(np.zeros((4, 4, 5), np.uint8))
    for length in range(6, len(data), 7):
        refusal(data[:length], channels=5)
    claims = data.replace(b"(4, 4, 5)", b"(9, 9, 5)")
    assert "cut short" in refusal(claims, channels=5)
    monkeypatch.setattr(module, "MAX_PIXELS", 15)
    assert "4x4 pixels" in refusal(data, channels=5)


def test_npy_files_count_as_images_where_no_picture_file_can():
    assert is_image_name("a/b.NPY", channels=5)
    assert not is_image_name("a/b.png", channels=5)
    assert not is_image_name("a/b.npy", channels=3)


def test_an_array_whose_header_is_nested_too_deeply_is_damaged():
    header = b"-" * 10_000
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    assert "damaged" in refusal(data, channels=5)
