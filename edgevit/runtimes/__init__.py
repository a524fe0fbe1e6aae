"""Exported files in the runtimes that devices use. A runtime is imported when a file is opened."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from edgevit.core.errors import ConfigError, ModelFileError
from edgevit.core.seal import find_damage
from edgevit.core.targets import Format
from edgevit.runtimes.session import Session

# (module, class, kernel sets that verify runs, the first being what devices run)
OPENERS: dict[Format, tuple[str, str, tuple[str, ...]]] = {
    Format.TFLITE: ("edgevit.runtimes.litert", "LiteRTSession", ("xnnpack", "reference")),
    Format.ONNX: ("edgevit.runtimes.onnxruntime", "OnnxRuntimeSession", ("cpu",)),
    Format.SAVEDMODEL: ("edgevit.runtimes.savedmodel", "SavedModelSession", ("cpu",)),
}


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


def open_session(path: str | Path, kernels: str | None = None, threads: int = 1) -> Session:
    """Loads an exported file in its runtime.

    Args:
        path: a .tflite or .onnx file, or a SavedModel folder.
        kernels: a kernel set of the runtime, such as "reference" for LiteRT; None is what devices
            run.
        threads: for the kernels.

    Returns:
        A context manager whose ``run(images)`` takes uint8 B H W 3 in any batch and returns a
        dict of float32 arrays, "logits" among them.

    Raises:
        ModelFileError: no such file, of no known kind, or changed since it was exported.
        MissingDependencyError: the runtime is not installed.
        RuntimeFailure: the runtime refuses the file.
    """
    path = Path(path)
    kind = detect_format(path)
    refuse_damage(path)
    module, name, sets = OPENERS[kind]
    opener: Callable[..., Session] = getattr(importlib.import_module(module), name)
    if kernels is not None and kernels not in (*sets, "builtin"):
        raise ConfigError(f"{kind} has the kernel sets {', '.join(sets)}. Received: {kernels!r}")
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
