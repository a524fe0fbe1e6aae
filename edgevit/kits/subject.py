"""What a kit is made of: an exported file, what it says of itself, and golden samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.documents import encode_array
from edgevit.base.errors import ConfigError
from edgevit.base.files import digest_path
from edgevit.core.format import Format
from edgevit.core.golden_inputs import Draw
from edgevit.core.manifest import Manifest
from edgevit.core.metadata import EmbeddedMetadata
from edgevit.core.signature import InputSpec, OutputSpec
from edgevit.core.target import Target
from edgevit.core.tensors import TensorSpec
from edgevit.data.images import resize_image
from edgevit.formats.registry import find_target, load_session
from edgevit.tasks import find_task

MOST = 8  # golden samples of a kit
MOST_BYTES = 1_000_000  # of their inputs and outputs, in all
READABLE = (1, 3, 4)  # channels that a picture file can hold
MARGIN = 2.0  # times the difference of two sets of kernels here
LEAST = 0.02  # of the spread: a level of integers here and there
SEED = 7  # of the pictures of another size


Sample = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]  # inputs, and pixels as they enter


@dataclass(frozen=True)
class Golden:
    """One golden sample.

    Attributes:
        inputs: by name, without the batch, as a user of the kit hands them over: pictures of any
            size, other arrays as the file takes them.
        pixels: uint8 H W C of each picture by name, in the size that the file takes.
        outputs: float32 by name, without the batch, as the file returned them here.
    """

    inputs: dict[str, np.ndarray]
    pixels: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


@dataclass(frozen=True)
class Subject:
    """An exported file on its way into a kit.

    Attributes:
        path: the file.
        metadata: its own documents.
        manifest: of these.
    """

    path: Path
    metadata: EmbeddedMetadata
    manifest: Manifest

    @property
    def target(self) -> Target:
        """The file's target."""
        return find_target(self.manifest.target)

    @property
    def is_tflite(self) -> bool:
        """Whether it is a TFLite file."""
        return self.target.format is Format.TFLITE

    @property
    def inputs(self) -> list[tuple[TensorSpec, InputSpec]]:
        """Each input as the file declares it, with what it means, in the file's order."""
        known = {spec.name: spec for spec in self.manifest.model_signature.inputs}
        return [(spec, known[spec.name]) for spec in self.manifest.inputs]

    @property
    def outputs(self) -> list[tuple[TensorSpec, OutputSpec]]:
        """Each output, likewise."""
        known = {spec.name: spec for spec in self.manifest.model_signature.outputs}
        return [(spec, known[spec.name]) for spec in self.manifest.outputs]

    @property
    def main(self) -> OutputSpec:
        """The output that the model is about."""
        return find_task(self.manifest.task).main_output(self.manifest.model_signature)

    @cached_property
    def goldens(self) -> list[Golden]:
        """Golden samples with what the file returns for them in its usual runtime, here."""
        samples = draw_samples(self)
        found = run_samples(self.path, self.target.runtimes[0], samples)
        return [Golden(*sample, outputs) for sample, outputs in zip(samples, found, strict=True)]

    @cached_property
    def limit(self) -> float:
        """How far outputs may be off where other kernels run: mean |difference| by the spread.

        The target's own limit is for the worst network. Where a second set of kernels is here,
        this file's own difference between the two says more.
        """
        limit = self.target.tolerance.kernels
        if len(self.target.runtimes) < 2:
            return limit
        samples = [(golden.inputs, golden.pixels) for golden in self.goldens]
        others = run_samples(self.path, self.target.runtimes[1], samples)
        drift = max(
            float(np.mean([np.abs(golden.outputs[name] - other[name]).mean()
                           for golden, other in zip(self.goldens, others, strict=True)]))
            / spread_of(self, name)
            for name in others[0]
        )  # fmt: skip
        return min(limit, max(MARGIN * drift, LEAST))


def run_samples(path: Path, runtime: str, samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """float32 outputs by name, without the batch, for each of some samples in a runtime."""
    found = []
    with load_session(path, runtime) as session:
        for inputs, pixels in samples:
            entering = {name: values[None] for name, values in {**inputs, **pixels}.items()}
            found.append({name: values[0] for name, values in session.run(entering).items()})
    return found


def is_picture(spec: InputSpec) -> bool:
    """Whether a picture file can be handed over for an input."""
    return spec.preparation is not None and len(spec.shape) == 4 and spec.shape[-1] in READABLE


def draw_samples(subject: Subject) -> list[Sample]:
    """(inputs, pixels) of golden samples: half of the pictures have another size than the file's.

    Those are resized as every kit must do it, so a kit that resizes in another way shows.
    """
    reference = subject.metadata.reference
    drawn = reference.synthetic.inputs
    size = sum(values[0].nbytes for values in drawn.values())
    size += sum(values[0].nbytes for values in reference.synthetic.outputs.values())
    count = min(max(2, MOST_BYTES // max(1, 3 * size)), MOST, len(reference.synthetic))
    pictures = {spec.name: draw for _, spec in subject.inputs if is_picture(spec)
                for draw in [reference.draws[spec.name]]}  # fmt: skip
    found = []
    for number in range(count):
        inputs = {name: values[number] for name, values in drawn.items()}
        pixels = {name: inputs[name] for name in pictures}
        if number >= count // 2:
            for name, draw in pictures.items():
                inputs[name] = _draw_larger(draw, number)
                pixels[name] = resize_image(inputs[name], (draw.shape[0], draw.shape[1]))
        found.append((inputs, pixels))
    return found


def _draw_larger(draw: Draw, number: int) -> np.ndarray:
    """A picture of one and a half times the height and twice the width, or so."""
    rows, columns, channels = draw.shape
    larger = Draw((rows * 3 // 2 + 1, columns * 2 + 1, channels), draw.dtype, picture=True)
    return larger.draw(1, SEED + number)[0]


def describe(subject: Subject) -> dict[str, Any]:
    """What the code of a kit must know of its file, as JSON values.

    Raises:
        ConfigError: clips that enter a bare network, which no kit prepares.
    """
    manifest = subject.manifest
    return {
        "model": manifest.model,
        "file": subject.path.name,
        "sha256": digest_path(subject.path),
        "target": manifest.target,
        "task": manifest.task,
        "labels": list(manifest.class_names),
        "main": subject.main.name,
        "inputs": [_describe_input(subject, spec, meaning) for spec, meaning in subject.inputs],
        "outputs": [
            {
                "name": spec.name,
                "dtype": spec.dtype,
                "role": str(meaning.role),
                "activation": str(meaning.activation),
                "spread": spread_of(subject, spec.name),
            }
            for spec, meaning in subject.outputs
        ],
        "limit": subject.limit,
    }


def _describe_input(subject: Subject, spec: TensorSpec, meaning: InputSpec) -> dict[str, Any]:
    contract = meaning.preparation
    picture = is_picture(meaning)
    outside = contract is not None and not subject.manifest.preprocess_inside
    if outside and len(meaning.shape) != 4:
        raise ConfigError(
            f"{subject.path}: takes clips that its caller must scale, which no kit does. Export it "
            "without --no-preprocess."
        )
    return {
        "name": spec.name,
        "dtype": spec.dtype,
        "batch": spec.shape[0] if spec.shape else None,
        "picture": picture,
        "size": list(contract.input_size) if contract and picture else None,
        "channels": meaning.shape[-1] if contract and picture else None,
        "prepare": {
            "resize": list(contract.resized),
            "crop": list(contract.network_size),
            "scale": list(contract.scale),
            "offset": list(contract.offset),
        }
        if contract and outside
        else None,
    }


def spread_of(subject: Subject, name: str) -> float:
    """The standard deviation of an output on golden inputs, by which differences are measured."""
    values = subject.metadata.reference.synthetic.outputs[name].astype(np.float64)
    return float(values.std() or np.abs(values).max() or 1.0)


def describe_goldens(subject: Subject) -> list[dict[str, Any]]:
    """The golden samples as JSON values; arrays are {dtype, shape, base64}, little-endian."""
    return [
        {
            "inputs": {name: encode_array(values) for name, values in golden.inputs.items()},
            "pixels": {name: encode_array(values) for name, values in golden.pixels.items()},
            "outputs": {name: encode_array(values) for name, values in golden.outputs.items()},
        }
        for golden in subject.goldens
    ]
