"""Exported files in the runtimes that devices use. A runtime is imported when a file is opened."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgevit.base.errors import (
    ConfigError,
    MissingDependencyError,
    ModelFileError,
    find_named,
)
from edgevit.core.seal import find_damage
from edgevit.core.target import Format
from edgevit.formats.intermediate import Tap
from edgevit.formats.session import Session

# (module, class, kernel sets that verify runs, the first being what devices run)
OPENERS: dict[Format, tuple[str, str, tuple[str, ...]]] = {
    Format.TFLITE: (
        "edgevit.formats.tflite.runtime.litert",
        "LiteRTSession",
        ("xnnpack", "reference"),
    ),
    Format.ONNX: ("edgevit.formats.onnx.runtime.onnxruntime", "OnnxRuntimeSession", ("cpu",)),
    Format.SAVEDMODEL: ("edgevit.formats.savedmodel.runtime", "SavedModelSession", ("cpu",)),
}

# Kernel sets that are runtimes of their own: (module, class).
OTHER_OPENERS: dict[tuple[Format, str], tuple[str, str]] = {
    (Format.TFLITE, "micro"): ("edgevit.formats.tflite.runtime.tflm", "MicroSession"),
}
_MICRO = "tflite_micro.python.tflite_micro.runtime"


@dataclass(frozen=True)
class Runtime:
    """A runtime as users name it.

    Attributes:
        format: what it reads.
        kernels: its kernel set.
        library: module that is the runtime.
        extra: of edgevit, that brings it.
        device: what it computes on.
    """

    format: Format
    kernels: str
    library: str
    extra: str
    device: str = "cpu"


# The first of each format and device is the one that is used unless another is asked for.
RUNTIMES: dict[str, Runtime] = {
    "litert": Runtime(Format.TFLITE, "xnnpack", "ai_edge_litert.interpreter", "litert"),
    "litert-builtin": Runtime(Format.TFLITE, "builtin", "ai_edge_litert.interpreter", "litert"),
    "litert-reference": Runtime(Format.TFLITE, "reference", "ai_edge_litert.interpreter", "litert"),
    "tflm": Runtime(Format.TFLITE, "micro", _MICRO, "tflm"),
    "onnxruntime": Runtime(Format.ONNX, "cpu", "onnxruntime", "onnx"),
    "tensorflow": Runtime(Format.SAVEDMODEL, "cpu", "tensorflow", "tensorflow"),
    "onnxruntime-cuda": Runtime(Format.ONNX, "cuda", "onnxruntime", "gpu", "gpu"),
    "tensorflow-gpu": Runtime(Format.SAVEDMODEL, "gpu", "tensorflow", "gpu", "gpu"),
}


def find_runtime(name: str) -> Runtime:
    """The runtime of this name.

    Raises:
        UnknownNameError: there is none; near misses are named.
    """
    return find_named("runtime", name, RUNTIMES)


def runtimes_of(kind: Format, device: str = "cpu") -> list[str]:
    """Names of the runtimes that read a format on a device, the usual one first."""
    return [name for name, row in RUNTIMES.items() if row.format is kind and row.device == device]


def choose_kernels(path: Path, runtime: str) -> str:
    """The kernel set of a runtime that is asked for by name.

    Args:
        path: an exported file.
        runtime: a key of RUNTIMES.

    Raises:
        UnknownNameError: there is no such runtime.
        ConfigError: it does not read this file.
        ModelFileError: no such file, or of no known kind.
    """
    row, kind = find_runtime(runtime), detect_format(path)
    if row.format is not kind:
        raise ConfigError(
            f"{path}: {runtime} reads {row.format} files, this is {kind}. What reads it: "
            f"{', '.join(runtimes_of(kind))}."
        )
    return row.kernels


def import_runtime(name: str) -> None:
    """Imports a runtime, so that what follows costs no import.

    Raises:
        MissingDependencyError: it is not installed.
    """
    row = find_runtime(name)
    try:
        importlib.import_module(row.library)
    except ImportError:
        package = row.library.partition(".")[0]
        raise MissingDependencyError(package, row.extra, f"The runtime {name}") from None


def detect_format(path: Path) -> Format:
    """What kind of exported file this is, by its suffix (a SavedModel by its content).

    Raises:
        ModelFileError: it does not exist or is of no known kind.
    """
    if not path.exists():
        raise ModelFileError(f"{path}: no such file. Run 'edgevit export' first.")
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            return Format.SAVEDMODEL
        raise ModelFileError(f"{path}: a folder without saved_model.pb is no SavedModel.")
    for kind, suffix in ((Format.TFLITE, ".tflite"), (Format.ONNX, ".onnx")):
        if path.suffix == suffix:
            return kind
    raise ModelFileError(f"{path}: neither a .tflite or .onnx file nor a SavedModel folder.")


def open_session(
    path: str | Path, kernels: str | None = None, threads: int | None = None
) -> Session:
    """Loads an exported file in its runtime.

    Args:
        path: a .tflite or .onnx file, or a SavedModel folder.
        kernels: a kernel set of the runtime, such as "reference" for LiteRT; None is what devices
            run.
        threads: for the kernels. None: one, but TensorFlow's own choice, since its threads belong
            to the whole process.

    Returns:
        A context manager whose ``run(images)`` takes uint8 B H W 3 in any batch and returns a
        dict of float32 arrays, "logits" among them.

    Raises:
        ModelFileError: no such file, of no known kind, or changed since it was exported.
        MissingDependencyError: the runtime is not installed.
        RuntimeFailure: the runtime refuses the file.
    """
    path = Path(path)
    detect_format(path)
    refuse_damage(path)
    return load_session(path, kernels, threads)


def load_session(path: Path, kernels: str | None = None, threads: int | None = None) -> Session:
    """As :func:`open_session`, for a file that is known to be whole: nothing is hashed."""
    kind = detect_format(path)
    module, name, sets = OPENERS[kind]
    module, name = OTHER_OPENERS.get((kind, kernels or sets[0]), (module, name))
    opener: Callable[..., Session] = getattr(importlib.import_module(module), name)
    known = dict.fromkeys(
        [*sets, *(row.kernels for row in RUNTIMES.values() if row.format is kind)]
    )
    if kernels is not None and kernels not in known:
        raise ConfigError(f"{kind} has the kernel sets {', '.join(known)}. Received: {kernels!r}")
    return opener(path, kernels=kernels or sets[0], threads=threads)


def refuse_damage(path: Path) -> None:
    """Stops before a runtime reads a sealed file that changed: it may take the process down.

    Raises:
        ModelFileError: the file is not as it was sealed.
    """
    damage = find_damage(path)
    if damage:
        raise ModelFileError(f"{path}: {damage}. Export it again.")


def kernel_sets(path: Path) -> tuple[str, ...]:
    """Kernel sets that a file is verified with."""
    return OPENERS[detect_format(path)][2]


def open_tap(path: Path) -> Tap:
    """Opens a file so that what is between its layers can be read. It need not be sealed.

    LiteRT runs with its own kernels, since XNNPACK keeps its tensors to itself; onnxruntime with
    its optimisations as far as the tensors that are watched leave room for them.

    Raises:
        ConfigError: a SavedModel.
        ModelFileError: no such file, or of no known kind.
        MissingDependencyError: the runtime is not installed.
        RuntimeFailure: the runtime refuses the file.
    """
    kind = detect_format(path)
    if kind is Format.TFLITE:
        from edgevit.formats.tflite.runtime.intermediate import LiteRTTap

        return LiteRTTap(path)
    if kind is Format.ONNX:
        from edgevit.formats.onnx.runtime.intermediate import OnnxRuntimeTap

        return OnnxRuntimeTap(path)
    raise ConfigError(
        f"{path}: a SavedModel keeps Keras' own operations and gives no tensor between them out. "
        "Export the same model to tflite-float32 or onnx-float32 and look into that."
    )
