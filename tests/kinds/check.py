"""Holds an exported file against its Keras model, with nothing of edgevit in between.

The runtimes are called directly. Inputs are quantised and outputs brought back by the file's own
scales, pixels are resized and scaled by a few lines of :mod:`kinds.float_model`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kinds.kind import Arrays, Kind

if TYPE_CHECKING:
    import keras

RUNTIMES = {".tflite": ("default", "reference"), ".onnx": ("onnxruntime",), "": ("tensorflow",)}
CLASSES = ("logits", "probabilities", "mask")
NOISE = 0.9  # mean |difference| over deviation at which an output says nothing any more


class Mismatch(AssertionError):
    """A file is not of the model: other names, another order, other shapes."""


@dataclass(frozen=True)
class Agreement:
    """One output of a file against the float model's.

    Attributes:
        largest: |difference| over the output's scale; of values, in the worst column.
        mean: mean |difference| over the deviation; of values, in the worst column.
        share: of inputs, pixels or labels on which both choose the same; for an embedding the
            smallest cosine. None where there is nothing to choose.
        chance: how much more a share of so few may be: 2 standard errors.
        typical: of values, the mean in the middle column; else as ``mean``, and where it is None.
    """

    largest: float
    mean: float
    share: float | None = None
    chance: float = 0.0
    typical: float | None = None

    @property
    def is_noise(self) -> bool:
        """Whether most of the output says no more than a constant would; NaN does not either."""
        return not (self.mean if self.typical is None else self.typical) <= NOISE


@dataclass(frozen=True)
class Limit:
    """How far a sound file may be off; see :class:`Agreement`."""

    largest: float
    mean: float
    share: float

    def holds(self, found: Agreement) -> bool:
        """Whether all is within the limits, a share as far as chance allows; NaN is not."""
        near = found.largest <= self.largest and found.mean <= self.mean
        return near and (found.share is None or found.share + found.chance >= self.share)


# By the precision of the target. What is rounded is judged by its mean, which other samples than
# those of the verdict may bring a quarter above its limit.
LIMITS: Mapping[str, Limit] = {
    "float32": Limit(1e-3, 1e-3, 0.995),
    "float16": Limit(1e-1, 2e-2, 0.95),  # a value on the edge of a bucket goes into the next
    "dynamic": Limit(0.5, 0.19, 0.85),
    "int8": Limit(0.8, 0.25, 0.75),
    "mixed": Limit(0.8, 0.25, 0.75),
    "int16x8": Limit(0.8, 0.19, 0.85),  # a sample beyond the ranges is clipped here too
    "dynamic-int4": Limit(1.0, 0.5, 0.6),
}


def check(path: Path, kind: Kind, model: keras.Model, raw: Arrays) -> dict[str, Agreement]:
    """Runs a file in all its runtimes and compares every output with the Keras model's.

    Args:
        path: a .tflite or .onnx file, or a SavedModel folder.
        kind: says how raw inputs enter the model, and what its outputs are.
        model: the float model.
        raw: inputs by name, the batch first.

    Returns:
        The worst agreement over the runtimes, by name of the output.

    Raises:
        Mismatch: names, order or shapes are not those of the model.
    """
    from kinds.float_model import run_keras

    said = run_keras(kind, model, raw)
    wanted = {kind.spelt.get(name, name): values for name, values in said.items()}
    reports = [
        compare(run_file(path, raw, runtime, list(wanted)), wanted, kind)
        for runtime in RUNTIMES[_suffix(path)]
    ]
    return {name: _worst([report[name] for report in reports]) for name in wanted}


def compare(found: Arrays, wanted: Arrays, kind: Kind) -> dict[str, Agreement]:
    """Outputs of a file against those of the model, by name.

    Raises:
        Mismatch: a shape is another.
    """
    roles = {kind.spelt.get(name, name): out.role for name, out in kind.outputs.items()}
    report = {}
    for name, expected in wanted.items():
        if found[name].shape != expected.shape:
            raise Mismatch(f"{name}: shape {found[name].shape} instead of {expected.shape}")
        report[name] = measure(found[name], expected, roles[name])
    return report


def measure(found: np.ndarray, wanted: np.ndarray, role: str) -> Agreement:
    """How two arrays agree; see :class:`Agreement`.

    Args:
        found: of the file, the batch first.
        wanted: of the model.
        role: of edgevit.core.signature.Role, as text.
    """
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    if role == "labels":
        share = float((found == wanted).mean())
        return Agreement(0.0, 0.0, share)
    away = np.abs(found - wanted)
    axes = 0 if role == "values" else None
    scale = np.maximum(np.abs(wanted).max(axis=axes), 1e-30)
    deviation = np.maximum(wanted.std(axis=axes), 1e-30)
    largest = float(np.max(away.max(axis=axes) / scale))
    means = away.mean(axis=axes) / deviation
    mean, typical = float(np.max(means)), float(np.median(means))
    share = _share(found, wanted, role)
    chance = 0.0
    if share is not None and role != "embedding":
        chosen = found.size // found.shape[-1]  # at least: tags are chosen one by one
        chance = 2 * float(np.sqrt(share * (1 - share) / chosen))
    return Agreement(largest, mean, share, chance, typical if role == "values" else None)


def _share(found: np.ndarray, wanted: np.ndarray, role: str) -> float | None:
    """What Agreement says of a share.

    The class that a file chooses agrees if the model's own score of it is within two mean errors of
    the best: of a network whose scores are as near as that, chance chooses, and limits on errors
    are what tells.
    """
    if role == "embedding":
        lengths = np.linalg.norm(found, axis=-1) * np.linalg.norm(wanted, axis=-1)
        return float(((found * wanted).sum(axis=-1) / np.maximum(lengths, 1e-30)).min())
    if role not in CLASSES:
        return None
    threshold = 0.5 if role == "probabilities" or found.min() >= 0 else 0.0
    several = found.shape[-1] > 1 and (role != "probabilities" or _sums_to_one(wanted))
    if not several:
        near = np.abs(wanted - threshold) < 1e-4
        return float((((found > threshold) == (wanted > threshold)) | near).mean())
    chosen = np.take_along_axis(wanted, found.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    tie = max(1e-4 * np.abs(wanted).max(), 2 * np.abs(found - wanted).mean())
    return float((chosen >= wanted.max(axis=-1) - tie).mean())


def _sums_to_one(values: np.ndarray) -> bool:
    return bool(np.allclose(values.sum(axis=-1), 1, atol=1e-3))


def _worst(reports: list[Agreement]) -> Agreement:
    shares = [(each.share, each.chance) for each in reports if each.share is not None]
    typical = [each.typical for each in reports if each.typical is not None]
    return Agreement(
        float(np.max([report.largest for report in reports])),  # keeps a NaN
        float(np.max([report.mean for report in reports])),
        *min(shares, default=(None, 0.0)),
        float(np.max(typical)) if typical else None,
    )


# running


def run_file(path: Path, raw: Arrays, runtime: str, outputs: list[str]) -> Arrays:
    """A file's outputs of raw inputs, by name.

    Args:
        path: the file.
        raw: inputs by name, in the model's order.
        runtime: of RUNTIMES.
        outputs: the model's names, in its order.

    Raises:
        Mismatch: the file's names or their order are others.
    """
    open_file = {".tflite": _Tflite, ".onnx": _Onnx, "": _SavedModel}[_suffix(path)]
    file = open_file(path, runtime)
    given = {file.spell(name): values for name, values in raw.items()}
    _check_names("inputs", file.inputs, list(given), file.ordered)
    _check_names("outputs", file.outputs, outputs, file.ordered)
    (count,) = {len(values) for values in given.values()}
    step = file.batch or count
    parts: list[Arrays] = []
    for start in range(0, count, step):
        few = {name: values[start : start + step] for name, values in given.items()}
        short = step - len(next(iter(few.values())))
        if short:  # the last batch is filled up with copies
            few = {name: np.concatenate([v, v[-1:].repeat(short, 0)]) for name, v in few.items()}
        parts.append(file.run(few))
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in outputs}


def _suffix(path: Path) -> str:
    """Of a file; a folder has none, whatever its name is."""
    return "" if path.is_dir() else path.suffix


def _check_names(side: str, found: list[str], wanted: list[str], ordered: bool) -> None:
    same = found == wanted if ordered else sorted(found) == sorted(wanted)
    if not same:
        raise Mismatch(f"{side} are {found}, the model's are {wanted}")


class _File:
    """A file opened in its runtime."""

    ordered = True
    spell = staticmethod(lambda name: name)  # an input's name as the file has it


class _Tflite(_File):
    def __init__(self, path: Path, runtime: str):
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolver = {"default": OpResolverType.AUTO, "reference": OpResolverType.BUILTIN_REF}
        self._interpreter = Interpreter(
            str(path), experimental_op_resolver_type=resolver[runtime], num_threads=1
        )
        self._interpreter.allocate_tensors()
        self._inputs, self._outputs = self._by_name()
        self.inputs, self.outputs = list(self._inputs), list(self._outputs)
        (batch,) = {int(detail["shape_signature"][0]) for detail in self._inputs.values()}
        self.batch = max(batch, 0) or None

    def _by_name(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Details by the names of the signature, in the order of the file."""
        file, runner = self._interpreter, None
        if file.get_signature_list():
            runner = file.get_signature_runner()
        sides = []
        for details, named in (
            (file.get_input_details(), runner and runner.get_input_details()),
            (file.get_output_details(), runner and runner.get_output_details()),
        ):
            by_index = {detail["index"]: detail for detail in details}
            order = list(by_index)
            named = named or {detail["name"]: detail for detail in details}
            names = sorted(named, key=lambda name: order.index(named[name]["index"]))
            sides.append({name: by_index[named[name]["index"]] for name in names})
        return sides[0], sides[1]

    def run(self, raw: Arrays) -> Arrays:
        file = self._interpreter
        if self.batch is None:
            for name, detail in self._inputs.items():
                file.resize_tensor_input(detail["index"], raw[name].shape)
            file.allocate_tensors()
        for name, detail in self._inputs.items():
            file.set_tensor(detail["index"], quantise(raw[name], detail))
        file.invoke()
        return {
            name: dequantise(file.get_tensor(detail["index"]), detail)
            for name, detail in self._outputs.items()
        }


def quantise(values: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    """Real numbers as a TFLite file's input takes them.

    Raises:
        Mismatch: raw pixels would have to be changed before they enter.
    """
    kind, (scale, zero) = np.dtype(detail["dtype"]), detail["quantization"]
    if kind == np.uint8 and values.dtype == np.uint8:
        if scale and (abs(scale - 1) > 1e-6 or zero):
            raise Mismatch(f"{detail['name']}: raw pixels have scale {scale} and zero {zero}")
        return values
    if not scale or kind.kind == "f":
        return values.astype(kind)
    levels = np.rint(values.astype(np.float64) / scale) + zero
    return np.clip(levels, np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)


def dequantise(values: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    """What the levels of a TFLite file's output stand for."""
    scale, zero = detail["quantization"]
    return (values.astype(np.float64) - zero) * scale if scale else values


class _Onnx(_File):
    def __init__(self, path: Path, runtime: str):
        import onnxruntime

        self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self._inputs = {entry.name: entry for entry in self._session.get_inputs()}
        self.inputs = list(self._inputs)
        self.outputs = [entry.name for entry in self._session.get_outputs()]
        batch = next(iter(self._inputs.values())).shape[0]
        self.batch = batch if isinstance(batch, int) else None

    def run(self, raw: Arrays) -> Arrays:
        types = {"tensor(float)": "float32", "tensor(float16)": "float16"}
        feeds = {}
        for name, entry in self._inputs.items():
            kind = types.get(entry.type, entry.type[len("tensor(") : -1])
            feeds[name] = raw[name].astype(kind)
        return dict(zip(self.outputs, self._session.run(None, feeds), strict=True))


class _SavedModel(_File):
    ordered = False  # a signature's names come in the order of the alphabet
    # TensorFlow gives the inputs of a function names that Python could give its arguments.
    spell = staticmethod(lambda name: re.sub(r"\W", "_", name))

    def __init__(self, path: Path, runtime: str):
        import tensorflow as tf

        self._loaded = tf.saved_model.load(str(path))
        self._run = self._loaded.signatures["serving_default"]
        self._specs = self._run.structured_input_signature[1]
        self.inputs, self.outputs = list(self._specs), list(self._run.structured_outputs)
        self.batch = next(iter(self._specs.values())).shape[0]

    def run(self, raw: Arrays) -> Arrays:
        import tensorflow as tf

        feeds = {name: tf.constant(raw[name], spec.dtype) for name, spec in self._specs.items()}
        return {name: value.numpy() for name, value in self._run(**feeds).items()}
