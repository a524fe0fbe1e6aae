"""Checks an exported file against the reference inside it, and against real images."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from edgevit.base.errors import ConfigError, MissingDependencyError, ModelFileError
from edgevit.base.markup import show_table
from edgevit.base.processor import count_cores, describe_kernels
from edgevit.base.progress import Progress, Status, tells_progress
from edgevit.core.drift import find_drift, find_move
from edgevit.core.manifest import CLASSIFICATION, Manifest, find_change
from edgevit.core.parity import AccuracyReport, ParityReport, Verdict, allow_rounding, judge
from edgevit.core.runtime import Runtime
from edgevit.core.seal import find_damage
from edgevit.core.target import Target
from edgevit.core.tolerance import Tolerance
from edgevit.data.evaluation import load_test
from edgevit.formats.registry import (
    choose_runtime,
    find_target,
    open_session,
    read_metadata,
    verifying_runtimes,
)
from edgevit.frontend.opening import Opening, open_source
from edgevit.reports.tables import list_runs
from edgevit.tasks import find_task
from edgevit.verbs.foreign import as_exported, check_foreign, choose_runtimes
from edgevit.verification.audit import inspect
from edgevit.verification.matching import guess_tolerance
from edgevit.verification.parity import (
    check_file,
    find_output,
    measure_parity,
    run_outputs,
    score,
)
from edgevit.verification.saturation import find_saturation
from edgevit.verification.signing import find_distrust, read_public_key

if TYPE_CHECKING:
    from edgevit.formats.session import Session
    from edgevit.frontend.source import Source


@dataclass(frozen=True)
class Verification:
    """A file checked against its own reference.

    Attributes:
        path: the file.
        target: what it claims to be; None for a damaged file.
        reports: on the golden images, one for each runtime; none for a damaged file.
        real: on a dataset's images against the float model's, if asked for and if that model is
            at hand. It is judged as the reports are.
        accuracy: on a dataset, if asked for.
        damage: why the file is not what was exported; empty if it is.
        arena_bytes: working memory, where the runtime has an arena that it measures.
        not_run: runtimes that verify its target where they are installed, and are not.
        manifest: what the file says that it is; None for a damaged file, or another tool's.
        guessed: how far another tool's file may be, by what it holds; None for our own.
        matches: which input and output of another tool's file is which of the model's.
        task: what the model is for.
        own_runtimes: whether those ran it that its target asks for. Others round otherwise, so
            what they lose says nothing of a change.
        saturation: why it is further off on this processor than on others; empty if it is not.
        caveats: a line for each runtime whose kernels ended their process; others ran the file.
    """

    path: Path
    target: Target | None
    reports: tuple[ParityReport, ...]
    real: ParityReport | None = None
    accuracy: AccuracyReport | None = None
    damage: str = ""
    arena_bytes: int | None = None
    not_run: tuple[Runtime, ...] = ()
    manifest: Manifest | None = None
    guessed: Tolerance | None = None
    matches: tuple[str, ...] = ()
    task: str = ""
    own_runtimes: bool = True
    saturation: str = ""
    caveats: tuple[str, ...] = ()

    @property
    def tolerance(self) -> Tolerance | None:
        """How far the file may be; None for a damaged one."""
        return self.target.tolerance if self.target else self.guessed

    @property
    def drift(self) -> str:
        """Why the file is not what it was when it was written, by what it computes; or empty."""
        if self.manifest is None or self.saturation:
            return ""
        line = find_move(self.reports, self.manifest.traces, describe_kernels())
        if line or not self.own_runtimes:
            return line
        return find_drift(self.reports, self.manifest.errors)

    @property
    def verdict(self) -> Verdict:
        """FAIL for damage and drift; else the worst of all measurements, a dataset's too."""
        if self.damage or self.drift or self.tolerance is None:
            return Verdict.FAIL
        return judge(self.judged, self.tolerance)

    @property
    def judged(self) -> tuple[ParityReport, ...]:
        """Every comparison with the float model."""
        return self.reports if self.real is None else (*self.reports, self.real)

    def _repr_html_(self) -> str:
        title = f"{self.path.name}: {self.verdict}"
        if self.tolerance is None:
            return show_table(f"{title}. {self.damage}", [])
        return show_table(title, list_runs(self.judged, self.tolerance, self.real))


@tells_progress
def verify(
    path: str | Path,
    data: str | Path | None = None,
    against: str | Path | None = None,
    limit: int | None = None,
    status: Status | None = None,
    progress: Progress | None = None,
    runtime: str | None = None,
    thorough: bool = False,
    trust: str | Path | None = None,
    **opening: Unpack[Opening],
) -> Verification:
    """Runs a file in its runtime and holds it against the float model.

    A file that edgevit exported carries the float model's outputs on golden inputs. For a file of
    another tool the float model must be named; it is run on the same golden inputs. A TFLite file
    runs twice: with XNNPACK and with LiteRT's reference kernels.

    Args:
        path: an exported file or folder.
        data: a dataset whose test images are classified as well: accuracy, and agreement with the
            float Keras model where its weights are at hand.
        against: the float model. Its outputs take the place of those that travel in the file, so
            that whoever made the file has no say in them; another tool's file has none. None: for
            ``data``, the shipped weights, if the file came from them.
        limit: only so many test images, drawn by a fixed seed; None: all.
        status: called with a line about what is being done.
        progress: called with (images done, images in all).
        runtime: a key of RUNTIMES, which runs the file instead; None: those that its target asks
            for.
        thorough: whether slow kernels run all golden inputs too, instead of the first few.
        trust: a file of a public key; a file that its owner did not sign is damaged.
        **opening: of another tool's file, how ``against`` is read: see
            :class:`edgevit.frontend.opening.Opening`.

    Raises:
        UnknownNameError, ConfigError: no such runtime, one that does not read the file, or a float
            model that another tool's file was not made of.
        ModelFileError: no such file, damaged, or without a reference inside and no model named.
        RuntimeFailure: the runtime refuses it.
    """
    say = status or (lambda line: None)
    path = Path(path)
    first = choose_runtime(path, runtime)
    key = read_public_key(Path(trust)) if trust is not None else None
    damage = find_damage(path) or find_change(path) or (find_distrust(path, key) if key else "")
    if damage:  # a damaged file is not run: it may take the runtime's process down
        return Verification(path, None, (), damage=damage)
    metadata = read_metadata(path)
    if metadata.manifest is None and against is not None:
        return _verify_foreign(path, first, runtime is not None, against, say, thorough, opening)
    reference, manifest = metadata.reference, metadata.manifest
    assert manifest is not None  # a reference comes with one
    target = find_target(manifest.target)
    rows, missing = ([first], []) if runtime else verifying_runtimes(target)
    arenas: list[int] = []

    def look(session: Session) -> None:
        arenas.extend([session.arena_bytes] if hasattr(session, "arena_bytes") else [])

    float_source = None
    if against is not None:
        from edgevit.frontend.record_reference import record_again

        float_source = _float_source(manifest, against)
        assert float_source is not None  # one that is named is found, or refused
        say("recording the outputs of the float model that you named")
        reference = record_again(float_source, reference)
    telling = None if thorough else target.tolerance.telling
    check = check_file(path, rows, reference, say, look, telling=telling, lanes=count_cores())
    reports = allow_rounding(check.reports, manifest.roundings)
    result = Verification(
        path,
        target,
        reports,
        arena_bytes=arenas[-1] if arenas else None,
        not_run=tuple(missing),
        manifest=manifest,
        task=manifest.task,
        own_runtimes={row.name for row in rows}
        <= {*target.runtimes, *target.runtimes_if_installed},
        caveats=check.caveats,
    )
    if result.verdict is not Verdict.PASS:
        result = replace(result, saturation=find_saturation(path, reference, reports))
    if data is None:
        return result
    if manifest.task != CLASSIFICATION:
        raise ConfigError(
            f"{path}: --data classifies test images, and this file is for {manifest.task}. Its own "
            f"figures: edgevit evaluate {path.name} --data PATH"
        )
    say("reading the test images")
    size = manifest.preprocess.input_size if manifest.preprocess else None
    channels = manifest.preprocess.channels if manifest.preprocess else 3
    dataset = load_test(data, size, manifest.class_names, limit, channels=channels)
    signature = manifest.model_signature
    output = find_task(manifest.task).main_output(signature)
    with open_session(path, rows[0].name) as session:
        say(f"classifying {len(dataset)} test images with {session.runtime}")
        started = time.perf_counter()
        found = run_outputs(session.run, dataset.images, progress)
        seconds = time.perf_counter() - started
        logits = find_output(found, output.name, path)
        accuracy = score(logits, dataset.labels, session.runtime, dataset.source, seconds)
    float_source = float_source or _float_source(manifest, None)
    if float_source is None:
        return replace(result, accuracy=accuracy)
    from edgevit.frontend.record_reference import float_outputs

    say(f"classifying {len(dataset)} test images with float Keras")
    expected = run_outputs(partial(float_outputs, float_source), dataset.images, progress)
    known = {name: values for name, values in expected.items() if name in found}
    real = measure_parity(found, known, signature, accuracy.runtime)
    (real,) = allow_rounding([real], manifest.roundings)
    return replace(result, accuracy=accuracy, real=real)


def _verify_foreign(
    path: Path,
    first: Runtime,
    asked: bool,
    against: str | Path,
    say: Status,
    thorough: bool,
    opening: Opening,
) -> Verification:
    """A file of another tool, held against the float model that it was made of."""
    from edgevit.frontend.record_reference import record_reference, refine_source
    from edgevit.frontend.record_rounding import find_roundings

    contents = inspect(path)
    if contents.custom_ops:
        listed = ", ".join(contents.custom_ops)
        return Verification(
            path, None, (), damage=f"it needs {listed}, which no edge runtime has built in"
        )
    say("loading the float model")
    source = open_source(against, **opening)
    say("recording the float model's outputs on golden inputs")
    reference = record_reference(source)
    source = refine_source(source, reference, opening.get("task") is not None)
    rows = choose_runtimes(first, asked)
    guessed = guess_tolerance(contents)
    telling = None if thorough else guessed.telling
    found, lines = check_foreign(path, rows, source, reference, say, telling)
    reports = found.reports
    if guessed.exact is not None and judge(reports, guessed) is Verdict.FAIL:
        say("measuring what float32 rounding makes of this network")
        reports = allow_rounding(reports, find_roundings(source, reference, guessed))
    return Verification(
        path,
        None,
        reports,
        guessed=guessed,
        matches=(*lines, *(f"warning: {line}" for line in source.warnings)),
        task=source.task,
        caveats=found.caveats,
    )


def _float_source(manifest: Manifest, against: str | Path | None) -> Source | None:
    """The float model behind a file; None where it is not at hand.

    Raises:
        ConfigError: ``against`` was given and has other weights.
    """
    from edgevit.models import is_known

    if against is None and not is_known(manifest.model):
        return None
    try:
        source = open_source(against if against is not None else manifest.model)
    except (ModelFileError, MissingDependencyError):
        if against is not None:
            raise
        return None
    if against is not None:
        return as_exported(source, manifest, against)
    return source if source.weights_sha256 == manifest.weights_sha256 else None
