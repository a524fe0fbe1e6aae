"""Plants faults into exported files that only a verdict can notice: every file is sealed again.

A fault is planted into the file itself, or into the Keras model before its export; then the
faulty file is given the documents of the sound one, as if a converter had made the mistake.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevit.core.seal import BLANK, seal
from kinds import faults_onnx, faults_tflite

if TYPE_CHECKING:
    import keras

FACTOR = 1.05  # of the scaled channel
# Which of the zoo stands for which task.
SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "classifier": ("softmax", "resized"),
    "segmenter": ("segment_resize", "unet"),
    "regressor": ("regression", "mixed_units"),
    "embedder": ("embedding",),
    "detector": ("detector",),
}
# (of a .tflite file, of an .onnx file): each changes a graph in place and says whether it could.
FAULTS: Mapping[str, tuple[Callable[[Any], bool], Callable[[Any], bool]]] = {
    "channel scaled by 1.05": (
        partial(faults_tflite.scale_channel, factor=FACTOR),
        partial(faults_onnx.scale_channel, factor=FACTOR),
    ),
    "two channels swapped": (faults_tflite.swap_channels, faults_onnx.swap_channels),
    "two outputs swapped": (faults_tflite.swap_outputs, faults_onnx.swap_outputs),
    "red read as blue": (faults_tflite.reverse_colours, faults_onnx.reverse_colours),
    "nearest instead of bilinear": (faults_tflite.take_nearest, faults_onnx.take_nearest),
    "activation dropped": (faults_tflite.drop_activation, faults_onnx.drop_activation),
    "wrong zero point": (faults_tflite.shift_zero_point, faults_onnx.shift_zero_point),
}
_SEAL = re.compile(rb"(edgevit-seal-sha256:)[0-9a-f]{64}")


def plant(path: Path, out: Path, fault: str) -> bool:
    """Writes a copy of a file with a fault in it, sealed again; its manifest stays behind.

    Args:
        path: a sound .tflite or .onnx file.
        out: where the faulty one goes.
        fault: a key of FAULTS.

    Returns:
        Whether the file has a place for this fault. If not, nothing is written.
    """
    data = path.read_bytes()
    if path.suffix == ".tflite":
        from edgevit.formats.tflite.writer.graph import TfliteGraph

        graph = TfliteGraph(data)
        if not FAULTS[fault][0](graph):
            return False
        changed = graph.to_bytes()
    else:
        import onnx

        model = onnx.load_from_string(data)
        if not FAULTS[fault][1](faults_onnx.OnnxGraph(model)):
            return False
        changed = model.SerializeToString()
    write_sealed(out, changed)
    return True


def write_sealed(out: Path, data: bytes) -> None:
    """Writes a changed file whose seal is right again."""
    out.write_bytes(_SEAL.sub(BLANK.encode(), data))
    seal(out)


def graft(sound: Path, faulty: Path, out: Path) -> None:
    """Writes the faulty file with the documents of the sound one, so it claims to be that.

    Args:
        sound: exported from the model itself.
        faulty: exported from a changed model, to the same target.
        out: where the result goes.
    """
    if sound.suffix == ".tflite":
        from edgevit.formats.tflite.runtime.file import read_metadata
        from edgevit.formats.tflite.writer.graph import TfliteGraph

        write_sealed(out, TfliteGraph(faulty.read_bytes()).to_bytes(read_metadata(sound)))
        return
    import onnx

    model, right = (onnx.load_from_string(path.read_bytes()) for path in (faulty, sound))
    del model.metadata_props[:]
    model.metadata_props.extend(right.metadata_props)
    write_sealed(out, model.SerializeToString())


# in the Keras model, before an export


def scale_model_channel(model: keras.Model) -> str:
    """One channel of the last weights answers more than it should."""
    layer = [layer for layer in model._flatten_layers() if _is_weighted(layer)][-1]
    kernel, bias = np.asarray(layer.kernel).copy(), np.asarray(layer.bias).copy()
    kernel[..., 0] *= FACTOR
    bias[0] *= FACTOR
    layer.kernel.assign(kernel)
    layer.bias.assign(bias)
    return str(layer.name)


def reverse_model_colours(model: keras.Model) -> str:
    """The first convolution reads red as blue."""
    for layer in model._flatten_layers():
        if _is_weighted(layer) and layer.kernel.shape[-2] == 3 and len(layer.kernel.shape) == 4:
            layer.kernel.assign(np.asarray(layer.kernel)[:, :, ::-1])
            return str(layer.name)
    return ""


def take_nearest_in_model(model: keras.Model) -> str:
    """Every bilinear resize takes the nearest place."""
    layers = [layer for layer in model._flatten_layers() if _resizes(layer)]
    for layer in layers:
        layer.interpolation = "nearest"
    return str(layers[0].name) if layers else ""


def drop_model_activation(model: keras.Model) -> str:
    """The last ReLU, or else the last activation, is lost."""
    import keras

    layers = [layer for layer in model._flatten_layers() if hasattr(layer, "activation")]
    active = [layer for layer in layers if layer.activation is not keras.activations.linear]
    relu = [layer for layer in active if layer.activation is keras.activations.relu]
    for layer in (relu or active)[-1:]:
        layer.activation = keras.activations.linear
        return str(layer.name)
    return ""


# Each changes a model in place; returns the name of the first changed layer, "" where none has a
# place for the fault.
MODEL_FAULTS: Mapping[str, Callable[[Any], str]] = {
    "channel scaled by 1.05": scale_model_channel,
    "red read as blue": reverse_model_colours,
    "nearest instead of bilinear": take_nearest_in_model,
    "activation dropped": drop_model_activation,
}


def _is_weighted(layer: keras.layers.Layer) -> bool:
    return hasattr(layer, "kernel") and hasattr(layer, "activation")


def _resizes(layer: keras.layers.Layer) -> bool:
    return getattr(layer, "interpolation", "") == "bilinear"


# counting


@dataclass(frozen=True)
class Found:
    """What a verification made of one planted fault.

    Attributes:
        kind: of the model.
        target: of the file.
        fault: a key of FAULTS, with "model: " before it where it was planted before the export.
        effect: largest mean |difference| of an output from the sound file's, over its deviation.
        verdict: of ``edgevit verify``, or the error that it stopped with.
    """

    kind: str
    target: str
    fault: str
    effect: float
    verdict: str

    @property
    def found(self) -> bool:
        """Whether the file is not let through; a lossy one is only where somebody accepts that."""
        return self.verdict != "pass"


def count_found(
    folder: Path, kinds: Sequence[str] = (), targets: Sequence[str] = ("tflite-float32",)
) -> Iterator[Found]:
    """Plants every fault that has a place into every subject's files, and verifies each.

    A fault without an effect on the outputs is none, and is left out.

    Args:
        folder: for files.
        kinds: of the zoo; empty: all of SUBJECTS.
        targets: names of targets.
    """
    from edgevit.formats.registry import TARGETS
    from kinds.trial import run_export

    for kind in kinds or [name for names in SUBJECTS.values() for name in names]:
        for target in targets:
            place = folder / kind / target
            outcome = run_export(kind, TARGETS[target], place)
            if outcome.artifact is not None:
                sound = outcome.artifact.path
                yield Found(kind, target, "none", 0.0, _verify(sound))
                yield from _find_in_file(kind, target, sound)
                yield from _find_in_model(kind, target, sound)


def _find_in_file(kind: str, target: str, sound: Path) -> Iterator[Found]:
    out = sound.with_name(f"faulty{sound.suffix}")
    for fault in FAULTS:
        if plant(sound, out, fault):
            effect = _effect(kind, sound, out)
            if effect > 0:
                yield Found(kind, target, fault, effect, _verify(out))


def _find_in_model(kind: str, target: str, sound: Path) -> Iterator[Found]:
    from edgevit.formats.registry import TARGETS
    from edgevit.verbs.export import export
    from kinds.trial import CALIBRATED_WITH
    from kinds.zoo import KINDS, build_kind

    row, out = KINDS[kind], sound.with_name(f"grafted{sound.suffix}")
    calibration = row.draw(row.calibrated_on, CALIBRATED_WITH)
    given = {"calibration": calibration} if TARGETS[target].needs_calibration else {}
    for fault, change in MODEL_FAULTS.items():
        model = build_kind(row)
        if not change(model):
            continue
        arguments = {**row.arguments, **given, "keep_failed": True}
        faulty = export(model, target, sound.parent / "faulty", **arguments).artifact
        assert faulty is not None
        graft(sound, faulty.path, out)
        effect = _effect(kind, sound, out)
        if effect > 0:
            yield Found(kind, target, f"model: {fault}", effect, _verify(out))


def _effect(kind: str, sound: Path, faulty: Path) -> float:
    """How far a fault moves the outputs; infinite where the file does not run any more."""
    from kinds.check import RUNTIMES, Mismatch, compare, run_file
    from kinds.zoo import KINDS

    row, runtime = KINDS[kind], RUNTIMES[sound.suffix][0]
    raw = row.draw(32, seed=6)
    names = [row.spelt.get(name, name) for name in row.outputs]
    before = run_file(sound, raw, runtime, names)
    try:
        after = run_file(faulty, raw, runtime, names)
    except (Mismatch, ValueError, RuntimeError):
        return float("inf")
    return max(found.mean for found in compare(after, before, row).values())


def _verify(path: Path) -> str:
    from edgevit.base.errors import EdgevitError
    from edgevit.verbs.verify import verify

    try:
        return str(verify(path).verdict)
    except EdgevitError as error:
        return f"error: {error}"
