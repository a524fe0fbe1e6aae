"""Pictures with a mask beside each: what a segmentation is held to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevit.base.errors import DataError
from edgevit.core.signature import Role, Signature
from edgevit.core.tensors import Preprocess
from edgevit.data.images import (
    SIXTEEN_BITS,
    decode_image,
    is_image_name,
    open_upright,
    read_bytes,
    resize_image,
)
from edgevit.data.inputs import describe

IGNORED = -1  # the class number of pixels that do not count
IGNORED_BYTE = 255  # what stands for it in a file, as in PASCAL VOC and Cityscapes
BINARY = 2  # a model of so many classes, or fewer, tells a foreground from the rest
MASK_SUFFIX = ".png"
PNG_MAGIC = b"\x89PNG"
MASK_MODES = ("1", "L", "P", *SIXTEEN_BITS)  # Pillow's modes whose values can be class numbers


@dataclass(frozen=True)
class LabelledMasks:
    """Pictures, and the class of every pixel.

    Attributes:
        images: uint8 N H W C, as large as the model's raw input.
        masks: int64 N h w, as large as the model's output; -1: a pixel that does not count.
        source: the folder's name.
    """

    images: np.ndarray
    masks: np.ndarray
    source: str

    def __len__(self) -> int:
        return len(self.masks)


def load_masks(
    path: str | Path,
    signature: Signature,
    classes: int,
    size: tuple[int, int] | None = None,
) -> LabelledMasks:
    """Reads a folder of ``images/`` and ``masks/``, in which the same stem belongs together.

    A mask is a PNG of one channel. The numbers of its palette, or its levels of grey in 8 or 16
    bits, are classes; the palette's colours do not matter. 255 is a pixel that does not count. In a
    binary mask, 1 is the foreground; where no mask of the folder holds a 1, 255 is.

    The EXIF orientation of a picture is applied to the picture. A mask is turned only if its own
    file holds one.

    Args:
        path: the folder.
        signature: of the model, which takes a picture and nothing else.
        classes: that the model tells apart; 1 or 2: the masks are binary.
        size: (rows, columns) of the model's output, to which masks are brought by taking the
            nearest pixel; None: those of the signature's mask.

    Returns:
        All pictures, in the order of their names.

    Raises:
        DataError: no such folders, no picture, a picture without a mask, a mask that cannot be
            read, was drawn on the picture before it was turned, or holds another class.
    """
    path = Path(path)
    spec = signature.picture
    if spec is None or spec.preparation is None or len(signature.inputs) > 1:
        raise DataError(f"{path}: masks belong to one picture each. {describe(signature)}")
    preparation, size = spec.preparation, size or _mask_size(signature, path)
    images, masks, has_ones = [], [], False
    for picture, mask in _list_pairs(path, preparation.channels):
        pixels = decode_image(read_bytes(picture), str(picture), None, preparation.channels)
        numbers = _read_mask(mask, pixels.shape[:2])
        _check_classes(numbers, classes, mask)
        has_ones = has_ones or bool((numbers == 1).any())
        images.append(resize_image(pixels, preparation.input_size))
        masks.append(numbers[_pick_nearest(numbers.shape, preparation, size)])
    found = np.stack(masks)
    if classes <= IGNORED_BYTE:
        meant = 1 if classes <= BINARY and not has_ones else IGNORED
        found[found == IGNORED_BYTE] = meant
    return LabelledMasks(np.stack(images), found, path.name)


def _mask_size(signature: Signature, path: Path) -> tuple[int, int]:
    """(rows, columns) of the first mask that a model returns."""
    for spec in signature.outputs:
        if spec.role is Role.MASK and len(spec.shape) > 2:
            rows, columns = spec.shape[1:3]
            if rows is not None and columns is not None:
                return rows, columns
    raise DataError(f"{path}: the model returns no mask of a fixed size.")


def _list_pairs(folder: Path, channels: int) -> list[tuple[Path, Path]]:
    """Each picture with its mask, in the order of the pictures' names."""
    pictures, masks = folder / "images", folder / "masks"
    if not pictures.is_dir() or not masks.is_dir():
        raise DataError(f"{folder}: expected the folders images/ and masks/.")
    pairs: dict[Path, tuple[Path, Path]] = {}
    for picture in sorted(pictures.rglob("*")):
        if picture.name.startswith(".") or not is_image_name(picture.name, channels):
            continue
        stem = picture.relative_to(pictures).with_suffix("")
        if stem in pairs:
            raise DataError(f"{picture}: {pairs[stem][0].name} has the same stem, and so its mask.")
        mask = masks / picture.relative_to(pictures).with_suffix(MASK_SUFFIX)
        if not mask.is_file():
            raise DataError(f"{picture}: has no mask. Expected {mask}")
        pairs[stem] = picture, mask
    if not pairs:
        raise DataError(f"{pictures}: holds no picture.")
    return list(pairs.values())


def _read_mask(path: Path, picture_size: tuple[int, ...]) -> np.ndarray:
    """int64 H W: the numbers in a mask's file.

    Args:
        path: a PNG.
        picture_size: (rows, columns) of its picture, upright.
    """
    data = read_bytes(path)
    if not data.startswith(PNG_MAGIC):
        raise DataError(f"{path}: a mask is a PNG. Other formats may blend neighbouring classes.")
    picture = open_upright(data, str(path))
    numbers = np.asarray(picture)
    if picture.mode == "RGB" and (numbers == numbers[..., :1]).all():  # grey, stored as colours
        numbers = numbers[..., 0]
    elif picture.mode not in MASK_MODES:
        raise DataError(
            f"{path}: a mask has one channel, a palette or levels of grey, whose numbers are the "
            f"classes. Received: Pillow's mode {picture.mode!r}"
        )
    rows, columns = picture_size
    if numbers.shape == (columns, rows) and rows != columns:
        raise DataError(
            f"{path}: is {rows}x{columns} pixels, and its picture {columns}x{rows}. If the "
            "picture is turned by its EXIF orientation, the mask needs the same orientation."
        )
    return numbers.astype(np.int64)


def _check_classes(numbers: np.ndarray, classes: int, path: Path) -> None:
    """Refuses a mask that holds a number which is no class."""
    binary = classes <= BINARY
    beyond = numbers[(numbers >= (BINARY if binary else classes)) & (numbers != IGNORED_BYTE)]
    if not beyond.size:
        return
    told = (
        "a binary mask holds 0 and 1, or 0 and 255"
        if binary
        else f"the model tells {classes} classes apart, 0 to {classes - 1}"
    )
    raise DataError(f"{path}: {told}. Received: {int(beyond.max())}")


def _pick_nearest(
    shape: tuple[int, ...], preparation: Preprocess, size: tuple[int, int]
) -> tuple[np.ndarray, ...]:
    """Indices of the pixels of a mask that lie under each pixel of the model's output.

    The output covers what enters the network, so the mask is resized and cropped as the picture is.

    Args:
        shape: (rows, columns) of the mask.
        preparation: of the picture.
        size: (rows, columns) of the output.
    """
    axes = zip(
        shape,
        preparation.resized,
        preparation.crop_origin,
        preparation.network_size,
        size,
        strict=True,
    )
    picked = []
    for length, resized, origin, inside, wanted in axes:
        middles = origin + (np.arange(wanted) + 0.5) * inside / wanted  # pixels after the resize
        picked.append(np.floor(middles * length / resized).astype(int).clip(0, length - 1))
    return np.ix_(*picked)
