"""Calibration: training images in, one file of activation ranges out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.base.files import check_place
from edgevit.base.packages import require
from edgevit.base.progress import Progress, Status, tells_progress
from edgevit.core.format import Format
from edgevit.data.calibration import CalibrationSample, leave_out, open_calibration, open_unseen
from edgevit.formats.calibration import CALIBRATION_IMAGES
from edgevit.formats.registry import FORMATS
from edgevit.frontend.opening import Opening, open_source
from edgevit.sweeps.shards import Workers, run_shards, whole_name

if TYPE_CHECKING:
    import keras

    from edgevit.quantization.observer import Observer
    from edgevit.quantization.ranges import RangeRecord

CALIBRATED = tuple(kind for kind, spec in FORMATS.items() if spec.observe)


@dataclass(frozen=True)
class Calibration:
    """One finished calibration.

    Attributes:
        path: the file of ranges.
        records: by format; all of the same images.
        seed: of the draw.
        test_images: how many test images the sample was compared with; None where there are none.
        left_out: images of the draw that were test images too, and were not used.
        seconds: wall time of reading and measuring.
    """

    path: Path
    records: dict[Format, RangeRecord]
    seed: int
    test_images: int | None
    left_out: int
    seconds: float


@dataclass(frozen=True)
class Observing:
    """What another process observes.

    Attributes:
        model, opening: see :func:`calibrate`.
        kind: whose graph is run.
        chosen: options of it by name.
    """

    model: str
    opening: dict[str, Any]
    kind: Format
    chosen: dict[str, Any]


@contextmanager
def open_observing(wanted: Observing) -> Iterator[Callable[[dict[str, np.ndarray]], Observer]]:
    """A function that observes samples, in another process."""
    from edgevit.formats.calibration import observe
    from edgevit.formats.options import build_options
    from edgevit.quantization.observer import Observer

    opening: Any = wanted.opening
    source = open_source(wanted.model, **opening)

    def run(inputs: dict[str, np.ndarray]) -> Observer:
        observer = Observer(histograms=True)
        observe(wanted.kind, source, build_options(wanted.kind, wanted.chosen), inputs, observer)
        return observer

    yield run


def _observe_elsewhere(
    seen: Observing, sample: CalibrationSample, workers: Workers, progress: Progress | None
) -> list[Observer]:
    """What others see of all samples but the first, which stays to be seen here.

    Extremes, counts and sums do not depend on the order of samples, nor on who adds them up.
    """
    rest = {name: values[1:] for name, values in sample.inputs.items()}
    files = [Path(seen.model)] if Path(seen.model).exists() else []
    place = f"{__name__}:{open_observing.__name__}"
    return run_shards(place, seen, rest, workers, files, progress, shard=None)


@tells_progress
def calibrate(
    model: str | Path | keras.Model,
    data: str | Path,
    out: str | Path | None = None,
    *,
    images: int = CALIBRATION_IMAGES,
    method: str = "minmax",
    seed: int = 0,
    formats: tuple[Format, ...] = CALIBRATED,
    surgery: tuple[str, ...] | None = None,
    status: Status | None = None,
    progress: Progress | None = None,
    workers: Workers | None = None,
    **opening: Unpack[Opening],
) -> Calibration:
    """Measures activation ranges on training images and writes them as one file.

    Args:
        model: as for :func:`edgevit.verbs.export.export`.
        data: a dataset, of which training images are drawn, or a folder of pictures.
        out: the file; None: ``<model>-ranges.json`` in the current folder.
        images: how many, the same number of each class.
        method: how ranges are chosen: minmax, percentile, mse or entropy.
        seed: of the draw.
        formats: whose graphs are measured.
        surgery: passes before quantising; None: those that run by default.
        status: called with a line about what is being done.
        progress: called with (images done, images in all).
        workers: processes that share the images; None: this one.
        **opening: see :class:`edgevit.frontend.opening.Opening`.

    Raises:
        EdgevitError: see :mod:`edgevit.base.errors`; no file is left behind.
    """
    from edgevit.formats.calibration import calibrate as measure
    from edgevit.formats.calibration import write_records
    from edgevit.formats.options import build_options
    from edgevit.quantization.clipping import find_method

    say = status or (lambda line: None)
    find_method(method)
    if images < 1:
        raise ConfigError(f"calibration needs at least one image. Received: images={images}")
    if out is not None:
        check_place(Path(out))
    started = time.perf_counter()
    require("Calibration", [need for kind in formats for need in FORMATS[kind].writer_needs])
    say("loading the model")
    source = open_source(model, **opening)
    path = Path(out) if out is not None else Path(f"{source.name}-ranges.json")
    check_place(path)
    say("reading training samples")
    sample = open_calibration(data, source.signature, images, seed)
    left_out = 0
    say("comparing them with the test images")
    unseen = open_unseen(data, source.signature)
    if unseen is not None:
        sample, left_out = leave_out(sample, unseen)
    chosen = {"preprocess": bool(opening.get("preprocess", True)), "surgery": surgery}
    records = {}
    for kind in formats:
        say(f"calibrating {kind} on {len(sample)} samples")
        others: list[Observer] = []
        if workers is not None and len(sample) > 1:
            seen = Observing(whole_name(model), dict(opening), kind, chosen)
            others = _observe_elsewhere(seen, sample, workers, progress)
        records[kind] = measure(
            kind,
            source,
            build_options(kind, chosen),
            sample,
            method,
            histograms=True,
            progress=progress,
            others=others,
            own=1 if others else None,
        )
    write_records(path, records)
    tested = None if unseen is None else len(unseen)
    return Calibration(path, records, seed, tested, left_out, time.perf_counter() - started)
