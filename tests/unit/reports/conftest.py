"""Reports made of values, as no runtime measured them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from edgevit.core.inspection import Inspection
from edgevit.core.manifest import Manifest
from edgevit.core.parity import OWN, AccuracyReport, OutputParity, ParityReport
from edgevit.core.report import FileReport, Gap, Latency, NamedValue, Picture, Report
from edgevit.core.signature import Role
from edgevit.core.tensors import TensorSpec
from edgevit.formats.registry import TARGETS

PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="


def make_file(target: str, size_bytes: int, ms: float, top1: float) -> FileReport:
    """A file with every kind of evidence."""
    manifest = Manifest(
        model="shiftvit",
        target=target,
        class_names=("cat", "dog"),
        preprocess=None,
        preprocess_inside=True,
        inputs=(),
        outputs=(),
        steps=("trace", "convert"),
        versions={"keras": "3.15.1"},
        weights_sha256="ab" * 32,
        calibration={"images": 300, "source": "drawn"},
    )
    logits = OutputParity(
        "logits", 256, 1e-5, 1e-6, 1.0, 1e-6, 1e-5, Role.LOGITS, agreement=1.0, low=0.98, high=1.0
    )
    run = ParityReport("litert-xnnpack", (logits,))
    own = replace(logits, agreement=0.998)
    return FileReport(
        name=f"shiftvit-{target}.tflite",
        format="tflite",
        size_bytes=size_bytes,
        sha256=target.encode().hex().ljust(64, "0")[:64],
        manifest=manifest,
        summary=TARGETS[target].summary,
        tolerance=TARGETS[target].tolerance,
        contents=Inspection(
            format="tflite",
            size_bytes=size_bytes,
            ops={f"OP{number}": 20 - number for number in range(14)},
            tensor_types={"float32": 40},
            integer_only=False,
            float_ops={},
            custom_ops=(),
            partitions={"delegated": 1, "left": 2},
            parameters=1234567,
            inputs=(TensorSpec("images", (1, 32, 32, 3), "uint8"),),
            outputs=(TensorSpec("logits", (1, 10), "float32"),),
        ),
        parity=(run,),
        accuracy=AccuracyReport(10000, top1, 99.0, "litert-xnnpack", "drawn", 3.0),
        agreement=ParityReport(run.runtime, (own,), OWN),
        latency=(
            Latency(
                "litert", 1, 1, ms, ms * 0.97, ms * 1.04, ms * 1.3, 80.0, 90_000_000, "A CPU", 0.42
            ),
        ),
        arena_bytes=654_321,
        times=tuple(NamedValue(f"net/layer{number}", 100 - number) for number in range(12)),
        errors=(NamedValue("net/first", 0.01), NamedValue("net/last", 0.2)),
    )


@pytest.fixture
def full_report() -> Report:
    """Three files with everything."""
    return Report(
        title="shiftvit",
        folder="exports",
        files=(
            make_file("tflite-float32", 46_900_000, 2.8, 84.2),
            make_file("tflite-dynamic", 12_140_000, 0.92, 84.21),
            make_file("tflite-int8", 12_330_000, 0.84, 84.25),
        ),
        pictures=(Picture("cat, attention", PIXEL, 300, 100),),
        gaps=(Gap("latency of the others", "edgevit benchmark exports/*.onnx"),),
        ignored=("foreign.json: not the output of an edgevit command",),
        environment={"cpu": "A CPU", "cores": 2, "system": "Linux", "machine": "x86_64"},
        float_accuracy=AccuracyReport(10000, 84.2, 99.1, "keras", "drawn", 3.0),
        warnings=("the machine is too noisy",),
    )


@pytest.fixture
def bare_report(full_report) -> Report:
    """The same files, of which nothing but names and sizes is known."""
    files = tuple(
        FileReport(file.name, file.format, file.size_bytes, file.sha256)
        for file in full_report.files
    )
    return Report("exports", "exports", files, (), (), (), {"cpu": "A CPU", "cores": 2})


@pytest.fixture
def hostile(full_report) -> Callable[[str], Report]:
    """A function text -> a report with this text wherever a file or a user may put one."""

    def make(text: str) -> Report:
        file = full_report.files[0]
        assert file.manifest
        assert file.contents
        assert file.accuracy
        bad = replace(
            file,
            name=text,
            damage="",
            notes=(text,),
            manifest=replace(file.manifest, steps=(text,), versions={text: text}, target=text),
            contents=replace(file.contents, ops={text: 1}, inputs=(TensorSpec(text, (1,), text),)),
            accuracy=replace(file.accuracy, source=text),
            times=(NamedValue(text, 1.0),),
            errors=(NamedValue(text, 1.0),),
        )
        worse = replace(file, damage=text)
        return replace(
            full_report,
            title=text,
            folder=text,
            files=(bad, worse, *full_report.files[1:]),
            pictures=(replace(full_report.pictures[0], title=text),),
            gaps=(Gap(text, text),),
            ignored=(text,),
            warnings=(text,),
            environment={"cpu": text, "versions": {text: text}},
        )

    return make
