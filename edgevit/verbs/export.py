"""Export, audit, embed, verify, publish: the whole path as one readable function."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.base.files import check_writable, digest_path, move_whole, size_path, write_whole
from edgevit.base.versions import tool_versions
from edgevit.core.manifest import Artifact, Manifest, manifest_path
from edgevit.core.parity import ParityReport, Verdict, worst
from edgevit.core.reference import ReferenceSet
from edgevit.core.target import Format, Precision, Target, find_target, find_targets
from edgevit.formats.registry import kernel_sets, open_session
from edgevit.frontend.opening import Opening, open_source
from edgevit.verbs.requests import check_request
from edgevit.verification.audit import audit, inspect
from edgevit.verification.parity import SLOW_KERNELS_S, compare

if TYPE_CHECKING:
    import keras

    from edgevit.frontend.source import ExportOptions, Source
    from edgevit.quantization.ranges import RangeRecord
    from edgevit.quantization.recipe import Recipe
    from edgevit.verbs.search import SearchReport

Status = Callable[[str], None]
Progress = Callable[[int, int], None]
RECIPE_SUFFIX = ".recipe.toml"


@dataclass(frozen=True)
class Budget:
    """How much accuracy a tflite-mixed file may lose.

    Attributes:
        max_drop: percentage points.
        data: a dataset; its validation images are used, a fifth of the training images.
        images: size of the sample.

    Raises:
        ConfigError: a budget that makes no sense.
    """

    max_drop: float
    data: str | Path
    images: int = 1000

    def __post_init__(self) -> None:
        if not (math.isfinite(self.max_drop) and 0 <= self.max_drop <= 100):
            raise ConfigError(f"--max-drop is in points, 0 to 100. Received: {self.max_drop}")


@dataclass(frozen=True)
class Outcome:
    """One finished export.

    Attributes:
        target: what was asked for.
        artifact: the published file; None where it failed its verification and was not kept.
        reports: one for each kernel set of the runtime; the first is what devices run.
        seconds: wall time of lowering, auditing and verifying.
        search: how its precisions were found, for tflite-mixed with a budget.
    """

    target: Target
    artifact: Artifact | None
    reports: tuple[ParityReport, ...]
    seconds: float
    search: SearchReport | None = None

    @property
    def verdict(self) -> Verdict:
        """PASS only if every kernel set stays within the target's tolerance."""
        return worst([report.verdict(self.target.tolerance) for report in self.reports])


def export(
    model: str | Path | keras.Model,
    target: str,
    out: str | Path = "exports",
    *,
    calibration: str | Path | np.ndarray | None = None,
    ranges: str | Path | None = None,
    surgery: tuple[str, ...] | None = None,
    batch: int | None = 1,
    io_dtype: str | None = None,
    opset: int = 20,
    micro: bool = False,
    optimize: str | None = None,
    keep_failed: bool = False,
    budget: Budget | None = None,
    recipe: Recipe | None = None,
    status: Status | None = None,
    **opening: Unpack[Opening],
) -> Outcome:
    """Exports a model to one target and proves that it arrived.

    Args:
        model: an architecture's name (shipped weights), a .keras or .safetensors file, or a
            keras.Model with one image input.
        target: ``<format>-<precision>``, such as "tflite-int8".
        out: folder for the file; made if missing.
        calibration: images to calibrate an int8 file with: a dataset (see
            :func:`edgevit.data.datasets.load_dataset`) or uint8 B H W 3. None: the ranges that ship
            with the weights.
        ranges: a file of :func:`edgevit.verbs.calibrate.calibrate` instead of images.
        surgery: names of the steps that rewrite a TFLite graph before it is quantised; see
            :mod:`edgevit.formats.tflite.writer.passes`. None: those that are done by default.
        batch: images a run; None leaves it free.
        io_dtype: "uint8", "int8" or "float32"; None: uint8 for raw images.
        opset: of an ONNX file, 17 to 20.
        micro: write an integer-only TFLite file in operators that TensorFlow Lite Micro has.
        optimize: "cpu" for an onnx-float32 file with rewrites that pay on CPUs and make it larger.
        keep_failed: publish the file even if its verification fails.
        budget: for tflite-mixed: how much accuracy may be lost, and on which images that is
            measured. The recipe that is found is written beside the file.
        recipe: for tflite-mixed: its precisions, instead of a budget.
        status: called with a line about what is being done.
        **opening: weights, outputs, scaling and more: see
            :class:`edgevit.frontend.opening.Opening`.

    Returns:
        The outcome; its verdict is PASS only if the runtime agrees with the float model.

    Raises:
        EdgevitError: see :mod:`edgevit.base.errors`; nothing half-written is left behind.
    """
    outcomes = export_all(
        model,
        [find_target(target)],
        out,
        calibration=calibration,
        ranges=ranges,
        surgery=surgery,
        batch=batch,
        io_dtype=io_dtype,
        opset=opset,
        micro=micro,
        optimize=optimize,
        keep_failed=keep_failed,
        budget=budget,
        recipe=recipe,
        status=status,
        **opening,
    )
    return outcomes[0]


def export_all(
    model: str | Path | keras.Model,
    targets: list[Target] | str,
    out: str | Path = "exports",
    *,
    calibration: str | Path | np.ndarray | None = None,
    ranges: str | Path | None = None,
    surgery: tuple[str, ...] | None = None,
    batch: int | None = 1,
    io_dtype: str | None = None,
    opset: int = 20,
    micro: bool = False,
    optimize: str | None = None,
    keep_failed: bool = False,
    budget: Budget | None = None,
    recipe: Recipe | None = None,
    status: Status | None = None,
    progress: Progress | None = None,
    finished: Callable[[Outcome], None] | None = None,
    **opening: Unpack[Opening],
) -> list[Outcome]:
    """Exports a model to several targets; arguments as for :func:`export`.

    Args:
        targets: rows of TARGETS, or their names with commas between.
        progress: called with (calibration images done, images in all).
        finished: called with each outcome as soon as it is there.
    """
    from edgevit.formats.calibration import find_ranges
    from edgevit.frontend.record_reference import record_reference
    from edgevit.frontend.source import ExportOptions

    say = status or (lambda line: None)
    chosen = find_targets(targets) if isinstance(targets, str) else targets
    check_request(
        chosen,
        batch=batch,
        measured_twice=ranges is not None and calibration is not None,
        budget=budget is not None,
        recipe=recipe is not None,
        micro=micro,
        optimize=optimize,
        preprocess=bool(opening.get("preprocess", True)),
    )
    folder = Path(out)
    check_writable(folder)
    say("loading the model")
    source = open_source(model, **opening)
    inside = bool(opening.get("preprocess", True))
    options = ExportOptions(batch, inside, io_dtype, opset, surgery, recipe, micro, optimize)
    records: dict[Format, RangeRecord] = {}
    file = None if ranges is None else Path(ranges)
    for kind in dict.fromkeys(target.format for target in chosen if target.needs_calibration):
        records[kind] = find_ranges(source, options, calibration, say, progress, kind, file)
    say("recording the float model's logits on golden images")
    reference = record_reference(source)
    outcomes = []
    for target in chosen:
        found = records.get(target.format) if target.needs_calibration else None
        search = None
        if budget and found and target.precision is Precision.MIXED:
            search = _search(source, options, found, budget, say, progress)
            options = replace(options, recipe=search.recipe)
        outcome = _export_one(source, target, options, found, reference, folder, keep_failed, say)
        if search:
            outcome = replace(outcome, search=search)
            if outcome.artifact:
                path = recipe_path(outcome.artifact.path)
                write_whole(path, search.recipe.to_text().encode())
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
    from edgevit.formats.embed import embed, papers
    from edgevit.formats.exporters import EXPORTERS

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
            calibration=ranges.identity() if ranges else None,
            reference_sha256=reference.digest,
        )
        embed(staged, data, papers(manifest, reference))
        say(f"{target.name}: running it in {target.runtime}")
        reports = []
        for number, kernels in enumerate(kernel_sets(staged)):
            limit_s = SLOW_KERNELS_S if number else None
            with open_session(staged, kernels) as session:
                reports.append(compare(session, reference, limit_s=limit_s))
        outcome = Outcome(target, None, tuple(reports), time.perf_counter() - started)
        if outcome.verdict is not Verdict.PASS and not keep_failed:
            return outcome
        return replace(outcome, artifact=publish(staged, folder / name, manifest))


def recipe_path(path: Path) -> Path:
    """Where the recipe that a search found lies: beside the file, with its whole name."""
    return path.with_name(path.name + RECIPE_SUFFIX)


def _search(
    source: Source,
    options: ExportOptions,
    ranges: RangeRecord,
    budget: Budget,
    say: Status,
    progress: Progress | None,
) -> SearchReport:
    from edgevit.verbs.search import search_recipe

    return search_recipe(
        source, options, ranges, budget.data, budget.max_drop, budget.images, say, progress
    )


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
