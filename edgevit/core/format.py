"""File formats, and what each brings: one row a format, of names that are resolved when used."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edgevit.base.packages import Need


class Format(StrEnum):
    """File format."""

    SAVEDMODEL = "savedmodel"
    TFLITE = "tflite"
    ONNX = "onnx"


@dataclass(frozen=True)
class FormatSpec:
    """One file format. What is written "module:attribute" is imported when it is needed.

    Attributes:
        format: which one.
        suffix: of its files; "" for a folder.
        marker: file by which a folder of this format is known; "" for a file.
        inspect: ``(path) -> Inspection``.
        read_metadata: ``(path) -> {key: text}``: the documents inside a file, read without a
            runtime.
        count_cost: ``(path, batch) -> Cost``; None: multiply-accumulates are not counted.
        open_intermediate: ``(path) -> IntermediateReader``; None: its intermediate tensors
            cannot be read.
        profile: ``(path, kernels, threads, runs, warmup) -> Recording`` of the runtime's own
            profiler; None: it tells no times of single operators.
        options: dataclass of what a user may choose for its targets.
        observe: ``(source, options, images, observer, progress) -> {name: Observation}``, which
            runs the float graph; None: nothing of this format is calibrated.
        describe_graph: ``(options) -> str``: the options that activation ranges depend on, beside
            sizes and outputs; None: there are none.
        writer_needs: packages that writing its files takes, and finding their ranges.
    """

    format: Format
    suffix: str
    inspect: str
    read_metadata: str
    options: str
    marker: str = ""
    count_cost: str | None = None
    open_intermediate: str | None = None
    profile: str | None = None
    observe: str | None = None
    describe_graph: str | None = None
    writer_needs: tuple[Need, ...] = ()
