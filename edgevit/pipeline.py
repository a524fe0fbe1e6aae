"""Export, audit, embed, verify, publish: the whole path as one readable function."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgevit.core.artifact import (
    MANIFEST_KEY,
    REFERENCE_KEY,
    Artifact,
    Manifest,
    manifest_path,
    read_manifest_file,
)
from edgevit.core.errors import ConfigError, MissingDependencyError, ModelFileError
from edgevit.core.files import check_writable, digest_path, move_whole, size_path, write_whole
from edgevit.core.reference import ReferenceSet
from edgevit.core.results import AccuracyReport, ParityReport, Verdict, worst
from edgevit.core.seal import find_damage
from edgevit.core.targets import Target, find_target, find_targets
from edgevit.core.tensors import Preprocess
from edgevit.core.versions import tool_versions
from edgevit.runtimes import kernel_sets, open_session
from edgevit.runtimes.session import image_size
from edgevit.verify.audit import audit, inspect
from edgevit.verify.compare import (
    compare,
    find_output,
    measure_accuracy,
    measure_parity,
    run_all,
    score,
)

if TYPE_CHECKING:
    import keras

    from edgevit.data.datasets import ImageDataset
    from edgevit.export.quantize.ranges import RangeRecord
    from edgevit.export.source import ExportOptions, Source
    from edgevit.runtimes.session import Session

Status = Callable[[str], None]
Progress = Callable[[int, int], None]
CALIBRATION_IMAGES = 300


@dataclass(frozen=True)
class Outcome:
    """One finished export.

    Attributes:
        target: what was asked for.
        artifact: the published file; None where it failed its verification and was not kept.
        reports: one for each kernel set of the runtime; the first is what devices run.
        seconds: wall time of lowering, auditing and verifying.
    """

    target: Target
    artifact: Artifact | None
    reports: tuple[ParityReport, ...]
    seconds: float

    @property
    def verdict(self) -> Verdict:
        """PASS only if every kernel set stays within the target's tolerance."""
        return worst([report.verdict(self.target.tolerance) for report in self.reports])


@dataclass(frozen=True)
class Verification:
    """A file checked against its own papers.

    Attributes:
        path: the file.
        target: what it claims to be; None for a damaged file.
        reports: on the golden images, one for each kernel set; none for a damaged file.
        real: on a dataset's images against the float model's, if asked for.
        accuracy: on a dataset, if asked for.
        damage: why the file is not what was exported; empty if it is.
    """

    path: Path
    target: Target | None
    reports: tuple[ParityReport, ...]
    real: ParityReport | None = None
    accuracy: AccuracyReport | None = None
    damage: str = ""

    @property
    def verdict(self) -> Verdict:
        """FAIL for damage; else the worst of the reports."""
        if self.damage or self.target is None:
            return Verdict.FAIL
        return worst([report.verdict(self.target.tolerance) for report in self.reports])


def export(
    model: str | Path | keras.Model,
    target: str,
    out: str | Path = "exports",
    *,
    weights: str | Path | None = None,
    calibration: str | Path | np.ndarray | None = None,
    preprocess: bool | Preprocess = True,
    batch: int | None = 1,
    io_dtype: str | None = None,
    class_names: tuple[str, ...] = (),
    trust_code: bool = False,
    keep_failed: bool = False,
    status: Status | None = None,
) -> Outcome:
    """Exports a model to one target and proves that it arrived.

    Args:
        model: an architecture's name (shipped weights), a .keras or .safetensors file, or a
            keras.Model with one image input.
        target: ``<format>-<precision>``, such as "tflite-int8".
        out: folder for the file; made if missing.
        weights: weights to use instead of the shipped ones (file, or a training run's folder).
        calibration: images to calibrate an int8 file with: a dataset (see
            :func:`edgevit.data.datasets.load_dataset`) or uint8 B H W 3. None: the ranges that ship
            with the weights.
        preprocess: whether the file takes raw images (uint8, 0..255); or the contract to put
            inside for a model that is not ours.
        batch: images a run; None leaves it free.
        io_dtype: "uint8", "int8" or "float32"; None: uint8 for raw images.
        class_names: of the logits, for a model that is not ours.
        trust_code: whether a .keras file may run Python code that it contains.
        keep_failed: publish the file even if its verification fails.
        status: called with a line about what is being done.

    Returns:
        The outcome; its verdict is PASS only if the runtime agrees with the float model.

    Raises:
        EdgevitError: see :mod:`edgevit.core.errors`; nothing half-written is left behind.
    """
    outcomes = export_all(
        model,
        [find_target(target)],
        out,
        weights=weights,
        calibration=calibration,
        preprocess=preprocess,
        batch=batch,
        io_dtype=io_dtype,
        class_names=class_names,
        trust_code=trust_code,
        keep_failed=keep_failed,
        status=status,
    )
    return outcomes[0]


def export_all(
    model: str | Path | keras.Model,
    targets: list[Target] | str,
    out: str | Path = "exports",
    *,
    weights: str | Path | None = None,
    calibration: str | Path | np.ndarray | None = None,
    preprocess: bool | Preprocess = True,
    batch: int | None = 1,
    io_dtype: str | None = None,
    class_names: tuple[str, ...] = (),
    trust_code: bool = False,
    keep_failed: bool = False,
    status: Status | None = None,
    progress: Progress | None = None,
    finished: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Exports a model to several targets; arguments as for :func:`export`.

    Args:
        targets: rows of TARGETS, or their names with commas between.
        progress: called with (calibration images done, images in all).
        finished: called with each outcome as soon as it is there.
    """
    from edgevit.export.record_reference import record_reference
    from edgevit.export.source import ExportOptions

    say = status or (lambda line: None)
    chosen = find_targets(targets) if isinstance(targets, str) else targets
    if batch is not None and batch < 1:
        raise ConfigError(f"the batch must be at least 1, or dynamic. Received: {batch}")
    folder = Path(out)
    check_writable(folder)
    say("loading the model")
    source = open_source(model, weights, preprocess, class_names, trust_code)
    options = ExportOptions(batch, bool(preprocess), io_dtype)
    ranges = None
    if any(target.needs_calibration for target in chosen):
        ranges = find_ranges(source, options, calibration, say, progress)
    say("recording the float model's logits on golden images")
    reference = record_reference(source)
    outcomes = []
    for target in chosen:
        outcome = _export_one(source, target, options, ranges, reference, folder, keep_failed, say)
        outcomes.append(outcome)
        if finished:
            finished(outcome)
    return outcomes


def _export_one(
    source: Source,
    target: Target,
    options: ExportOptions,
    ranges: RangeRecord | None,
    reference: ReferenceSet,
    folder: Path,
    keep_failed: bool,
    say: Status,
) -> Outcome:
    from edgevit.export.embed import embed, papers
    from edgevit.export.run import EXPORTERS

    started = time.perf_counter()
    name = target.file_name(source.name)
    with tempfile.TemporaryDirectory(prefix="edgevit-") as place:
        staged = Path(place) / name
        say(f"{target.name}: lowering")
        data, steps = EXPORTERS[target.format](source, target, options, ranges, staged)
        if data is not None:
            staged.write_bytes(data)
        say(f"{target.name}: auditing")
        inspection = inspect(staged)
        audit(inspection, target, name)
        manifest = Manifest(
            model=source.name,
            target=target.name,
            class_names=source.class_names,
            preprocess=source.preprocess,
            preprocess_inside=options.preprocess,
            inputs=inspection.inputs,
            outputs=inspection.outputs,
            steps=steps,
            versions=tool_versions("keras", "tensorflow", "tf2onnx", "onnx", "numpy"),
            weights_sha256=source.weights_sha256,
            calibration=ranges.identity() if ranges and target.needs_calibration else None,
            reference_sha256=reference.digest,
        )
        embed(staged, data, papers(manifest, reference))
        say(f"{target.name}: running it in {target.runtime}")
        reports = []
        for kernels in kernel_sets(staged):
            with open_session(staged, kernels) as session:
                reports.append(compare(session, reference))
        outcome = Outcome(target, None, tuple(reports), time.perf_counter() - started)
        if outcome.verdict is not Verdict.PASS and not keep_failed:
            return outcome
        return replace(outcome, artifact=publish(staged, folder / name, manifest))


def publish(staged: Path, path: Path, manifest: Manifest) -> Artifact:
    """Moves a finished file or folder to its place, whole, and writes its papers beside it."""
    artifact = Artifact(path, digest_path(staged), size_path(staged), manifest)
    manifest_path(path).unlink(missing_ok=True)  # never the papers of another file beside it
    if staged.is_dir():
        move_whole(staged, path)
    else:
        write_whole(path, staged.read_bytes())
    artifact.write_manifest()
    return artifact


def open_source(
    model: str | Path | keras.Model,
    weights: str | Path | None = None,
    preprocess: bool | Preprocess = True,
    class_names: tuple[str, ...] = (),
    trust_code: bool = False,
) -> Source:
    """The bare float network of whatever the user named; arguments as for :func:`export`."""
    from edgevit.export.open_source import bare_source
    from edgevit.models.weights import describe_network, load_model

    if isinstance(model, (str, Path)):
        chosen = Path(weights) if weights is not None else None
        trained = load_model(str(model), chosen, trust_code)
        name = trained.plan.spec.name if trained.plan else Path(model).stem
    else:
        name = model.name
        trained = describe_network(model, name, name)
    contract = preprocess if isinstance(preprocess, Preprocess) else None
    return bare_source(trained, name, contract, class_names)


def find_ranges(
    source: Source,
    options: ExportOptions,
    calibration: str | Path | np.ndarray | None,
    say: Status,
    progress: Progress | None = None,
) -> RangeRecord:
    """Activation ranges: measured on the given images, else those that ship with the weights.

    Raises:
        ConfigError: neither is there.
    """
    from edgevit.data.calibration import CalibrationSample, sample_source
    from edgevit.export.tflite import calibrate, describe_graph

    if calibration is not None:
        size = source.preprocess.input_size
        if isinstance(calibration, np.ndarray):
            sample = CalibrationSample.of_array(calibration, size)
        else:
            say("reading calibration images")
            sample = sample_source(calibration, size, CALIBRATION_IMAGES)
        say(f"calibrating on {len(sample.images)} images")
        return calibrate(source, options, sample.images, sample.source, sample.digest, progress)
    ranges = source.ranges
    if ranges is None:
        raise ConfigError(
            f"{source.name}: no activation ranges ship with these weights. Give --calibration PATH "
            "with a few hundred training images (class folders, tar, npz)."
        )
    if ranges.weights_sha256 != source.weights_sha256:
        raise ConfigError(
            f"{source.name}: the shipped activation ranges belong to other weights. Give "
            "--calibration PATH to measure them anew."
        )
    if ranges.graph != describe_graph(source, options):
        raise ConfigError(
            f"{source.name}: the shipped activation ranges are for {ranges.graph!r}, not for "
            f"{describe_graph(source, options)!r}. Give --calibration PATH to measure them anew."
        )
    return ranges


def verify(
    path: str | Path,
    data: str | Path | None = None,
    against: str | Path | None = None,
    limit: int | None = None,
    status: Status | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Runs an exported file in its runtime and holds it against the float logits inside it.

    A TFLite file runs twice: with XNNPACK and with LiteRT's reference kernels.

    Args:
        path: a file or folder that edgevit exported.
        data: a dataset whose test images are classified as well: accuracy, and agreement with the
            float Keras model where its weights are at hand.
        against: the float model for that; None: the shipped weights, if the file came from them.
        limit: only so many test images, drawn by a fixed seed; None: all.
        status: called with a line about what is being done.
        progress: called with (images done, images in all).

    Raises:
        ModelFileError: no such file, damaged, or no papers inside.
        RuntimeFailure: the runtime refuses it.
    """
    say = status or (lambda line: None)
    path = Path(path)
    sets = kernel_sets(path)
    damage = find_damage(path) or _compare_digest(path)
    if damage:  # a damaged file is not run: it may take the runtime's process down
        return Verification(path, None, (), damage=damage)
    reports: list[ParityReport] = []
    for number, kernels in enumerate(sets):
        say(f"running {path.name} with {kernels} kernels")
        with open_session(path, kernels) as session:
            if number == 0:  # the papers of one file are the same for all; drawing takes a second
                manifest, reference = read_papers(session.metadata, path)
            reports.append(compare(session, reference))
    result = Verification(path, find_target(manifest.target), tuple(reports))
    if data is None:
        return result
    say("reading the test images")
    dataset = _load_test(data, manifest.preprocess, manifest.class_names, limit)
    with open_session(path) as session:
        say(f"classifying {len(dataset)} test images with {session.runtime}")
        started = time.perf_counter()
        logits = run_all(_logits_of(session), dataset.images, progress)
        seconds = time.perf_counter() - started
        accuracy = score(logits, dataset.labels, session.runtime, dataset.source, seconds)
    float_source = _float_source(manifest, against)
    if float_source is None:
        return replace(result, accuracy=accuracy)
    from edgevit.export.record_reference import float_logits

    say(f"classifying {len(dataset)} test images with float Keras")
    expected = run_all(lambda images: float_logits(float_source, images), dataset.images, progress)
    real = measure_parity(logits, expected, accuracy.runtime)
    return replace(result, accuracy=accuracy, real=real)


def _float_source(manifest: Manifest, against: str | Path | None) -> Source | None:
    """The float model behind a file; None where it is not at hand.

    Raises:
        ConfigError: ``against`` was given and has other weights.
    """
    from edgevit.models import MODELS

    if against is None and manifest.model not in MODELS:
        return None
    try:
        source = open_source(against if against is not None else manifest.model)
    except (ModelFileError, MissingDependencyError):
        if against is not None:
            raise
        return None
    if source.weights_sha256 == manifest.weights_sha256:
        return source
    if against is not None:
        raise ConfigError(f"{against}: these are not the weights that the file was exported from.")
    return None


def _logits_of(session: Session) -> Callable[[np.ndarray], np.ndarray]:
    return lambda images: find_output(session.run(images), "logits", session)


def read_papers(metadata: dict[str, str], path: Path) -> tuple[Manifest, ReferenceSet]:
    """Manifest and golden images out of a file's own metadata.

    Raises:
        ModelFileError: they are not there, or damaged.
    """
    try:
        manifest = json.loads(metadata[MANIFEST_KEY])
        reference = json.loads(metadata[REFERENCE_KEY])
    except KeyError:
        raise ModelFileError(
            f"{path}: carries no reference logits, so there is nothing to hold it against. Files "
            "that 'edgevit export' writes do; others: 'edgevit evaluate FILE --data PATH'."
        ) from None
    except ValueError as error:
        raise ModelFileError(f"{path}: its embedded papers are damaged ({error}).") from None
    checked = Manifest.from_document(manifest, path.name)
    found = ReferenceSet.from_document(reference, path.name)
    if found.digest != checked.reference_sha256:
        raise ModelFileError(f"{path}: its reference logits are not those that were recorded.")
    return checked, found


def evaluate(
    model: str | Path,
    data: str | Path,
    limit: int | None = None,
    kernels: str | None = None,
    weights: str | Path | None = None,
    trust_code: bool = False,
    status: Status | None = None,
    progress: Progress | None = None,
) -> AccuracyReport:
    """Top-1 and top-5 over a dataset's test images.

    Args:
        model: an exported file, an architecture's name, or a .keras or .safetensors file.
        data: a dataset; see :func:`edgevit.data.datasets.load_dataset`.
        limit: only so many images, drawn by a fixed seed; None: all.
        kernels: a kernel set, for an exported file.
        weights: instead of the shipped ones, for an architecture's name.
        trust_code: whether a .keras file may run Python code that it contains.
        status: called with a line about what is being done.
        progress: called with (images done, images in all).
    """
    say = status or (lambda line: None)
    path = Path(model)
    exported = path.suffix in (".tflite", ".onnx") or (path / "saved_model.pb").exists()
    if exported:
        with open_session(path, kernels) as session:
            contract = Preprocess(input_size=image_size(session))
            class_names: tuple[str, ...] = ()
            if MANIFEST_KEY in session.metadata:
                document = json.loads(session.metadata[MANIFEST_KEY])
                manifest = Manifest.from_document(document, path.name)
                contract, class_names = manifest.preprocess or contract, manifest.class_names
            say("reading the test images")
            dataset = _load_test(data, contract, class_names, limit)
            return measure_accuracy(
                _logits_of(session),
                dataset.images,
                dataset.labels,
                session.runtime,
                dataset.source,
                progress,
            )
    from edgevit.export.record_reference import float_logits

    say("loading the model")
    source = open_source(model, weights, trust_code=trust_code)
    say("reading the test images")
    dataset = _load_test(data, source.preprocess, source.class_names, limit)
    return measure_accuracy(
        lambda images: float_logits(source, images),
        dataset.images,
        dataset.labels,
        "keras",
        dataset.source,
        progress,
    )


def _load_test(
    data: str | Path,
    contract: Preprocess | None,
    class_names: tuple[str, ...],
    limit: int | None = None,
) -> ImageDataset:
    from edgevit.data.datasets import load_dataset

    size = contract.input_size if contract else None
    dataset = load_dataset(data, "test", size)
    places = {name: number for number, name in enumerate(class_names)}
    if all(name in places for name in dataset.class_names):
        # By name: the dataset may hold some of the model's classes only, or in another order.
        labels = np.array([places[name] for name in dataset.class_names])[dataset.labels]
        dataset = replace(dataset, labels=labels, class_names=class_names)
    if limit is not None and limit < len(dataset):
        chosen = np.random.default_rng(0).permutation(len(dataset))[:limit]
        dataset = dataset.select(np.sort(chosen))
    return dataset


def _compare_digest(path: Path) -> str:
    """Why the file is not the one its manifest was written for; empty if it is, or has none."""
    document = read_manifest_file(path)
    if document is None:
        return ""
    actual = digest_path(path)
    if document.get("sha256") == actual:
        return ""
    return (
        f"its sha256 is {actual[:12]}..., where the manifest beside it says "
        f"{str(document.get('sha256'))[:12]}...: it changed after it was exported"
    )


__all__ = [
    "Outcome",
    "Verification",
    "evaluate",
    "export",
    "export_all",
    "verify",
]
