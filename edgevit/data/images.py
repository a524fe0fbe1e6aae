"""One picture from bytes to pixels, with limits that keep a hostile file from hurting."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from edgevit.base.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".ppm", ".tif", ".tiff")
# By content, whatever the suffix says. Pillow would hand an EPS file to Ghostscript, which runs it.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "PPM", "TIFF")
MAX_PIXELS = 64_000_000
MAX_FILE_BYTES = 256 * 1024 * 1024


def is_image_name(name: str) -> bool:
    """Whether a file of this name counts as an image (by its suffix)."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def decode_image(data: bytes, name: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decodes one picture to RGB.

    Args:
        data: the file's bytes.
        name: how errors call the picture.
        size: (rows, columns) to resize to (bilinear, antialiased); None keeps the picture's own.

    Returns:
        uint8 H W 3.

    Raises:
        DataError: not a picture, damaged, or more than 64 million pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is checked here, before any pixel is read
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > MAX_PIXELS:
                    raise DataError(
                        f"{name}: {width}x{height} pixels are more than the limit of "
                        f"{MAX_PIXELS // 1_000_000} million. Scale the picture down first."
                    )
                picture.draft("RGB", None)
                pixels = np.asarray(picture.convert("RGB"), dtype=np.uint8)
                return pixels if size is None else resize_image(pixels, size)
    except UnidentifiedImageError:
        raise DataError(
            f"{name}: not a picture in one of the formats {', '.join(FORMATS)}."
        ) from None
    except Image.DecompressionBombError:
        raise DataError(
            f"{name}: more pixels than the limit of {MAX_PIXELS // 1_000_000} million. "
            "Scale the picture down first."
        ) from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DataError(f"{name}: the picture is damaged ({error}).") from None


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear, antialiased. uint8 H W 3 -> uint8 rows columns 3."""
    if image.shape[:2] == tuple(size):
        return image
    resized = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.uint8)


def read_image(path: Path | str, size: tuple[int, int] | None = None) -> np.ndarray:
    """Reads one picture file; see :func:`decode_image`."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{path}: larger than the limit of {MAX_FILE_BYTES >> 20} MiB.")
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such picture.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    return decode_image(data, str(path), size)
