"""One picture from bytes: what comes out, and what is refused."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from edgevit.base.errors import DataError
from edgevit.data import images as module
from edgevit.data.images import decode_image, is_image_name, read_image


def encode(image: np.ndarray, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
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


def refusal(data: bytes, size=None) -> str:
    with pytest.raises(DataError) as caught:
        decode_image(data, "some/name.png", size)
    message = str(caught.value)
    assert "some/name.png" in message
    assert "\n" not in message
    return message


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
