"""``edgevit diff``: sound files have no suspects, and a planted fault is found in its layer."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from edgevit.core import layer_errors
from edgevit.core.golden_images import draw_images
from edgevit.core.layer_errors import PREPROCESSING, SUSPECT_DB
from edgevit.formats.registry import find_target
from edgevit.formats.tflite.runtime.file import add_metadata, pack_model, parse_model
from edgevit.verbs.diff import diff
from kinds import faults_in_layers

ROOT = Path(__file__).parents[2]
LAYERS = 15  # of the tiny ShiftViT that compute something
FILES = ("tflite-int8", "tflite-float32", "onnx-int8")


@pytest.fixture(scope="module")
def source(tiny_run):
    from edgevit.frontend.opening import open_source

    return open_source(tiny_run)


def test_a_sound_file_of_every_format_has_no_suspect(exported, tiny_run, target, command):
    if target.name == "savedmodel":
        answer = command("diff", exported[target.name], tiny_run)
        assert answer.code == 2
        assert "tflite-float32" in answer.error
        return
    found = diff(exported[target.name], tiny_run, limit=4)
    assert found.suspects == [], [(row.layer, row.excess_db) for row in found.ranked[:3]]
    own = [row for row in found.layers if row.layer != PREPROCESSING]
    # In files for microcontrollers one GELU is a table that no tensor of its layer's shape leaves.
    tables = 1 if target.name == "tflite-int8-micro" else 0
    assert (len(own), len(found.unaligned)) == (LAYERS - tables, tables), found.unaligned
    assert all((row.saturated is not None) == target.integer_only for row in found.layers)
    if target.name.endswith("float32"):
        assert min(row.total_sqnr_db for row in found.layers) > 100


@pytest.mark.parametrize("name", FILES)
def test_planted_faults_are_found_in_their_layers(source, exported, tmp_path, name):
    target = find_target(name)
    images = draw_images(6, source.preprocess.input_size)
    faulty = tmp_path / f"faulty{target.suffix}"
    kinds = faults_in_layers.kinds_of(name)
    assert len({kind for kind, _, _ in kinds}) == 4
    for number in range(len(kinds)):
        if kinds[number][0] == "bias lost":
            continue  # the biases of this network are zero
        kind, layer = faults_in_layers.plant(exported[name], faulty, number, kinds, seed=1)
        assert faulty.read_bytes() != exported[name].read_bytes()
        row = faults_in_layers.rank_of(layer, source, faulty, name, images)
        assert row["rank"] == 1, (kind, layer, row)


def test_json_has_the_promised_keys_and_the_report_reads_it(command, copied, tiny_run):
    path = copied("tflite-int8")
    place = path.parent / "layers.png"
    answer = command("diff", path, tiny_run, "--limit", 3, "--picture", place, "--json")
    document = answer.document
    assert (answer.code, document["verdict"], document["suspects"]) == (0, "pass", [])
    assert document["aligned"] == len(document["layers"]) == LAYERS
    assert sorted(document["ranking"]) == sorted(row["layer"] for row in document["layers"])
    assert document["images"] == 3
    for row in document["layers"]:
        assert {"layer", "relative", "sqnr_db", "cosine", "excess_db", "saturated"} <= row.keys()
        assert 0 <= row["relative"] < 1
        assert 0 <= row["saturated"] <= 1
    assert place.read_bytes().startswith(b"\x89PNG")
    (path.parent / "diff.json").write_text(answer.out)
    report = command("report", path.parent, "--json").document["report"]
    (entry,) = report["files"]
    errors = {part["name"]: part["value"] for part in entry["errors"]}
    assert errors == {row["layer"]: row["relative"] for row in document["layers"]}


def test_people_read_the_suspect_and_how_much_was_compared(command, exported, tiny_run, tmp_path):
    faulty = tmp_path / "faulty.onnx"
    _, layer = faults_in_layers.plant(
        exported["onnx-float32"], faulty, 0, faults_in_layers.KINDS, seed=2
    )
    refused = command("diff", faulty, tiny_run)
    assert refused.code == 2
    assert "--unsealed" in refused.error
    answer = command("diff", faulty, tiny_run, "--limit", 3, "--unsealed", "--top", 4)
    assert answer.code == 1
    assert f"suspect: {layer} " in answer.out
    assert "bytes changed since" in answer.out
    assert f"{LAYERS} of {LAYERS} layers" in answer.out
    assert "beyond dB" in answer.out
    assert "saturated" not in answer.out  # there are no levels in a float file
    whole = command("diff", faulty, tiny_run, "--limit", 1, "--unsealed", "--order", "network")
    assert whole.out.index("patch_projection") < whole.out.index("classifier")


def test_people_read_which_layer_adds_most_where_none_is_suspect(
    command, exported, tiny_run, monkeypatch
):
    ask = "diff", exported["tflite-int8"], tiny_run, "--limit", 3
    monkeypatch.setattr(layer_errors, "NOISY_DB", math.inf)
    document = command(*ask, "--json").document
    errors = {row["layer"]: row["relative"] for row in document["layers"] if row["relative"]}
    assert document["noisy"] == sorted(errors, key=lambda name: -errors[name])
    (line,) = [line for line in command(*ask).out.splitlines() if "adds most" in line]
    most = document["noisy"][0]
    assert line.startswith(f"{most} (")
    assert f"{100 * errors[most]:.3g} % error" in line
    monkeypatch.setattr(layer_errors, "NOISY_DB", -math.inf)
    assert "adds most" not in command(*ask).out


def test_a_file_that_lost_its_metadata_is_looked_into_beside_a_named_model(
    command, exported, tiny_run, tmp_path
):
    """A tool that rewrote it dropped the manifest and kept the bytes of the seal."""
    bare = tmp_path / "bare.tflite"
    model = parse_model(exported["tflite-float32"].read_bytes(), "file")
    model.metadata = None
    bare.write_bytes(pack_model(model))
    answer = command("diff", bare, tiny_run, "--unsealed", "--limit", 2, "--json")
    assert answer.code == 0, answer.err
    assert answer.document["suspects"] == []
    assert len(answer.document["layers"]) == LAYERS
    assert any("changed since" in line for line in answer.document["warnings"])


def test_bad_input_is_one_line(command, exported, copied, tiny_run, tmp_path):
    bare = tmp_path / "bare.tflite"
    model = parse_model(exported["tflite-float32"].read_bytes(), "file")
    model.metadata = None
    bare.write_bytes(pack_model(model))
    nameless = tmp_path / "nameless.tflite"
    model = parse_model(exported["tflite-float32"].read_bytes(), "file")
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        tensor.name = f"tensor{number}"
    nameless.write_bytes(pack_model(model))
    whole = exported["tflite-float32"]
    cases = {
        (tmp_path / "missing.tflite",): "no such file",
        (bare, tiny_run): "changed since",
        (nameless, tiny_run, "--unsealed"): "none of its tensors is named after a layer",
        (whole,): "exported from other weights",  # the shipped ones are another ShiftViT
        (whole, tmp_path / "missing.keras"): "missing.keras",
        (whole, tiny_run, "--picture", tmp_path / "a.gif"): "a picture is one of",
        (whole, tiny_run, "--data", tmp_path / "nothing"): "nothing",
    }
    for arguments, wanted in cases.items():
        answer = command("diff", *arguments)
        assert answer.code == 2, arguments
        assert wanted in answer.error, arguments
        assert answer.out == ""
    assert list(tmp_path.glob("*.gif")) == []


def test_a_file_that_answers_no_numbers_is_suspect_from_there_on(exported, tiny_run, tmp_path):
    import numpy as np
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(exported["onnx-float32"]))
    (kernel,) = [
        t for t in model.graph.initializer if t.name.endswith("stage2_block1/project/Gemm/kernel")
    ]
    kernel.CopyFrom(numpy_helper.from_array(np.full(kernel.dims, np.nan, np.float32), kernel.name))
    path = tmp_path / "nan.onnx"
    path.write_bytes(model.SerializeToString())
    found = diff(path, tiny_run, limit=2, unsealed=True)
    assert found.ranked[0].layer.endswith("stage2_block1/project")
    assert found.ranked[0].excess_db > SUSPECT_DB


def test_another_manifest_version_is_refused(copied, tiny_run, command):
    path = copied("tflite-float32", manifest=False)
    model = parse_model(path.read_bytes(), "file")
    add_metadata(model, {"edgevit.manifest": "{"})
    path.write_bytes(pack_model(model))
    answer = command("diff", path, tiny_run, "--unsealed")
    assert (answer.code, "damaged" in answer.error) == (2, True)


def test_the_same_weights_in_a_model_of_another_size_are_refused(
    command, exported, source, tmp_path
):
    from edgevit.models.build import build_plan, plan_model
    from edgevit.models.shiftvit import TINY
    from edgevit.models.weights import save_weights

    larger = plan_model("shiftvit", input_size=(12, 12), **{**TINY, "image_size": 32})
    network = build_plan(larger)
    network.set_weights(source.network.get_weights())
    place = tmp_path / "weights.safetensors"
    save_weights(place, larger, network.get_weights(), source.class_names, "float32")
    file = exported["onnx-float32"]
    for arguments in (("diff", file, place), ("verify", file, "--against", place)):
        answer = command(*arguments)
        assert answer.code == 2
        assert "takes 'images' of the shape (None, 32, 32, 3)" in answer.error
