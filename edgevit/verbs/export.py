"""Lower, embed, audit, verify, publish: the whole path as one readable function."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

import numpy as np

from edgevit.base.bounds import WRITTEN_BYTES
from edgevit.base.errors import ConfigError, EdgevitError, ExportError
from edgevit.base.files import (
    check_place,
    check_writable,
    digest_path,
    move_whole,
    size_path,
    write_whole,
)
from edgevit.base.loading import load_attribute
from edgevit.base.memory import blocks_apart, give_back
from edgevit.base.naming import split_names
from edgevit.base.processor import count_cores, describe_kernels
from edgevit.base.progress import Progress, Status, tells_progress
from edgevit.base.store import Store, cache_folder
from edgevit.base.versions import tool_versions
from edgevit.base.workspace import open_workspace
from edgevit.core.drift import record_errors, record_traces
from edgevit.core.format import Format
from edgevit.core.layer_errors import FloatNetwork, LayerError
from edgevit.core.manifest import Artifact, Manifest, manifest_path
from edgevit.core.metadata import write_metadata
from edgevit.core.parity import ParityReport, Verdict, allow_rounding
from edgevit.core.reference import ReferenceSet
from edgevit.core.samples import Inputs
from edgevit.core.seal import seal
from edgevit.core.target import Precision, Target, Written
from edgevit.data.calibration import Given
from edgevit.formats.calibration import CALIBRATION_IMAGES, find_ranges
from edgevit.formats.onnx.options import OnnxChoices
from edgevit.formats.options import choose_options, list_options
from edgevit.formats.registry import (
    ALL,
    find_target,
    find_targets,
    require_writers,
    verifying_runtimes,
)
from edgevit.formats.tflite.options import TfliteChoices, TfliteOptions
from edgevit.frontend.opening import Opening, open_source
from edgevit.frontend.source import ExportChoices, ExportOptions, Source
from edgevit.quantization.ranges import RangeRecord
from edgevit.verbs.diff import find_suspects
from edgevit.verbs.outcome import Budget, Outcome
from edgevit.verification.audit import audit, inspect
from edgevit.verification.beside import Beside, Request
from edgevit.verification.parity import Check, check_file
from edgevit.verification.saturation import find_saturation
from edgevit.verification.signing import read_private_key, sign_file, signature_path

if TYPE_CHECKING:
    import keras

    from edgevit.quantization.search import SearchReport

Result = TypeVar("Result")

LABELLED = 200  # calibration samples on which the scaling of pixels is tried
FLOATS = (Precision.FLOAT32, Precision.FLOAT16)
HELD_OUT = 64  # calibration samples that files are judged on instead
RECIPE_SUFFIX = ".recipe.toml"
# What was an option once and wrote another file under the same name: the target that it is now.
REPLACED = {"micro": "tflite-int8-micro", "optimize": "onnx-float32-cpu"}


class ExportArguments(Opening, ExportChoices, TfliteChoices, OnnxChoices, total=False):
    """Keyword arguments of :func:`export`; what is left out is None, False or the default.

    Beside these: what :class:`Opening` says of the model, and the options of the formats, such as
    ``batch=4`` (:class:`edgevit.frontend.source.ExportOptions`), ``opset=17``
    (:class:`edgevit.formats.onnx.options.OnnxOptions`) or ``surgery=()``
    (:class:`edgevit.formats.tflite.options.TfliteOptions`).

    Attributes:
        calibration: samples to calibrate an int8 file with: a dataset (see
            :func:`edgevit.data.datasets.load_dataset`), an npz file, an array (uint8 B H W C of
            pictures), or a dict of arrays by the name of the input. A part of them is held out, and
            the file is judged on it. None: the ranges that ship with the weights.
        ranges: a file of :func:`edgevit.verbs.calibrate.calibrate` instead of images.
        budget: for tflite-mixed: how much of the task's figure may be lost, and on which samples
            that is measured. The recipe that is found is written beside the file.
        keep_failed: publish the file even if its verification fails.
        accept_loss: a lossy file is what was asked for.
        embed_samples: whether some of the held-out samples travel inside the file, so that
            whoever verifies it judges it on them too.
        cache: whether the float model's outputs are read from the user's cache where an earlier run
            left them, and kept there (docs/decisions/0019-outputs-are-kept.md). Left out: not.
        thorough: whether slow kernels run all golden inputs too, instead of the first few.
        sign: a file of a private ed25519 key, which signs each file (see
            :mod:`edgevit.verification.signing`). None: files stay unsigned.
        jobs: processes at once: with more than one, a file is verified in a process of its own
            while the next is written. Left out: one.
        status: called with a line about what is being done.
        progress: called with (calibration images done, images in all).
        finished: called with each outcome as soon as it is there.
    """

    calibration: Given | None
    ranges: str | Path | None
    budget: Budget | None
    keep_failed: bool
    accept_loss: bool
    embed_samples: bool
    cache: bool
    thorough: bool
    jobs: int
    sign: str | Path | None
    status: Status | None
    progress: Progress | None
    finished: Callable[[Outcome], None] | None


def plan_export(
    targets: Sequence[Target] | str, arguments: ExportArguments
) -> tuple[tuple[Target, ...], dict[Format, ExportOptions]]:
    """Plans what an export writes, and refuses before anything slow begins.

    Args:
        targets: see :func:`export_all`.
        arguments: likewise.

    Returns:
        The targets in their order, and the options of each format.

    Raises:
        UnknownNameError: no such target.
        ConfigError: arguments that do not go together, or that no target takes.
        TypeError: an argument that does not exist.
    """
    given: dict[str, Any] = dict(arguments)
    _check_names(given)
    chosen = {name: given[name] for name in list_options() if name in given}
    chosen["preprocess"] = bool(given.get("preprocess", True))
    rows = _choose_targets(targets, free_batch=chosen.get("batch", 1) is None)
    if given.get("calibration") is not None and given.get("ranges") is not None:
        raise ConfigError("--ranges and --calibration say the same twice. Give one of them.")
    if given.get("budget") is not None:
        _check_budget(rows, chosen)
    if given.get("sign") is not None:
        read_private_key(Path(given["sign"]))
    return rows, choose_options(rows, chosen)


def export(
    model: str | Path | keras.Model,
    target: str,
    out: str | Path = "exports",
    **arguments: Unpack[ExportArguments],
) -> Outcome:
    """Exports a model to one target and proves that it arrived.

    Args:
        model: an architecture's name (shipped weights), a file or folder that holds a model, or a
            keras.Model.
        target: name of a target, such as "tflite-int8".
        out: folder for the file; made if missing.
        **arguments: calibration, options, weights and more: see :class:`ExportArguments`.

    Returns:
        The outcome; its verdict is PASS only if the runtime agrees with the float model.

    Raises:
        EdgevitError: see :mod:`edgevit.base.errors`; nothing half-written is left behind.
    """
    return export_all(model, [find_target(target)], out, **arguments)[0]


@tells_progress
def export_all(
    model: str | Path | keras.Model,
    targets: Sequence[Target] | str,
    out: str | Path = "exports",
    **arguments: Unpack[ExportArguments],
) -> list[Outcome]:
    """Exports a model to several targets; see :func:`export`.

    A target that cannot be written stops no other: its outcome says why.

    Args:
        model: as there.
        targets: rows of TARGETS, or their names with commas between.
        out: as there.
        **arguments: as there.

    Raises:
        EdgevitError: what was asked for makes no sense, the model cannot be opened, or its only
            target cannot be written.
    """
    from edgevit.data.calibration import hold_out, open_calibration
    from edgevit.frontend.labels import use_labels
    from edgevit.frontend.record_layers import record_layers
    from edgevit.frontend.record_reference import record_reference, refine_source
    from edgevit.frontend.scaling import warn_of_scaling

    rows, options = plan_export(targets, arguments)
    require_writers(rows)
    folder, ranges = Path(out), arguments.get("ranges")
    check_writable(folder)
    say = arguments.get("status") or (lambda line: None)
    say("loading the model")
    given: dict[str, Any] = dict(arguments)
    opening: Any = {name: given[name] for name in Opening.__annotations__ if name in given}
    source = open_source(model, **opening)
    give_back(source.weights_bytes)
    for row in rows:
        check_place(folder / row.file_name(source.name), folder=not row.suffix)
    if len(rows) == 1:
        _check_weights(source, rows[0])
    sample = held = None
    calibration = arguments.get("calibration")
    if calibration is not None:
        say("reading calibration samples")
        sample = open_calibration(calibration, source.signature, CALIBRATION_IMAGES + HELD_OUT)
        sample, held = hold_out(sample, HELD_OUT)
    records: dict[Format, RangeRecord] = {}

    def ranges_of(kind: Format) -> RangeRecord:
        if kind not in records:
            file = None if ranges is None else Path(ranges)
            records[kind] = find_ranges(
                source, kind, options[kind], sample, file, say, arguments.get("progress")
            )
        return records[kind]

    say("recording the float model's outputs on golden inputs")
    labels = None
    if held is not None:
        source, labels = use_labels(source, held)
    store = Store(cache_folder() / "outputs") if arguments.get("cache") else None
    reference = record_reference(
        source, own=held.inputs if held else None, labels=labels, store=store
    )
    source = refine_source(source, reference, opening.get("task") is not None)
    if sample is not None and labels is not None:
        some = sample.select(np.arange(min(len(sample), LABELLED)))
        known = use_labels(source, some)[1]
        if known is not None:
            source = warn_of_scaling(source, some.images, known)
    recorded: list[FloatNetwork] = []

    def layers_of(inputs: Inputs) -> FloatNetwork:  # of the reference, the same for all targets
        if not recorded:
            recorded.append(record_layers(source, inputs, keep=len(rows) > 1))
        return recorded[0]

    call = _Call(source, reference, layers_of, folder, arguments)
    jobs = min(max(1, arguments.get("jobs") or 1), len(rows))
    outcomes: dict[Target, Outcome] = {}

    def finish(outcome: Outcome) -> None:
        outcomes[outcome.target] = replace(outcome, warnings=source.warnings)
        told = arguments.get("finished")
        if told:
            told(outcomes[outcome.target])

    def attempt(row: Target, work: Callable[[], Result]) -> Result | None:
        started = time.perf_counter()
        try:
            return work()
        except EdgevitError as error:
            if len(rows) == 1:
                raise
            seconds = time.perf_counter() - started
            finish(Outcome(row, None, (), seconds, refusal=str(error), task=source.task))
            return None

    with contextlib.ExitStack() as stack:
        place = stack.enter_context(open_workspace())
        waiting: deque[_Staged] = deque()

        def conclude() -> None:
            staged = waiting.popleft()
            outcome = attempt(staged.target, lambda: _conclude(call, staged))
            if outcome:
                finish(outcome)

        for row in rows:
            record = partial(ranges_of, row.format) if row.needs_calibration else lambda: None
            stage = partial(_stage, call, row, options[row.format], record, place / row.name)
            with blocks_apart(source.weights_bytes):
                staged = attempt(row, stage)
            if staged and jobs > 1 and not _is_here(row):
                check = stack.enter_context(Beside(_request(call, staged)))
                staged = replace(staged, check=check)
            waiting.extend([staged] if staged else [])
            while len(waiting) >= jobs:
                conclude()
        while waiting:
            conclude()
    return [outcomes[row] for row in rows]


@dataclass(frozen=True)
class _Call:
    """What the targets of one call share."""

    source: Source
    reference: ReferenceSet
    layers_of: Callable[[Inputs], FloatNetwork]
    folder: Path
    arguments: ExportArguments

    def say(self, line: str) -> None:
        """Tells what is being done."""
        status = self.arguments.get("status")
        if status:
            status(line)

    def telling(self, target: Target) -> int | None:
        """How many samples slow kernels run; None: all."""
        return None if self.arguments.get("thorough") else target.tolerance.telling


@dataclass(frozen=True)
class _Staged:
    """A file that is written and audited, and what its verification needs.

    Attributes:
        target: of the file.
        path: where it lies until it is published.
        written: what the writer returned.
        manifest: inside the file.
        embedded: the reference inside the file.
        search: how its precisions were found.
        seconds: wall time so far.
        check: its verification in a process of its own; None: it is verified here.
    """

    target: Target
    path: Path
    written: Written
    manifest: Manifest
    embedded: ReferenceSet
    search: SearchReport | None
    seconds: float
    check: Beside | None = None


def _stage(
    call: _Call,
    target: Target,
    options: ExportOptions,
    ranges_of: Callable[[], RangeRecord | None],
    place: Path,
) -> _Staged:
    """Writes the file of one target into a folder of its own, and audits it."""
    _check_weights(call.source, target)
    started = time.perf_counter()
    source, arguments, search = call.source, call.arguments, None
    budget, ranges = arguments.get("budget"), ranges_of()
    mixed = target.precision is Precision.MIXED
    if mixed and budget and ranges and isinstance(options, TfliteOptions):
        from edgevit.verbs.search import search_recipe

        limits = budget.data, budget.max_drop, budget.images
        progress = arguments.get("progress")
        search = search_recipe(source, options, ranges, *limits, call.say, progress)
        options = replace(options, recipe=search.recipe)
    place.mkdir()
    staged = place / target.file_name(source.name)
    embedded = call.reference.embed(arguments.get("embed_samples", True))
    call.say(f"{target.name}: lowering")
    written: Written = load_attribute(target.write)(source, options, ranges, staged)
    manifest = Manifest(
        model=source.name,
        target=target.name,
        class_names=source.class_names,
        preprocess=source.preprocess,
        preprocess_inside=options.preprocess,
        inputs=written.inputs,
        outputs=written.outputs,
        steps=written.steps,
        versions=tool_versions("keras", "tensorflow", "tf2onnx", "onnx", "numpy"),
        weights_sha256=source.weights_sha256,
        calibration=ranges.identity() if ranges else None,
        reference_sha256=embedded.digest,
        task=source.task,
        signature=source.signature,
        author=options.author,
        license=options.license,
    )
    _finish(written, manifest, embedded, staged)
    call.say(f"{target.name}: auditing")
    audit(inspect(staged), target, staged.name)
    seconds = time.perf_counter() - started
    return _Staged(target, staged, written, manifest, embedded, search, seconds)


def _check_weights(source: Source, target: Target) -> None:
    """Refuses a network that no file of the target's format can hold, before minutes are spent.

    Every target starts from a float32 graph in its own format.

    Raises:
        ExportError: its weights are too many.
    """
    if target.suffix and source.weights_bytes > WRITTEN_BYTES:
        raise ExportError(
            f"{source.name}: its weights take {source.weights_bytes / 1e9:.1f} GB in float32, and "
            f"{target.name} starts from a {target.suffix} file, which ends at "
            f"{WRITTEN_BYTES / 1e9:.1f} GB of them. Export to savedmodel, or a smaller network."
        )


def _is_here(target: Target) -> bool:
    """Whether a runtime of a target is the exporter's framework, slow to import once more."""
    return any(row.need.package == "tensorflow" for row in verifying_runtimes(target)[0])


def _request(call: _Call, staged: _Staged) -> Request:
    runtimes = tuple(row.name for row in verifying_runtimes(staged.target)[0])
    return Request(staged.path, runtimes, call.reference, call.telling(staged.target))


def _check(call: _Call, staged: _Staged) -> tuple[Check, float]:
    """(what the runtimes returned against the float model, seconds that this process waited not).

    A worker's own seconds count for a file that was verified beside the writing of others.
    """
    name = staged.target.name
    if staged.check:
        call.say(f"{name}: waiting for its runtimes")
        return staged.check.result()
    started = time.perf_counter()
    found = check_file(
        staged.path,
        verifying_runtimes(staged.target)[0],
        call.reference,
        lambda line: call.say(f"{name}: {line}"),
        telling=call.telling(staged.target),
        lanes=count_cores(),
    )
    return found, time.perf_counter() - started


def _conclude(call: _Call, staged: _Staged) -> Outcome:
    """Verifies a staged file and publishes it if it is right."""
    from edgevit.frontend.record_rounding import find_roundings

    target, source, arguments = staged.target, call.source, call.arguments
    found, checked = _check(call, staged)
    reports = found.reports
    started = time.perf_counter()
    suspects: tuple[LayerError, ...] = ()
    if target.precision not in FLOATS:  # their limits leave no room for a fault
        call.say(f"{target.name}: looking at its layers")
        suspects = find_suspects(
            staged.path, call.layers_of, target, call.reference, lambda line: None
        )
    outcome = Outcome(
        target,
        None,
        reports,
        0.0,
        tuple(verifying_runtimes(target)[1]),
        staged.search,
        source.task,
        source.signature,
        bool(arguments.get("accept_loss")),
        suspects,
        caveats=(*staged.written.caveats, *found.caveats),
    )
    if outcome.verdict is Verdict.FAIL and target.tolerance.exact is not None:
        call.say(f"{target.name}: measuring what float32 rounding makes of this network")
        roundings = find_roundings(source, call.reference, target.tolerance)
        outcome = replace(outcome, reports=allow_rounding(reports, roundings))
        manifest = replace(staged.manifest, roundings=roundings)
        _finish(staged.written, manifest, staged.embedded, staged.path)
    elif outcome.verdict is not Verdict.PASS:
        line = find_saturation(staged.path, call.reference, reports)
        outcome = replace(
            outcome, saturation=line, caveats=found.caveats if line else outcome.caveats
        )
    manifest = staged.manifest
    if target.tolerance.exact is None:
        traces = record_traces(reports, describe_kernels())
        manifest = replace(manifest, errors=record_errors(reports), traces=traces)
        _finish(staged.written, manifest, staged.embedded, staged.path)
    artifact = None
    if outcome.verdict in (Verdict.PASS, Verdict.LOSSY) or arguments.get("keep_failed"):
        call.say(f"{target.name}: writing")
        artifact = publish(staged.path, call.folder / staged.path.name, manifest, reports)
        key = arguments.get("sign")
        if key is not None:
            sign_file(artifact.path, read_private_key(Path(key)))
        if staged.search:
            write_whole(recipe_path(artifact.path), staged.search.recipe.to_text().encode())
    shutil.rmtree(staged.path.parent, ignore_errors=True)
    seconds = staged.seconds + checked + time.perf_counter() - started
    return replace(outcome, artifact=artifact, seconds=seconds)


def _finish(written: Written, manifest: Manifest, embedded: ReferenceSet, staged: Path) -> None:
    """Writes the file with its metadata, sealed."""
    written.finish(write_metadata(manifest, embedded))
    seal(staged)


def publish(
    staged: Path, path: Path, manifest: Manifest, reports: Sequence[ParityReport] = ()
) -> Artifact:
    """Moves a finished file or folder to its place, whole, and writes its manifest beside it.

    What the verification measured goes into that too, for ``edgevit report``.
    """
    artifact = Artifact(path, digest_path(staged), size_path(staged), manifest)
    for beside in (manifest_path(path), signature_path(path)):
        beside.unlink(missing_ok=True)  # never that of another file beside it
    if staged.is_dir():
        move_whole(staged, path)
    else:
        write_whole(path, staged.read_bytes())
    artifact.write_manifest([report.to_document() for report in reports])
    return artifact


def recipe_path(path: Path) -> Path:
    """Where the recipe that a search found lies: beside the file, with its whole name."""
    return path.with_name(path.name + RECIPE_SUFFIX)


def _check_names(given: dict[str, Any]) -> None:
    for name in given:
        if name in REPLACED:
            raise ConfigError(describe_replaced(name))
        if name not in ExportArguments.__annotations__:
            raise TypeError(f"export() got an unexpected keyword argument {name!r}")


def describe_replaced(name: str) -> str:
    """What to ask for instead of an option that is a target now."""
    target = REPLACED[name]
    return f"{name} is no option any more but a target: ask for {target} (--format {target})."


def _choose_targets(targets: Sequence[Target] | str, free_batch: bool) -> tuple[Target, ...]:
    """The rows; "all" leaves out those that a free batch rules out."""
    rows = find_targets(targets) if isinstance(targets, str) else targets
    fixed = {row.name for row in rows if row.fixed_batch and free_batch}
    named = fixed
    if isinstance(targets, str) and ALL in (names := split_names(targets)):
        named = fixed & set(names)
    if named:
        raise ConfigError(
            f"{', '.join(sorted(named))}: its runtime cannot resize an input, so its files need a "
            "fixed batch. Drop --batch dynamic."
        )
    return tuple(row for row in rows if row.name not in fixed)


def _check_budget(targets: Sequence[Target], chosen: dict[str, Any]) -> None:
    if not any(target.precision is Precision.MIXED for target in targets):
        raise ConfigError("--max-drop is for tflite-mixed, which is not asked for.")
    if not chosen["preprocess"]:
        raise ConfigError("--max-drop runs raw images: drop --no-preprocess.")
    if chosen.get("recipe") is not None:
        raise ConfigError("a budget looks for a recipe: give one of them, not both.")
