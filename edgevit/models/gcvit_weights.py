"""GCViT's published ImageNet weights, which others ported to Keras, into this package's network.

The Keras example "Image Classification using Global Context Vision Transformer" downloads
``gcvitxxtiny.keras`` and hands it to ``load_weights``. Inside lies ``model.weights.h5``, whose
arrays are named after the attributes of the example's classes, such as
``layers/level_2/blocks/block_1/attn/qkv/vars/0``.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import numpy as np

from edgevit.base.errors import ModelFileError, in_one_line

if TYPE_CHECKING:
    import keras

    from edgevit.models.gcvit import Config

PORTED_URL = "https://github.com/awsaf49/gcvit-tf/releases/download/v1.1.6/gcvitxxtiny.keras"

MEMBER = "model.weights.h5"
HEAD = ("head/vars/0", "head/vars/1")
# Keras files a model's parts under the list that it visits first; its versions differ in that.
FOLDERS = ("layers", "levels", "_layer_checkpoint_dependencies")
OTHER_NAMES = {"layer_normalization": "norm", "dense": "head"}
NOT_OURS = ("optimizer", "metrics", "vars")


def read_ported(source: str | Path, network: keras.Model, config: Config) -> list[np.ndarray]:
    """Reads weights in the layout of ``gcvitxxtiny.keras``, for ``network.set_weights``.

    Args:
        source: a .keras or .weights.h5 file, or its URL (see PORTED_URL), which is downloaded once
            and kept in Keras' cache.
        network: a GCViT of this config, of either form. With another number of classes than the
            file, it keeps the classifier that it has.
        config: of the network.

    Returns:
        float32 arrays in ``network.get_weights()`` order.

    Raises:
        ModelFileError: the file is missing or damaged, or its arrays do not fit; the first that
            does not is named.
    """
    path = _fetch(str(source)) if urlparse(str(source)).scheme in ("http", "https") else source
    path = Path(path)
    try:
        with _open_hdf5(path) as file:
            return _read_arrays(path, file, network, config)
    except (OSError, KeyError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelFileError(
            f"{path}: truncated or damaged weights ({in_one_line(error, 160)})."
        ) from None


def ported_names(config: Config) -> list[str]:
    """Names of the arrays in the file, less the first folder, in the order of our weights."""
    return [*_stem_names(), *_level_names(config), "norm/vars/0", "norm/vars/1", *HEAD]


def _stem_names() -> Iterator[str]:
    yield from ("patch_embed/proj/vars/0", "patch_embed/proj/vars/1")
    yield from _downsample_names("patch_embed/conv_down")


def _level_names(config: Config) -> Iterator[str]:
    for level, depth in enumerate(config.depths):
        name = _numbered("level", level)
        for block in range(depth):
            yield from _block_names(f"{name}/{_numbered('blocks/block', block)}", config)
        if level + 1 < len(config.depths):
            yield from _downsample_names(f"{name}/down")
        for stage in range(max(1, config.halvings[level])):
            part = _numbered("feature_extraction", stage)
            yield from _mbconv_names(f"{name}/q_global_gen/to_q_global/{part}")


def _block_names(name: str, config: Config) -> Iterator[str]:
    if config.layer_scale is not None:
        yield from (f"{name}/vars/0", f"{name}/vars/1")
    yield from (f"{name}/norm1/vars/0", f"{name}/norm1/vars/1", f"{name}/attn/vars/0")
    for part in ("attn/qkv", "attn/proj", "norm2", "mlp/fc1", "mlp/fc2"):
        yield from (f"{name}/{part}/vars/0", f"{name}/{part}/vars/1")


def _downsample_names(name: str) -> Iterator[str]:
    yield from _mbconv_names(name)
    yield f"{name}/reduction/vars/0"
    for norm in ("norm1", "norm2"):
        yield from (f"{name}/{norm}/vars/0", f"{name}/{norm}/vars/1")


def _mbconv_names(name: str) -> Iterator[str]:
    gate = "squeeze_and_excitation/fc/dense"
    for part in ("depthwise_conv2d", gate, f"{gate}_1", "conv2d"):
        yield f"{name}/conv/{part}/vars/0"


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def _fetch(url: str) -> str:
    import keras

    try:
        return str(keras.utils.get_file(Path(urlparse(url).path).name, url))
    except Exception as error:  # Keras raises a bare Exception, and what urllib raises
        raise ModelFileError(
            f"{url}: cannot be downloaded ({in_one_line(error, 160)}). "
            "Fetch the file and give its path."
        ) from None


def _open_hdf5(path: Path) -> Any:
    import h5py

    if not path.is_file():
        raise ModelFileError(f"{path}: no such file. The published weights: {PORTED_URL}")
    if not zipfile.is_zipfile(path):
        return h5py.File(path, "r")
    with zipfile.ZipFile(path) as archive:
        return h5py.File(io.BytesIO(archive.read(MEMBER)), "r")


def _read_arrays(path, file, network, config) -> list[np.ndarray]:
    found = _find_arrays(file)
    variables = network.weights
    names = ported_names(config)
    keep_head = False
    arrays = []
    for name, variable in zip(names, variables, strict=True):
        if name not in found:
            raise ModelFileError(
                f"{path}: holds no {name}, which the network needs. Is it a GCViT of another size?"
            )
        stored, shape = found.pop(name), tuple(variable.shape)
        if name in HEAD and stored.shape[:-1] == shape[:-1]:
            keep_head |= stored.shape != shape  # another number of classes
        elif stored.shape != shape:
            raise ModelFileError(
                f"{path}: {name} is {stored.shape}, where the network has {shape}. Is it a GCViT "
                "of another size?"
            )
        arrays.append(stored[()].astype(np.float32))
        if not np.isfinite(arrays[-1]).all():
            raise ModelFileError(f"{path}: {name} holds NaN or infinity. Fetch the file again.")
    unused = f"{_numbered('level', len(config.depths) - 1)}/down/"  # the example never calls it
    left = [name for name in found if not name.startswith(unused)]
    if left:
        raise ModelFileError(
            f"{path}: holds {left[0]}, for which the network has no place. Is it a GCViT of "
            "another size?"
        )
    if keep_head:
        arrays[-2:] = network.get_weights()[-2:]
    return arrays


def _find_arrays(file: Any) -> dict[str, Any]:
    """Every array of a network by its name, less the first folder."""
    import h5py

    found = {}

    def visit(name, item):
        first, *rest = name.split("/")
        if isinstance(item, h5py.Dataset) and first not in NOT_OURS:
            if first in FOLDERS:
                first, *rest = rest
            found["/".join((OTHER_NAMES.get(first, first), *rest))] = item

    file.visititems(visit)
    return found
