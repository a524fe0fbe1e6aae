"""Calibration: training images in, one file of activation ranges out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from edgevit.base.errors import ConfigError
from edgevit.base.files import check_place
from edgevit.base.packages import require
from edgevit.base.progress import Progress, Status
from edgevit.core.format import Format
from edgevit.data.calibration import leave_out, open_calibration, open_unseen
from edgevit.formats.calibration import CALIBRATION_IMAGES
from edgevit.formats.registry import FORMATS
from edgevit.frontend.opening import Opening, open_source

if TYPE_CHECKING:
    import keras

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
        records[kind] = measure(
            kind,
            source,
            build_options(kind, chosen),
            sample,
            method,
            histograms=True,
            progress=progress,
        )
    write_records(path, records)
    tested = None if unseen is None else len(unseen)
    return Calibration(path, records, seed, tested, left_out, time.perf_counter() - started)
