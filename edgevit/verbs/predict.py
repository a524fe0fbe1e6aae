"""What an exported file says of pictures, or of arrays for every input of its model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import DataError
from edgevit.base.files import check_writable
from edgevit.core.manifest import CLASSIFICATION
from edgevit.core.samples import count_samples, take_samples
from edgevit.core.signature import Activation, OutputSpec, Role, Signature
from edgevit.data.calibration import Given
from edgevit.data.images import is_image_name, read_image
from edgevit.data.inputs import fit_inputs, list_arrays, read_array, read_arrays
from edgevit.formats.registry import choose_runtime, open_session
from edgevit.formats.session import Session, find_picture, image_size, read_signature
from edgevit.tasks import find_task
from edgevit.tasks.embedding import EMBEDDING
from edgevit.tasks.generic import GENERIC
from edgevit.tasks.segmentation import SEGMENTATION, Segmentation
from edgevit.tasks.task import Task
from edgevit.verbs.foreign import only_scores, scale_inputs
from edgevit.verification.parity import find_output


@dataclass(frozen=True)
class Prediction:
    """What a file says of one sample.

    Attributes:
        image: the picture's path, or the place of the sample in an array.
        result: what it means, as JSON values; see :meth:`edgevit.tasks.task.Task.describe`.
        text: the same in one line.
        outputs: float32 ... by name, without the batch.
        saved: the mask (.png) or embedding (.npy) that was written; None if nothing was.
    """

    image: str
    result: dict[str, Any]
    text: str
    outputs: dict[str, np.ndarray]
    saved: Path | None = None


def predict(
    file: str | Path,
    samples: Given | Sequence[str | Path],
    *,
    top: int = 3,
    runtime: str | None = None,
    out: str | Path | None = None,
    scaling: str | None = None,
) -> list[Prediction]:
    """Runs an exported file on pictures or arrays, in its own runtime.

    Args:
        file: an exported file or folder.
        samples: paths of pictures (of any size; resized to what the file takes) or of folders with
            pictures in them, at any depth; of .npy or of .npz files with arrays by input name; or
            the arrays themselves, B ... by input name.
        top: classes of a classifier.
        runtime: a key of RUNTIMES; None: the usual one.
        out: folder for masks and embeddings; None: nothing is written.
        scaling: for a file of another tool that takes scaled pixels: a key of
            :data:`edgevit.core.tensors.SCALINGS`.

    Returns:
        One for each sample.

    Raises:
        ModelFileError: no such file, or one that takes no picture where pictures are given.
        DataError: a picture or array cannot be read, or does not fit.
        ConfigError: no such runtime.
    """
    path = Path(file)
    kernels = choose_runtime(path, runtime).name if runtime else None
    if out is not None:
        check_writable(Path(out))
    with open_session(path, kernels) as session:
        signature = read_signature(session)
        manifest = session.manifest
        task = find_task(manifest.task if manifest else CLASSIFICATION)
        names = manifest.class_names if manifest else ()
        # All are read before any is run.
        given = [(name, scale_inputs(batch, scaling)) for name, batch in _read(samples, session)]
        found = []

        def own(seen: Signature) -> str:
            return task.main_output(seen).name

        for name, inputs in given:
            for number in range(count_samples(inputs)):
                outputs = _run_one(session, signature, take_samples(inputs, number, number + 1))
                seen = signature if manifest else _look_at(signature, outputs)
                result = task.describe(outputs, seen, names, top)
                rest = {key: value for key, value in outputs.items() if key != own(seen)}
                if rest and task.name != GENERIC.name:
                    result["others"] = GENERIC.describe(rest, seen, names, top)["outputs"]
                label = name if count_samples(inputs) == 1 else f"{name}[{number}]"
                saved = None if out is None else _save(task, outputs, seen, Path(out), label)
                text = task.in_words(result)
                found.append(Prediction(label, result, text, outputs, saved))
        return found


def _read(samples: Given | Sequence[str | Path], session: Session) -> list[tuple[str, Any]]:
    """(name, B ... by input name) of everything that was given."""
    signature = read_signature(session)
    if isinstance(samples, np.ndarray):
        samples = {signature.inputs[0].name: samples}
    if not isinstance(samples, (str, Path, Sequence)):
        return [("arrays", fit_inputs(samples, signature, "arrays"))]
    paths = [samples] if isinstance(samples, (str, Path)) else list(samples)
    found = []
    channels = signature.picture.shape[-1] if signature.picture else 3
    for path in (file for place in paths for file in _list_files(Path(place), channels)):
        if path.suffix == ".npz":
            arrays = read_arrays(path, list(list_arrays(path)))
            found.append((str(path), fit_inputs(arrays, signature, str(path))))
        elif path.suffix == ".npy" and signature.picture is None:
            arrays = {signature.inputs[0].name: read_array(path)}
            found.append((str(path), fit_inputs(arrays, signature, str(path))))
        else:
            spec = find_picture(session)
            picture = read_image(path, image_size(session), spec.shape[-1] or 3)
            found.append((str(path), {spec.name: picture[None]}))
    return found


def _list_files(path: Path, channels: int | None) -> list[Path]:
    """The path itself; of a folder the pictures of so many channels in it, by name.

    Raises:
        DataError: a folder without any.
    """
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if is_image_name(file.name, channels or 3))
    if not found:
        raise DataError(f"{path}: no picture in this folder. Give pictures, or a folder of them.")
    return found


def _run_one(session: Session, signature: Signature, inputs: Any) -> dict[str, np.ndarray]:
    found = {name: values[0] for name, values in session.run(inputs).items()}
    return {spec.name: find_output(found, spec.name, session.path) for spec in signature.outputs}


def _look_at(signature: Signature, outputs: dict[str, np.ndarray]) -> Signature:
    """Outputs of another tool's file: numbers that sum to one are probabilities already."""

    def seen(spec: OutputSpec) -> OutputSpec:
        values = outputs[spec.name]
        shares = values.ndim == 1 and values.size > 1 and values.min() >= 0
        if shares and abs(float(values.sum()) - 1) < 1e-2:
            return replace(spec, role=Role.PROBABILITIES, activation=Activation.SOFTMAX)
        return spec

    looked = Signature(signature.inputs, tuple(map(seen, signature.outputs)))
    shares = [spec.name for spec in looked.outputs if spec.role is Role.PROBABILITIES]
    return only_scores(looked, shares[0]) if len(shares) == 1 else looked


def _save(
    task: Task, outputs: dict[str, np.ndarray], signature: Signature, folder: Path, name: str
) -> Path | None:
    """Writes a mask as PNG (the class of each pixel as its level) or an embedding as .npy."""
    stem = Path(name).name.replace(".", "-")
    folder.mkdir(parents=True, exist_ok=True)
    if task.name == SEGMENTATION.name and isinstance(task, Segmentation):
        from PIL import Image

        place = folder / f"{stem}-mask.png"
        Image.fromarray(task.mask(outputs, signature)).save(place)
        return place
    if task.name == EMBEDDING.name:
        place = folder / f"{stem}-embedding.npy"
        np.save(place, outputs[task.main_output(signature).name])
        return place
    return None
