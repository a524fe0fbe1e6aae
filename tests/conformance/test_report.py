"""``edgevit report`` over a real folder of exports."""

from __future__ import annotations

import json
import shutil

import pytest

from edgevit.core.parity import Verdict
from edgevit.formats.registry import list_targets
from edgevit.verbs.report import collect_report, list_exports


@pytest.fixture
def folder(exported, tmp_path):
    """A copy of two exports with their manifests, and nothing else."""
    place = tmp_path / "exports"
    place.mkdir()
    for name in ("tflite-int8", "onnx-float32"):
        source = exported[name]
        shutil.copy(source, place)
        shutil.copy(source.with_name(source.name + ".manifest.json"), place)
    return place


def test_a_folder_with_nothing_but_exports_makes_a_useful_page(command, folder):
    answer = command("report", folder)
    assert answer.code == 0, answer.err
    page = (folder / "report.html").read_text()
    for text in ("tflite-int8", "onnx-float32", "at export", "Not measured yet", "FULLY_CONNECTED"):
        assert text in page
    for verb in ("--verify", "edgevit verify", "edgevit benchmark", "edgevit profile"):
        assert verb in page
    assert not list(folder.glob(".*"))


def test_what_the_export_measured_is_on_the_page_until_it_changes(command, folder):
    answer = command("report", folder, "--json")
    files = answer.document["report"]["files"]
    assert [(file["at_export"], bool(file["parity"])) for file in files] == [(True, True)] * 2
    assert answer.document["verdict"] == "pass"
    assert command("report", folder).out.startswith("Smallest that passes: tflite-int8, ")
    beside = next(folder.glob("*.onnx.manifest.json"))
    document = json.loads(beside.read_text())
    beside.write_text(json.dumps({**document, "runs": [{"runtime": 3}]}))
    (broken,) = [
        file
        for file in command("report", folder, "--json").document["report"]["files"]
        if file["name"].endswith(".onnx")
    ]
    assert (broken["parity"], broken["at_export"]) == ([], False)
    assert "cannot be read" in broken["notes"][0]


def test_the_page_is_the_same_each_time(command, folder):
    command("report", folder)
    first = (folder / "report.html").read_text()
    command("report", folder)  # with the first page in the folder
    assert (folder / "report.html").read_text() == first


def test_files_come_in_the_order_of_the_targets(exported):
    paths = list_exports(exported["tflite-int8"].parent)
    names = [path.name.partition("-")[2].removesuffix(path.suffix) for path in paths]
    assert names == list(list_targets())


def test_json_of_the_other_commands_fills_the_page(command, folder, tmp_path):
    name = "run-tflite-int8.tflite"
    (path,) = folder.glob("*.tflite")
    verified = command("verify", path, "--json")
    (folder / f"{path.name}.verify.json").write_text(verified.out)
    profiled = command("profile", path, "--by", "layer", "--runs", 2, "--json")
    (folder / f"{path.name}.profile.json").write_text(profiled.out)
    answer = command("report", folder, "--json", "--out", tmp_path / "page.html")
    assert answer.code == 0, answer.err
    files = {file["name"]: file for file in answer.document["report"]["files"]}
    file = files[path.name]
    assert [run["samples"] for run in file["parity"]] == ["synthetic", "synthetic", "kernels"]
    assert file["times"][0]["value"] > 0
    assert answer.document["report"]["ignored"] == [], name
    page = (tmp_path / "page.html").read_text()
    assert ">pass<" in page
    # Which of them is the slowest depends on the moment: a file this small has steps of no layer.
    names = [row["name"] for row in profiled.document["rows"]]
    layer = next(name for name in names if "/" in name)
    assert names[0] in page
    assert layer in page


def test_verify_runs_the_files_first(folder):
    found = collect_report(folder, run=True)
    assert [file.verdict for file in found.files] == [Verdict.PASS, Verdict.PASS]
    assert found.verdict is Verdict.PASS
    assert "parity" not in " ".join(gap.what for gap in found.gaps)


def test_drawings_are_inside_the_page(command, folder, tmp_path):
    from PIL import Image

    drawings = tmp_path / "drawings"
    drawings.mkdir()
    Image.new("RGB", (40, 30), "red").save(drawings / "cat-net-attention.png")
    (drawings / "dog-net-gates.png").write_bytes(b"no picture")
    Image.new("RGB", (40, 30), "red").save(drawings / "holiday.png")
    answer = command("report", folder, "--with", drawings, "--json")
    pictures = answer.document["report"]["pictures"]
    assert [picture["title"] for picture in pictures] == ["cat-net-attention"]
    assert "dog-net-gates.png" in " ".join(answer.document["report"]["ignored"])
    assert "data:image/jpeg;base64," in (folder / "report.html").read_text()


def test_markdown_for_a_model_card(command, folder):
    answer = command("report", folder, "--markdown", "--title", "My nets")
    assert answer.code == 0
    text = (folder / "report.md").read_text()
    assert text.startswith("# My nets\n")
    assert "tflite-int8" in text


def test_damage_is_said_and_fails_and_the_rest_is_there(command, folder):
    (path,) = folder.glob("*.tflite")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    answer = command("report", folder, "--json")
    assert answer.code == 1
    assert answer.document["verdict"] == "fail"
    page = (folder / "report.html").read_text()
    assert "1 damaged" in page
    assert "1 pass" in page
    assert page.index(path.name) < page.index("-onnx-float32.onnx")  # what failed stands first


def test_a_file_of_another_export_beside_a_manifest_is_damage(command, folder, exported):
    (path,) = folder.glob("*.tflite")
    shutil.copy(exported["tflite-float32"], path)
    answer = command("report", folder, "--json")
    assert answer.code == 1
    files = {file["name"]: file for file in answer.document["report"]["files"]}
    assert "manifest beside it" in files[path.name]["damage"]


def test_foreign_and_unreadable_files_do_not_stop_the_report(command, folder):
    import onnx
    from onnx import TensorProto, helper

    (folder / "notes.txt").write_text("mine")
    (folder / "empty.tflite").write_bytes(b"")
    (folder / "text.onnx").write_text("this is no model")
    (folder / "data.json").write_text('{"a": 1}')
    (folder / "subfolder").mkdir()
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "other", value[:1], value[1:]
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "other.onnx")
    answer = command("report", folder, "--json")
    assert answer.code == 1  # two files are damaged
    files = {file["name"]: file for file in answer.document["report"]["files"]}
    assert set(files) >= {"empty.tflite", "text.onnx", "other.onnx"}
    assert files["empty.tflite"]["damage"]
    assert files["text.onnx"]["damage"]
    assert files["other.onnx"]["damage"] == ""
    assert files["other.onnx"]["manifest"] is None
    assert "no manifest" in (folder / "report.html").read_text()
    assert "data.json" in " ".join(answer.document["report"]["ignored"])


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("{tmp}/none",), 2, "no such folder"),
        (("{tmp}",), 2, "holds no exported file"),
        (("{folder}/notes.txt",), 2, "is a file"),
        (("{folder}", "--with", "{tmp}/none.json"), 2, "no such file"),
        (("{folder}", "--out", "{folder}/notes.txt/page.html"), 1, "cannot be written"),
        (("{folder}", "--out", "{tmp}"), 1, "a folder is where a file would be"),
    ],
)
def test_bad_input_is_one_line(command, folder, tmp_path, arguments, code, text):
    (folder / "notes.txt").write_text("mine")
    empty = tmp_path / "empty"
    empty.mkdir()
    answer = command("report", *(part.format(tmp=empty, folder=folder) for part in arguments))
    assert answer.code == code
    assert text in answer.error
    assert not list(folder.glob("report*"))
