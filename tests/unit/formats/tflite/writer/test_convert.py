"""A file is read once, rewritten in place, and packed once."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("ai_edge_litert")

from edgevit.base.loading import load_attribute  # noqa: E402
from edgevit.core.format import Format  # noqa: E402
from edgevit.data.calibration import CalibrationSample  # noqa: E402
from edgevit.formats.calibration import calibrate, write_records  # noqa: E402
from edgevit.formats.registry import TARGETS, open_session  # noqa: E402
from edgevit.formats.tflite.options import TfliteOptions  # noqa: E402
from edgevit.formats.tflite.runtime import file, nodes  # noqa: E402, F401  (counted)
from edgevit.formats.tflite.runtime.file import op_names, parse_model  # noqa: E402
from edgevit.formats.tflite.writer import converter  # noqa: E402
from edgevit.formats.tflite.writer.convert import (  # noqa: E402
    float_graph,
    write_dynamic,
    write_float16,
    write_float32,
    write_int8,
    write_mixed,
)
from edgevit.frontend.opening import open_source  # noqa: E402
from edgevit.models.build import build  # noqa: E402
from edgevit.models.vit import TINY  # noqa: E402
from edgevit.quantization.ranges import RangeRecord  # noqa: E402
from edgevit.verbs.export import export  # noqa: E402
from edgevit.verification.audit import inspect  # noqa: E402

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="graphs are traced by TensorFlow"
)
SIZE = TINY["image_size"]
NAMES = [name for name, target in TARGETS.items() if target.format is Format.TFLITE]
# (parses, packs) of a file that is written and then inspected by the verifier.
# TensorFlow's quantiser takes and returns bytes, so int8 is packed and parsed once more.
INT8 = ("tflite-int8", "tflite-int8-micro", "tflite-int8-npu")
LIMITS = dict.fromkeys(NAMES, (2, 1)) | dict.fromkeys(INT8, (3, 2))
DOCUMENTS = {"edgevit.labels": "[]"}


@pytest.fixture(scope="module")
def network():
    """Norms, GELU, and attention whose products are large enough to be split in int8."""
    keras.utils.set_random_seed(1)
    return build("vit", outputs=("logits",), **TINY)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def record(network, images) -> RangeRecord:
    sample = CalibrationSample({"images": images}, "drawn", "00")
    return calibrate(Format.TFLITE, open_source(network), TfliteOptions(), sample)


@pytest.fixture(scope="module")
def counts() -> Iterator[Counter[str]]:
    """How often a flatbuffer was parsed and packed."""
    found: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        count_calls(patch, file.parse_model, found)
        count_calls(patch, file.pack_model, found)
        yield found


def count_calls(patch: pytest.MonkeyPatch, own: Callable, counts: Counter[str]) -> None:
    """Counts the calls of a function, wherever in the package it was imported to."""
    name = own.__name__

    def counted(*arguments):
        counts[name] += 1
        return own(*arguments)

    for module in list(sys.modules.values()):
        if module.__name__.startswith("edgevit") and getattr(module, name, None) is own:
            patch.setattr(module, name, counted)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=() if name in ("tflite-float32", "tflite-int8") else pytest.mark.long
        )
        for name in NAMES
    ],
)
def test_a_file_is_parsed_and_packed_no_more_than_it_must(network, record, counts, name, tmp_path):
    path = tmp_path / "file.tflite"
    counts.clear()
    write = load_attribute(TARGETS[name].write)
    written = write(open_source(network), TfliteOptions(), record, path)
    written.finish(DOCUMENTS)
    inspect(path)
    assert (counts["parse_model"], counts["pack_model"]) == LIMITS[name]
    with open_session(path) as session:
        assert (written.inputs, written.outputs) == (session.inputs, session.outputs)
    assert DOCUMENTS.items() <= file.read_metadata(path).items()
    if name == "tflite-int8":  # else the limits would hold because nothing was rewritten
        assert "4 BATCH_MATMUL as 8 FULLY_CONNECTED" in written.steps


def test_so_it_is_by_a_whole_export(network, record, counts, tmp_path):
    write_records(tmp_path / "ranges.json", {Format.TFLITE: record})
    counts.clear()
    outcome = export(
        network, "tflite-int8", tmp_path, ranges=tmp_path / "ranges.json", keep_failed=True
    )
    parsed, packed = LIMITS["tflite-int8"]
    # Once more for the look at its layers, and with what it lost in its manifest.
    assert (counts["parse_model"], counts["pack_model"]) == (parsed + 1, packed + 1)
    with open_session(outcome.artifact.path) as session:
        assert outcome.artifact.manifest.outputs == session.outputs


@pytest.mark.parametrize("write", [write_float32, write_mixed])
def test_a_free_batch_is_declared(network, record, write, tmp_path):
    path = tmp_path / "free.tflite"
    written = write(open_source(network), TfliteOptions(batch=None), record, path)
    written.finish({})
    assert written.inputs[0].shape[0] is None
    with open_session(path) as session:
        assert (written.inputs, written.outputs) == (session.inputs, session.outputs)


def test_a_converter_that_does_everything_itself_writes_the_same_bytes(
    network, record, tmp_path, monkeypatch
):
    from tensorflow.lite.python import lite

    loads = []
    own = lite._load
    monkeypatch.setattr(lite, "_load", lambda *given: loads.append(1) or own(*given))
    paths = [tmp_path / "quick.tflite", tmp_path / "plain.tflite"]
    for path in paths:
        write_float32(open_source(network), TfliteOptions(), record, path).finish({})
        loads.append(0)
        for name in ("saved_once", "packed_once"):
            monkeypatch.setattr(converter, name, lambda place: contextlib.nullcontext())
    assert loads == [0, 1, 0]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_targets_of_the_converter_share_what_it_saves(network, record, tmp_path, monkeypatch):
    from tensorflow.lite.python import lite

    saves = []
    own = lite._save.save
    monkeypatch.setattr(
        lite._save, "save", lambda *given, **how: saves.append(1) or own(*given, **how)
    )
    writers, shared = (write_float32, write_float16, write_dynamic), open_source(network)
    for number, write in enumerate(writers):
        write(shared, TfliteOptions(), None, tmp_path / f"{number}.tflite").finish({})
    assert len(saves) == 1
    for number, write in enumerate(writers[1:], start=1):
        alone = tmp_path / f"{number}-alone.tflite"
        write(open_source(network), TfliteOptions(), None, alone).finish({})
        assert alone.read_bytes() == (tmp_path / f"{number}.tflite").read_bytes()
    assert len(saves) == 3
    (folder,) = {start.folder for key, (start, _) in shared.lowered.items() if "traced" in key}
    assert Path(folder, "saved").is_dir()
    shared.lowered.clear()
    assert not Path(folder).exists()


def test_targets_share_a_float_graph_that_none_of_them_changes(network, record, tmp_path):
    source, options = open_source(network), TfliteOptions()
    graph, _ = float_graph(source, options)
    before = graph.to_bytes()
    for number in range(2):
        write_int8(source, options, record, tmp_path / f"{number}.tflite").finish({})
    first, second = ((tmp_path / f"{number}.tflite").read_bytes() for number in range(2))
    assert first == second
    assert float_graph(source, options)[0] is graph
    assert graph.to_bytes() == before


def test_a_copy_is_a_graph_of_its_own(network):
    graph, _ = float_graph(open_source(network), TfliteOptions())
    before, copied = graph.to_bytes(), graph.copy()
    dense = next(op for op in copied.operators if copied.kind(op) == "FULLY_CONNECTED")
    copied.give_constant(dense, 1, 2 * copied.values(int(dense.inputs[1])), "doubled")
    copied.set_scale(0, [1.0], [0])
    copied.operators = copied.operators[:-1]
    assert graph.to_bytes() == before
    assert len(op_names(parse_model(copied.to_bytes(), "copy"))[0]) == len(graph.operators) - 1
