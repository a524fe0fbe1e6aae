"""One picture from bytes to pixels, with limits that keep a hostile file from hurting.

What comes out is what Keras trains on: the values of ``keras.utils.load_img``, except that a
picture is turned upright by its EXIF orientation and that 16-bit grey is scaled and not clipped.
"""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from edgevit.base.bounds import read_bounded
from edgevit.base.errors import DataError
from edgevit.core.samples import PICTURE_SUFFIXES
from edgevit.data.npy import read_header

ARRAY_SUFFIX = ".npy"
# By content, whatever the suffix says. Pillow would hand an EPS file to Ghostscript, which runs it.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "PPM", "TIFF")
MAX_PIXELS = 64_000_000
MAX_FILE_BYTES = 256 * 1024 * 1024

# Pillow's name of what a picture file can give, by its number of channels.
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
# Pillow's modes whose values are 8-bit colours. The others are 16-bit grey or have no fixed scale.
COLOURS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
# What brings a picture upright, by its EXIF orientation. 1 is upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ARRAY_MAGIC = b"\x93NUMPY"


def is_image_name(name: str, channels: int = 3) -> bool:
    """Whether a file of this name counts as an image of so many channels (by its suffix).

    Picture files hold 1, 3 or 4 channels. Images of any other number are .npy files.
    """
    return name.lower().endswith(PICTURE_SUFFIXES if channels in MODES else ARRAY_SUFFIX)


def decode_image(
    data: bytes, name: str, size: tuple[int, int] | None = None, channels: int = 3
) -> np.ndarray:
    """Decodes one picture, or one array in numpy's .npy format.

    The values of a picture are those of ``keras.utils.load_img``:

    - Grey is Pillow's luma of the colours (ITU-R 601); from grey, all three colours are equal.
    - A palette's numbers become its colours.
    - Alpha is dropped, over no background: the colours stay as they are stored, also where they are
      transparent. With 4 channels it is kept, and is 255 where the picture has none.
    - Black and white (1 bit) becomes 0 and 255. CMYK becomes (255 - ink) (255 - black) / 255.
    - Colours of 16 bits keep their upper 8. Of an animation, the first frame is taken.

    Two things differ from Keras. The EXIF orientation is applied, so that a phone's picture stands
    upright; a damaged EXIF block counts as none. Grey of 16 bits is divided by 257, which
    ``image_dataset_from_directory`` gives within one level, where ``load_img`` would clip.

    An array is uint8 H W C, or H W of one channel, and is taken as it is.

    Args:
        data: the file's bytes.
        name: how errors call the picture.
        size: (rows, columns) to resize to; see :func:`resize_image`. None keeps the picture's own.
        channels: of the result: 1 (grey), 3 (R, G, B) or 4 (R, G, B, alpha); of an array, any.

    Returns:
        uint8 H W channels.

    Raises:
        DataError: not a picture, damaged, more than 64 million pixels, values without a fixed
            scale, or of another number of channels.
    """
    decode = _decode_array if data.startswith(ARRAY_MAGIC) else _decode_picture
    pixels = decode(data, name, channels)
    return pixels if size is None else resize_image(pixels, size)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear, antialiased, each channel by itself. uint8 H W C -> uint8 rows columns C."""
    if image.shape[:2] == tuple(size):
        return image
    # Pillow would weigh the colours of RGBA by their alpha, which no exported file does.
    planes = [image] if image.shape[-1] == 3 else list(np.moveaxis(image, -1, 0))
    resized = [
        Image.fromarray(plane).resize((size[1], size[0]), Image.Resampling.BILINEAR)
        for plane in planes
    ]
    return np.dstack([np.asarray(plane, dtype=np.uint8) for plane in resized])


def read_image(
    path: Path | str, size: tuple[int, int] | None = None, channels: int = 3
) -> np.ndarray:
    """Reads one picture file, or a .npy file; see :func:`decode_image`."""
    return decode_image(read_bytes(path), str(path), size, channels)


def read_bytes(path: Path | str) -> bytes:
    """The bytes of one picture file.

    Raises:
        DataError: it is not there, no file, or larger than 256 MiB.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such picture.")
    return read_bounded(path, MAX_FILE_BYTES, DataError)


def open_upright(data: bytes, name: str) -> Image.Image:
    """One picture as Pillow reads it, turned upright by its EXIF orientation.

    Raises:
        DataError: not a picture, damaged, or more than 64 million pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is checked here, before any pixel is read
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                _check_pixels(name, *picture.size)
                picture.load()  # a TIFF turns itself here, and a PNG may keep its EXIF at the end
                turn = TURNS.get(_find_orientation(picture))
                return picture.copy() if turn is None else picture.transpose(turn)
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


def _check_pixels(name: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{name}: {width}x{height} pixels are more than the limit of "
            f"{MAX_PIXELS // 1_000_000} million. Scale the picture down first."
        )


def _find_orientation(picture: Image.Image) -> int:
    """1 to 8; 1 where nothing is said, or where what is said cannot be read."""
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # whatever the parser raises on a damaged block; the pixels are sound
        return 1


def _decode_picture(data: bytes, name: str, channels: int) -> np.ndarray:
    """uint8 H W channels of a picture file, of its own size."""
    if channels not in MODES:
        raise DataError(
            f"{name}: a picture file gives 1, 3 or 4 channels, and the model takes {channels}. "
            f"Give a {ARRAY_SUFFIX} file of uint8 H W {channels}."
        )
    picture = open_upright(data, name)
    # The mode I is 16 bits in a PPM. In a TIFF it is 32, with no fixed white.
    if picture.mode in SIXTEEN_BITS or (picture.mode == "I" and _is_ppm(data)):
        levels = np.asarray(picture).astype(np.uint32)
        picture = Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    elif picture.mode not in COLOURS:
        raise DataError(
            f"{name}: pixels of Pillow's mode {picture.mode!r} have no fixed black and white. "
            "Save the picture with 8 or 16 bits for each channel."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a palette's transparency is dropped on purpose
        pixels = np.asarray(picture.convert(MODES[channels]), dtype=np.uint8)
    return pixels.reshape(*pixels.shape[:2], channels)  # H W of grey -> H W 1


def _is_ppm(data: bytes) -> bool:
    return data[:1] == b"P"


def _decode_array(data: bytes, name: str, channels: int) -> np.ndarray:
    """uint8 H W channels of a .npy file, whose header is checked before anything is allocated."""
    stream = io.BytesIO(data)
    try:
        shape, by_columns, dtype = read_header(stream)
    except ValueError as error:
        raise DataError(f"{name}: the {ARRAY_SUFFIX} file is damaged ({error}).") from None
    full = (*shape, 1) if len(shape) == 2 else shape
    if dtype != np.uint8 or len(full) != 3 or full[-1] != channels or min(full) < 1:
        raise DataError(
            f"{name}: an image of {channels} channels must be uint8 H W {channels}. "
            f"Received: {dtype} {shape}"
        )
    _check_pixels(name, full[1], full[0])
    if len(data) - stream.tell() < math.prod(full):
        raise DataError(f"{name}: the {ARRAY_SUFFIX} file is cut short.")
    pixels = np.frombuffer(data, np.uint8, math.prod(full), offset=stream.tell())
    return pixels.reshape(full, order="F" if by_columns else "C")
