"""Kits run without edgevit, say pass where they are whole, and FAIL where anything was changed."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgevit.core.golden_images import draw_images
from edgevit.formats.registry import load_session
from edgevit.formats.tflite.runtime.file import op_names, pack_model, parse_model
from edgevit.kits.ethos_u import OWN
from edgevit.kits.firmware import strip
from edgevit.kits.table import PLACES
from edgevit.verbs.deploy import deploy, is_kit
from edgevit.verbs.export import export_all
from edgevit.verbs.predict import predict
from helpers.kits import read_golden, run_kit, run_micro
from helpers.sorts import save_network

NEEDS_VELA = pytest.mark.skipif(
    importlib.util.find_spec("ethosu") is None, reason="Vela is not installed (edgevit[npu])"
)
NEEDS_MICRO = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None,
    reason="tflite-micro is not installed (edgevit[tflm])",
)
GPP = shutil.which("g++")


def change_weights(path: Path) -> None:
    """Halves the largest constant of a TFLite file."""
    model = parse_model(path.read_bytes(), "kit")
    kinds = {tensor.buffer: tensor.type for tensor in model.subgraphs[0].tensors}
    number = max(kinds, key=lambda k: 0 if model.buffers[k].data is None else
                 len(model.buffers[k].data))  # fmt: skip
    dtype = {0: np.float32, 9: np.int8}[kinds[number]]
    values = np.frombuffer(np.asarray(model.buffers[number].data).tobytes(), dtype)
    model.buffers[number].data = np.frombuffer((values / 2).astype(dtype).tobytes(), np.uint8)
    path.write_bytes(pack_model(model))


@pytest.mark.parametrize("name", ["tflite-float32", "tflite-int8", "onnx-float32", "bare"])
def test_a_python_kit_passes_its_own_test_without_edgevit(exported, bare_file, tmp_path, name):
    kit = deploy(bare_file if name == "bare" else exported[name], "python", tmp_path / "kit").path
    found = run_kit(kit, "--self-test")
    assert found.stdout.splitlines()[-1:] == ["pass"], found.stdout + found.stderr
    assert (found.returncode, len(json.loads((kit / "golden.json").read_text()))) == (0, 8)
    assert not re.search(r"^\s*(import|from) edgevit", (kit / "edge_model.py").read_text(), re.M)


def break_weight(kit: Path, name: str) -> None:
    change_weights(kit / name)


def break_order(kit: Path, name: str) -> None:
    replace_code(
        kit, "values = to_pixels(values, entry)", "values = to_pixels(values, entry)[..., ::-1]"
    )


def break_resize(kit: Path, name: str) -> None:
    replace_code(kit, "Resampling.BILINEAR", "Resampling.NEAREST")


def replace_code(kit: Path, old: str, new: str) -> None:
    program = kit / "edge_model.py"
    text = program.read_text()
    assert text.count(old) == 1
    program.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (break_weight, ["sha256 differs", "outputs differ"]),
        (break_order, ["outputs differ"]),
        (break_resize, ["pixels differ", "outputs differ"]),
    ],
    ids=["one weight", "BGR", "another resize"],
)
@pytest.mark.parametrize("name", ["tflite-float32", "tflite-int8"])
def test_a_python_kit_fails_where_it_was_changed(
    exported, tmp_path, name, harm: Callable[[Path, str], None], said
):
    kit = deploy(exported[name], "python", tmp_path / "kit").path
    harm(kit, exported[name].name)
    found = run_kit(kit, "--self-test")
    assert found.returncode == 1, found.stdout + found.stderr
    faults = [line for line in found.stdout.splitlines() if line.startswith("FAIL: ")]
    wanted = said if name == "tflite-float32" else said[:1]
    assert all(any(words in line for line in faults) for words in wanted), found.stdout
    assert found.stdout.splitlines()[-1] == "FAIL"


@pytest.mark.parametrize("name", ["tflite-int8", "onnx-float32"])
def test_a_python_kit_says_what_predict_says(exported, tmp_path, name):
    picture = tmp_path / "photo.png"
    Image.fromarray(draw_images(1, (31, 40), seed=6)[0]).save(picture)
    kit = deploy(exported[name], "python", tmp_path / "kit").path
    found = run_kit(kit, picture)
    assert found.stdout.strip() == predict(exported[name], [picture])[0].text
    refused = run_kit(kit, "photo.png", "again.png")
    assert (refused.returncode, len(refused.stderr.splitlines()[-1:])) == (1, 1)
    assert "edge_model.py: error:" in refused.stderr


@pytest.mark.parametrize("kind", ["mask", "embedding", "two inputs", "no picture"])
def test_kits_of_every_sort_pass(tmp_path, kind):
    outcomes = export_all(save_network(tmp_path, kind), "tflite-float32,onnx-float32", tmp_path)
    for outcome in outcomes:
        path = outcome.artifact.path
        kit = deploy(path, "python", tmp_path / path.suffix[1:]).path
        found = run_kit(kit, "--self-test")
        assert found.stdout.splitlines()[-1:] == ["pass"], found.stdout + found.stderr
    if kind == "mask":
        Image.fromarray(draw_images(1, (20, 20), seed=6)[0]).save(tmp_path / "a.png")
        run_kit(kit, tmp_path / "a.png", "--out", tmp_path / "mask.png")
        expected = predict(path, [tmp_path / "a.png"], out=tmp_path / "own")[0].saved
        assert np.array_equal(Image.open(tmp_path / "mask.png"), Image.open(expected))
    if kind == "two inputs":
        np.save(tmp_path / "pose.npy", np.ones(4, np.float32))
        np.save(tmp_path / "wrong.npy", np.ones(5, np.float32))
        Image.fromarray(draw_images(1, (20, 20), seed=6)[0]).save(tmp_path / "a.png")
        found = run_kit(kit, tmp_path / "a.png", f"pose={tmp_path / 'pose.npy'}")
        assert found.stdout.startswith("values (2,)"), found.stderr


@NEEDS_MICRO
@pytest.mark.skipif(GPP is None, reason="g++ is not installed")
def test_a_microcontroller_kit_compiles_and_finds_a_changed_value(exported, tmp_path):
    kit = deploy(exported["tflite-int8-micro"], "microcontroller", tmp_path / "kit").path
    assert is_kit(kit)
    write_stubs(tmp_path / "stubs")
    compile_all(kit, tmp_path / "stubs")
    assert run_against(kit, tmp_path, change=0) == (0, "pass: 3 golden vectors, 0 values differ")
    assert run_against(kit, tmp_path, change=1) == (1, "FAIL: 3 golden vectors, 3 values differ")


def write_stubs(folder: Path) -> None:
    """Headers with what the kit uses of TensorFlow Lite Micro, and a resolver of real names."""
    from edgevit.kits.firmware import KERNELS

    adders = "".join(f"int Add{name}();" for name in KERNELS.split())
    headers = {
        "lite/micro/micro_mutable_op_resolver.h": "namespace tflite { template <unsigned N> class "
        f"MicroMutableOpResolver {{ public: {adders} }}; }}",
        "lite/micro/micro_interpreter.h": "#include <cstddef>\n#include <cstdint>\n"
        "enum TfLiteStatus { kTfLiteOk }; struct TfLiteTensor { union { void *data; } data; };\n"
        "namespace tflite { struct Model; class MicroInterpreter { public: template <class R> "
        "MicroInterpreter(const Model *, const R &, uint8_t *, size_t); "
        "TfLiteStatus AllocateTensors(); TfLiteStatus Invoke(); TfLiteTensor *input(size_t); "
        "TfLiteTensor *output(size_t); }; }",
        "lite/micro/system_setup.h": "namespace tflite { void InitializeTarget(); }",
        "lite/schema/schema_generated.h": "namespace tflite { const Model *GetModel(const void*);}",
    }
    for name, text in headers.items():
        place = folder / "tensorflow" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"#pragma once\n{text}\n")


def compile_all(kit: Path, stubs: Path) -> None:
    """Each source of the kit to its object, warnings being errors."""
    for source in sorted(kit.glob("*.cc")):
        command = [GPP, "-std=c++17", "-Wall", "-Werror", f"-I{stubs}", "-c", source]
        found = subprocess.run(
            [*command, "-o", source.with_suffix(".o")], capture_output=True, text=True
        )
        assert found.returncode == 0, found.stderr


def run_against(kit: Path, folder: Path, change: int) -> tuple[int, str]:
    """Links the kit with an interpreter that returns the golden outputs, changed by so much."""
    fake = folder / "fake.cc"
    fake.write_text(
        '#include "golden.h"\n#include "model_run.h"\n#include <string.h>\n'
        "static int run = 0; static INPUT_0_TYPE in[INPUT_0_ELEMENTS];\n"
        "static OUTPUT_0_TYPE out[OUTPUT_0_ELEMENTS];\n"
        "bool model_setup() { return true; }\nvoid *model_input(int) { return in; }\n"
        "bool model_invoke() { memcpy(out, golden_output_0[run++], sizeof(out)); "
        f"out[0] = (OUTPUT_0_TYPE)(out[0] + {change}); return true; }}\n"
        "const void *model_output(int) { return out; }\n"
    )
    objects = [kit / f"{name}.o" for name in ("main", "golden", "model_data")]
    program = folder / "self_test"
    subprocess.run(
        [GPP, "-std=c++17", f"-I{kit}", fake, *objects, "-o", program, "-lm"], check=True
    )
    found = subprocess.run([program], capture_output=True, text=True)
    return found.returncode, found.stdout.strip()


@NEEDS_MICRO
def test_the_golden_vectors_are_those_of_tensorflow_lite_micro(exported, tmp_path):
    kit = deploy(exported["tflite-int8-micro"], "microcontroller", tmp_path / "kit").path
    settings = (kit / "model_settings.h").read_text()
    assert run_micro(kit) == read_golden(kit, "output_0")
    arena = int(re.search(r"ARENA_BYTES (\d+)", settings)[1])
    assert 0 <= arena - int(re.search(r"\(([\d,]+) bytes\)", settings)[1].replace(",", "")) < 1024
    array = re.findall(r"0x([0-9a-f]{2}),", (kit / "model_data.cc").read_text())
    assert bytes.fromhex("".join(array)) == (kit / "model.tflite").read_bytes()
    change_weights(kit / "model.tflite")
    assert run_micro(kit) != read_golden(kit, "output_0")


@NEEDS_VELA
@pytest.mark.skipif(GPP is None, reason="g++ is not installed")
@pytest.mark.parametrize("npu", ["ethos-u55-128", "ethos-u85-256"])
def test_an_npu_s_kit_compiles_and_allows_what_kernels_differ_by(exported, tmp_path, npu):
    kit = deploy(exported["tflite-int8-npu"], npu, tmp_path / "kit").path
    write_stubs(tmp_path / "stubs")
    compile_all(kit, tmp_path / "stubs")
    limit = int(re.search(r"OUTPUT_0_TOLERANCE (\d+)", (kit / "golden.h").read_text())[1])
    assert limit >= 1
    assert run_against(kit, tmp_path, change=limit)[0] == 0
    assert run_against(kit, tmp_path, change=-limit - 1)[0] == 1


@NEEDS_VELA
def test_an_npu_s_kit_holds_what_vela_made_and_says_where_operators_run(exported, tmp_path):
    file = exported["tflite-int8-npu"]
    kit = deploy(file, "ethos-u85-256", tmp_path / "kit").path
    compiled = (kit / "model_vela.tflite").read_bytes()
    model = parse_model(compiled, "compiled")
    assert op_names(model) == [["ethos-u"]]
    assert b"edgevit" not in compiled
    array = re.findall(r"0x([0-9a-f]{2}),", (kit / "model_data.cc").read_text())
    assert bytes.fromhex("".join(array)) == compiled
    assert "resolver.AddEthosU();" in (kit / "model_run.cc").read_text()
    arena, fast = (
        int(re.search(rf"{word} (\d+)", (kit / "model_settings.h").read_text())[1])
        for word in ("ARENA_BYTES", "FAST_MEMORY_BYTES")
    )
    scratch = {tensor.name: int(tensor.shape[0]) for tensor in model.subgraphs[0].tensors}
    assert arena >= scratch[b"scratch"] + OWN
    assert fast == scratch[b"scratch_fast"]
    operators = (kit / "operators.md").read_text()
    assert "Nothing is left to the CPU." in operators
    assert "stage1_block1/" in operators
    assert "edgevit has" in (kit / "README.md").read_text()
    found = list(csv.DictReader((kit / "vela_operators.csv").open()))
    assert {row["Target"] for row in found} == {"NPU"}
    assert not re.search("@[A-Z_]+@", "".join(p.read_text() for p in kit.glob("*.[mch]*")))


@NEEDS_VELA
def test_the_golden_vectors_of_an_npu_are_those_of_the_reference_kernels(exported, tmp_path):
    file = exported["tflite-int8-npu"]
    kit = deploy(file, "ethos-u85-256", tmp_path / "kit").path
    with load_session(file, "litert-reference") as session:
        shape = session.inputs[0].shape
        images = np.array(read_golden(kit, "input_0"), np.uint8).reshape(-1, *shape[1:])
        logits = session.run(images)["logits"]
    text = (kit / "model_settings.h").read_text()
    scale, zero = (
        float(re.search(rf"OUTPUT_0_{word} (-?[\d.e-]+)", text)[1])
        for word in ("SCALE", "ZERO_POINT")
    )
    expected = (np.array(read_golden(kit, "output_0")) - zero) * scale
    np.testing.assert_allclose(logits, expected, atol=scale / 10)


def test_a_bare_model_has_no_metadata_and_runs_as_before(exported, raw_images, tmp_path):
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(strip(exported["tflite-int8"]))
    content = bare.read_bytes()
    assert b"edgevit" not in content
    assert b"labels.txt" not in content
    with load_session(bare) as first, load_session(exported["tflite-int8"]) as second:
        np.testing.assert_array_equal(
            first.run(raw_images)["logits"], second.run(raw_images)["logits"]
        )


@pytest.mark.parametrize(
    ("name", "place", "words"),
    [
        ("tflite-int8", "pyton", "python"),
        ("savedmodel", "python", "tflite-float32 or onnx-float32"),
        ("tflite-int8", "mediapipe", "--output-dtype uint8"),
        ("tflite-int16x8", "mediapipe", "tflite-mixed"),
        ("onnx-float32", "mediapipe", "tflite-float32"),
        ("onnx-float32", "microcontroller", "tflite-int8-micro"),
        pytest.param("tflite-float32", "microcontroller", "tflite-int8-micro", marks=NEEDS_MICRO),
        ("tflite-float32", "browser", "onnx-float32"),
        ("onnx-int8", "ethos-u55-128", "tflite-int8-npu"),
        ("tflite-int8-npu", "ethos-u55", "ethos-u55-128, ethos-u55-256, ethos-u65-256"),
        pytest.param("tflite-int8", "ethos-u85-256", "ResizeBilinear", marks=NEEDS_VELA),
        pytest.param(
            "tflite-float32", "ethos-u85-256", "float32.tflite: none of its", marks=NEEDS_VELA
        ),
    ],
)
def test_a_file_that_cannot_run_there_is_refused_with_what_to_export(
    command, exported, tmp_path, name, place, words
):
    answer = command("deploy", exported[name], "--to", place, "--out", tmp_path / "kit")
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.error
    assert list(tmp_path.iterdir()) == []


def test_a_missing_vela_names_the_extra(command, exported, tmp_path, monkeypatch):
    monkeypatch.setattr("edgevit.base.packages.is_importable", lambda name: name != "ethosu")
    file = exported["tflite-int8-npu"]
    answer = command("deploy", file, "--to", "ethos-u85-256", "--out", tmp_path / "kit")
    assert (answer.code != 0, "edgevit[npu]" in answer.error) == (True, True)
    assert list(tmp_path.iterdir()) == []


def test_a_signature_without_pictures_is_refused_by_mediapipe(command, tmp_path):
    (outcome,) = export_all(save_network(tmp_path, "no picture"), "tflite-float32", tmp_path / "x")
    answer = command("deploy", outcome.artifact.path, "--to", "mediapipe", "--out", tmp_path / "k")
    assert answer.code == 2
    assert "--to python" in answer.error
    assert not (tmp_path / "k").exists()


def test_grey_pictures_are_refused_by_mediapipe(command, tmp_path):
    (outcome,) = export_all(save_network(tmp_path, "grey"), "tflite-float32", tmp_path / "x")
    answer = command("deploy", outcome.artifact.path, "--to", "mediapipe", "--out", tmp_path / "k")
    assert (answer.code, "R, G, B" in answer.error) == (2, True)


def test_a_folder_that_is_there_stays_unless_forced(command, exported, copied, tmp_path):
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "mine.txt").write_text("mine")
    arguments = ("deploy", exported["tflite-int8"], "--to", "python", "--out", tmp_path / "kit")
    answer = command(*arguments)
    assert answer.code == 1
    assert "--force" in answer.error
    assert [path.name for path in (tmp_path / "kit").iterdir()] == ["mine.txt"]
    answer = command(*arguments, "--force")
    assert (answer.code, "holds no kit" in answer.error) == (1, True)
    assert [path.name for path in (tmp_path / "kit").iterdir()] == ["mine.txt"]
    (tmp_path / "kit" / "mine.txt").unlink()
    for _ in range(2):  # in the place of an empty folder, and of a kit
        document = command(*arguments, "--force", "--json").document
        assert sorted(path.name for path in (tmp_path / "kit").iterdir()) == document["files"]
    damaged = copied("tflite-int8")
    damaged.write_bytes(damaged.read_bytes() + b"x")
    answer = command("deploy", damaged, "--to", "python", "--out", tmp_path / "kit", "--force")
    assert "bytes changed" in answer.error
    assert sorted(path.name for path in (tmp_path / "kit").iterdir()) == document["files"]


def test_every_place_is_told_by_the_help(command):
    said = command("deploy", "--help").out
    assert all(name in said for name in PLACES)
