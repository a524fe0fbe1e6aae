"""TensorFlow's converter, without what it would do several times over.

It saves a network as a SavedModel, loads that, converts it, and reads and packs the flatbuffer
again and again: to share equal constants, and to note its own version. Several targets start from
the same SavedModel, so it is saved once; between two steps in Python the flatbuffer stays the
object that it is. The files are the same, byte by byte.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from edgevit.base.errors import ExportError
from edgevit.base.memory import give_back
from edgevit.core.format import Format
from edgevit.formats.tflite.options import TfliteOptions
from edgevit.formats.tflite.runtime.file import pack_at_once
from edgevit.formats.tflite.writer.refusal import describe_refusal
from edgevit.frontend.lowering import Lowering
from edgevit.frontend.source import Source
from edgevit.frontend.trace import Traced, trace


@dataclass(frozen=True)
class Start:
    """What conversions of one network start from.

    Attributes:
        traced: the network as a function.
        folder: of the SavedModel that the first conversion makes of it; gone with the last user.
    """

    traced: Traced
    folder: str = field(default_factory=tempfile.mkdtemp)

    def __post_init__(self) -> None:
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    @property
    def steps(self) -> tuple[str, ...]:
        """Of the trace, for the manifest."""
        return self.traced.steps


def trace_once(source: Source, options: TfliteOptions, dtype: str, lowering: Lowering) -> Start:
    """The traced network, shared by all targets that trace it alike.

    Args:
        source: what to export.
        options: batch and preprocessing.
        dtype: element type of the traced pictures.
        lowering: how layers are written.
    """
    key = (Format.TFLITE, "traced", options.batch, options.preprocess, dtype, lowering.steps)
    if key not in source.lowered:
        found = Start(trace(source, options, dtype, lowering))
        source.lowered[key] = found, found.steps
    start: Start = source.lowered[key][0]
    return start


def convert_model(
    start: Start, name: str, weights: int, types: Sequence[Any] | None = None
) -> bytes:
    """The flatbuffer that the converter makes of a network.

    Args:
        start: the network.
        name: how errors call it.
        weights: bytes of its weights.
        types: what the converter may make the weights, none of them for int8; None: as they are.

    Raises:
        ExportError: it refuses.
    """
    import tensorflow as tf

    function = start.traced.function
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], start.traced.module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]  # never Flex
    if types is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if types:
        converter.target_spec.supported_types = list(types)
    try:
        with saved_once(Path(start.folder, "saved")), packed_once(weights):
            found = converter.convert()
    except Exception as error:  # the converter's own exceptions share no public base class
        operations = {op.type: op.name for op in function.graph.get_operations()}
        raise ExportError(describe_refusal(name, error, operations)) from None
    return pack_at_once(found.model) if isinstance(found, _Unpacked) else bytes(found)


@contextlib.contextmanager
def saved_once(kept: Path) -> Iterator[None]:
    """While the context lasts, the converter saves its network once, and does not load it again.

    It only keeps what it loads there from being collected, and takes a tenth of its time for that;
    nor does it look for the line of Python behind each operation.

    Args:
        kept: where the SavedModel stays: read where it is there, and made where it is not.
    """
    from tensorflow.lite.python import lite

    names = ("_load", "_save", "_save_options")
    own: list[Any] = [getattr(lite, name, None) for name in names]
    if None in own:  # another version, which may need it
        yield
        return
    _, save, options = own

    def save_once(module: Any, folder: str, **how: Any) -> None:
        if not kept.exists():
            save.save(module, folder, **how)
            shutil.copytree(folder, kept, copy_function=_link)
        else:
            shutil.copytree(kept, folder, copy_function=_link, dirs_exist_ok=True)

    lite._load = lambda *arguments: None
    lite._save = SimpleNamespace(save=save_once)
    lite._save_options = SimpleNamespace(SaveOptions=lambda **_: options.SaveOptions())
    try:
        yield
    finally:
        lite._load, lite._save, lite._save_options = own


def _link(source: str, target: str) -> None:
    """The same file under another name; a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


class _Unpacked(bytes):
    """Stands for a packed flatbuffer, and holds the object that nobody has packed yet."""

    model: Any

    @classmethod
    def of(cls, model: Any) -> Self:
        """For an object of the converter's schema."""
        found = cls(b"not packed yet")
        found.model = model
        return found


@contextlib.contextmanager
def packed_once(weights: int) -> Iterator[None]:
    """While the context lasts, TensorFlow's Python reads a flatbuffer once and packs none.

    Args:
        weights: bytes of the network's.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    names = ("convert_bytearray_to_object", "convert_object_to_bytearray")
    own = [getattr(flatbuffer_utils, name) for name in names]
    read: dict[int, tuple[bytes, Any]] = {}

    def unpack(content: bytes) -> Any:
        if isinstance(content, _Unpacked):
            return content.model
        if id(content) not in read:
            read[id(content)] = content, own[0](content)
        return read[id(content)][1]

    def pack(model: Any, extra_buffer: bytes = b"") -> bytes:
        give_back(weights)  # what the converter has freed
        return own[1](model, extra_buffer) if extra_buffer else _Unpacked.of(model)

    flatbuffer_utils.convert_bytearray_to_object = unpack
    flatbuffer_utils.convert_object_to_bytearray = pack
    try:
        yield
    finally:
        for name, function in zip(names, own, strict=True):
            setattr(flatbuffer_utils, name, function)
