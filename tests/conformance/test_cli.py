"""The command line: what it answers, what it prints where, and how it exits."""

from __future__ import annotations

import ast
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgevit.base.errors import ExportError
from edgevit.base.files import digest_path, size_path
from edgevit.cli.main import VERBS
from edgevit.core.class_names import CIFAR10_CLASSES
from edgevit.core.golden_images import draw_images
from edgevit.core.signature import Role
from edgevit.data.degradations import DEGRADATIONS
from edgevit.data.evaluation import load_test
from edgevit.formats.registry import RUNTIMES, TARGETS, open_session
from edgevit.verbs.evaluate import evaluate_robustness
from programs import run_program

OPTIONS = {
    verb.name: [
        option.metavar if option.metavar and not option.opts[0].startswith("-") else option.opts[0]
        for option in verb.params
    ]
    for verb in VERBS
}


@pytest.fixture(scope="module")
def class_folders(tmp_path_factory) -> Path:
    """Drawn pictures in the ten class folders that the file knows, under train/ and test/."""
    root = tmp_path_factory.mktemp("classes")
    images = draw_images(60, (12, 12), seed=21)
    for number, image in enumerate(images):
        split = "test" if number < 40 else "train"
        folder = root / split / CIFAR10_CLASSES[number % 10]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "drawn.png"
    Image.fromarray(draw_images(1, (12, 12), seed=31)[0]).save(path)
    return path


# Help


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_help_names_every_option_and_argument_of_a_verb(command, verb):
    answer = command(verb, "--help")
    assert (answer.code, answer.err) == (0, "")
    for name in OPTIONS[verb]:
        assert (name if name.startswith("-") else name.upper()) in answer.out
    assert answer.out.startswith(f"Usage: edgevit {verb}")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []], ids=str)
def test_help_lists_the_verbs_in_the_order_of_use(command, arguments):
    answer = command(*arguments)
    assert (answer.code, answer.err) == (0, "")
    commands = answer.out[answer.out.index("Commands:") :]
    places = [commands.index(f"\n  {verb.name} ") for verb in VERBS]
    assert places == sorted(places)


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_told(command, option):
    from edgevit import __version__

    answer = command(option)
    assert (answer.code, answer.out.strip()) == (0, f"edgevit, version {__version__}")


@pytest.mark.parametrize(
    ("shell", "word"), [("bash", "complete"), ("zsh", "compdef"), ("fish", "complete")]
)
def test_a_shell_gets_the_script_that_completes(command, shell, word):
    answer = command("completion", shell)
    assert (answer.code, answer.err) == (0, "")
    assert word in answer.out
    assert "_EDGEVIT_COMPLETE" in answer.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("edgevit exp", {"export", "explain"}),
        ("edgevit export shiftvit:", {"shiftvit:nano"}),
        (
            "edgevit export vit --format onnx-int8,tflite-int8-",
            {"onnx-int8,tflite-int8-micro", "onnx-int8,tflite-int8-npu"},
        ),
    ],
)
def test_verbs_models_and_targets_are_completed(words, expected):
    found = run_program(
        "run_without", "keras", _EDGEVIT_COMPLETE="bash_complete", COMP_WORDS=words,
        COMP_CWORD=str(len(words.split()) - 1),
    )  # fmt: skip
    named = {line.partition(",")[2] for line in found.stdout.splitlines() if line[:5] == "plain"}
    assert named == expected


def test_a_target_that_does_not_exist_is_refused_with_all_that_do(command):
    answer = command("export", "shiftvit", "--format", "tflite")
    assert answer.code == 2
    assert all(name in answer.error for name in TARGETS)


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (["shiftvit"], "tflite-int8"),
        (["my.keras"], "tflite-float32"),
        (["my.keras", "ranges.json"], "tflite-int8"),
    ],
)
def test_without_a_format_int8_is_written_where_ranges_are_known(words, written):
    from edgevit.cli import export

    chosen = {"calibration": None, "ranges": words[1] if len(words) > 1 else None}
    assert export._default_target(words[0], chosen) == written


def test_every_verb_that_answers_can_answer_in_json():
    silent = [name for name, options in OPTIONS.items() if "--json" not in options]
    assert silent == ["completion"]  # whose answer is a shell's script


# Wrong use: exit code 2, one line on stderr, nothing on stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["exprot", "shiftvit"],
        ["nonsense"],
        ["--nonsense"],
        ["export", "shiftvit", "--format", "tflite"],
        ["export", "shiftvit", "--format", ""],
        ["export", "shftvit", "--format", "tflite-int8"],
        ["export", "shiftvit", "--format", "tflite-int8", "--nonsense"],
        ["export", "shiftvit", "--format", "tflite-int8", "--io-dtype", "int4"],
        ["export", "shiftvit", "--format", "tflite-int8", "--batch", "many"],
        ["export", "shiftvit", "--format", "tflite-int8", "--batch", "-1"],
        ["export", "shiftvit", "--format", "tflite-int8", "--batch", "²"],
        ["export", "shiftvit", "more", "--format", "tflite-int8"],
        ["verify"],
        ["verify", "missing.tflite"],
        ["verify", "."],
        ["inspect", "missing.tflite"],
        ["predict", "missing.tflite"],
        ["predict", "missing.tflite", "cat.png"],
        ["predict", "missing.tflite", "cat.png", "--top", "0"],
        ["evaluate", "shftvit", "--data", "x"],
        ["evaluate", "missing.tflite", "--data", "x"],
        ["evaluate", "shiftvit", "--limit", "0"],
        ["models", "--all"],
        ["targets", "more"],
        ["doctor", "--fix"],
        ["train", "shiftvit", "--epochs", "0"],
        ["train", "shiftvit", "--limit", "0", "--data", "."],
        ["train", "shiftvit", "--set", "image_size", "--data", "."],
        ["train", "shiftvit", "--set", "imagesize=64", "--data", "."],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_wrong_use_exits_with_2_and_one_line(command, tmp_path, monkeypatch, arguments, as_json):
    monkeypatch.chdir(tmp_path)
    answer = command(*arguments, *(["--json"] if as_json else []))
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert line.startswith("edgevit: error: ")
    assert "internal error" not in line
    if as_json:
        assert answer.document == {"error": line.removeprefix("edgevit: error: ")}
    else:
        assert answer.out == ""
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["exprot"], "export"),
        (["export", "shftvit", "--format", "onnx-float32"], "shiftvit"),
        (["export", "shiftvit", "--format", "onnx-float23"], "onnx-float32"),
        (["export", "shiftvit", "--fromat", "onnx-float32"], "--format"),
    ],
)
def test_the_near_miss_is_named(command, arguments, near):
    answer = command(*arguments)
    assert near in answer.error.split("Did you mean")[1]


def test_a_defect_of_ours_is_said_to_be_one(command, monkeypatch):
    from edgevit.formats import registry

    monkeypatch.setattr(registry, "find_targets", lambda names: 1 / 0)
    answer = command("export", "shiftvit", "--format", "all")
    assert answer.code == 1
    assert "internal error: ZeroDivisionError" in answer.error
    assert "--verbose" in answer.error
    assert "Traceback" in command("--verbose", "export", "shiftvit", "--format", "all").err


# Export and verify


def test_export_in_json_has_exactly_the_promised_keys(exported_by_process):
    answer, folder = exported_by_process
    assert answer.code == 0
    rows = answer.document
    assert [row["target"] for row in rows] == ["tflite-int8", "onnx-float32"]
    for row in rows:
        assert [*row] == [
            "target",
            "path",
            "size_bytes",
            "sha256",
            "verdict",
            "max_abs",
            "top1_agreement",
            "seconds",
            "task",
            "warnings",
            "caveats",
            "suspects",
            "results",
            "runs",
        ]
        assert (row["task"], row["warnings"], row["suspects"]) == ("classification", [], [])
        assert [*row["results"]] == ["logits"]
        assert {run["samples"] for run in row["runs"]} <= {"synthetic", "kernels"}
        path = Path(row["path"])
        assert path.parent == folder
        assert row["verdict"] == "pass"
        assert row["sha256"] == digest_path(path)
        assert row["size_bytes"] == size_path(path)
        assert 0 <= row["max_abs"] < 10
        assert 0.8 <= row["top1_agreement"] <= 1
        assert row["seconds"] > 0


def test_what_converters_print_reaches_neither_stream(exported_by_process):
    answer, _ = exported_by_process
    for line in answer.err.splitlines():
        stages = ("importing", "loading", "recording", "tflite-int8:", "onnx-float32:")
        assert line.startswith(stages), line


def test_export_for_people_shows_a_table_and_the_status_goes_to_stderr(
    command, tiny_run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # a short path is not folded
    answer = command("export", tiny_run, "--format", "onnx-float32", "--out", "out")
    assert answer.code == 0
    assert "pass" in answer.out
    assert "out/shiftvit-onnx-float32.onnx" in answer.out
    assert "classification; 256 golden inputs" in answer.out
    assert "loading the model" in answer.err
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == [
        "shiftvit-onnx-float32.onnx",
        "shiftvit-onnx-float32.onnx.manifest.json",
    ]


def test_files_verified_beside_each_other_are_the_same_and_the_stages_are_the_whole_call(
    command, tiny_run, tmp_path, monkeypatch
):
    from edgevit.verbs import export

    stage = export._stage

    def refuse_one(call, target, *rest):
        if target.name == "onnx-int8":
            raise ExportError("it has no form")
        return stage(call, target, *rest)

    monkeypatch.setattr(export, "_stage", refuse_one)
    formats = "tflite-float32,onnx-int8,onnx-float32"
    found = {}
    for jobs in ("1", "2"):
        out = tmp_path / jobs
        words = ("export", tiny_run, "--format", formats, "--out", out, "--jobs", jobs)
        answer = command(*words, "--timings", "--json")
        assert answer.code == 1
        document = answer.document
        assert [row["verdict"] for row in document["outcomes"]] == ["pass", "refused", "pass"]
        stages = {row["stage"] for row in document["timings"]}
        beside = {f"{row}: waiting for its runtimes" for row in ("tflite-float32", "onnx-float32")}
        assert beside <= stages if jobs == "2" else not beside & stages
        total = sum(row["seconds"] for row in document["timings"])
        assert document["seconds"] == pytest.approx(total, abs=0.05)
        found[jobs] = {path.name: path.read_bytes() for path in out.iterdir()}
    assert len(found["1"]) == 4
    assert {name: data for name, data in found["1"].items() if "manifest" not in name} == {
        name: data for name, data in found["2"].items() if "manifest" not in name
    }


def test_outputs_are_kept_for_the_next_export_unless_that_is_not_wanted(
    command, tiny_run, tmp_path, monkeypatch
):
    monkeypatch.setenv("EDGEVIT_CACHE", str(tmp_path / "cache"))
    words = ("export", tiny_run, "--format", "onnx-float32", "--out", tmp_path)
    assert command(*words, "--no-cache").code == 0
    assert command("cache", "--json").document["entries"] == 0
    first = [command(*words).code, (tmp_path / "shiftvit-onnx-float32.onnx").read_bytes()]
    assert command("cache", "--json").document["entries"] == 1
    second = [command(*words).code, (tmp_path / "shiftvit-onnx-float32.onnx").read_bytes()]
    assert first == second
    assert command("cache", "--clear", "--json").document["cleared"] == 1
    assert "0 kept outputs" in command("cache").out


@pytest.mark.parametrize("keep", [False, True])
def test_a_file_that_fails_its_verification_exits_with_1_and_is_kept_only_on_request(
    command, tiny_run, tmp_path, monkeypatch, keep
):
    from edgevit.formats.onnx.writer import float_graph as onnx

    lower = onnx.trace

    def wrong(source, *arguments):
        from dataclasses import replace

        (images,) = source.signature.inputs
        contract = replace(source.preprocess, offset=(0.5, 0.5, 0.5))
        inputs = (replace(images, preparation=contract),)
        signature = replace(source.signature, inputs=inputs)
        return lower(replace(source, signature=signature), *arguments)

    monkeypatch.setattr(onnx, "trace", wrong)  # the graph prepares images in another way
    answer = command(
        *("export", tiny_run, "--format", "onnx-float32", "--out", tmp_path, "--json"),
        *(["--keep-failed"] if keep else []),
    )
    assert answer.code == 1
    (row,) = answer.document
    assert row["verdict"] == "fail"
    assert row["max_abs"] > 1e-4
    assert (row["path"] is not None) == keep
    assert len([*tmp_path.iterdir()]) == (2 if keep else 0)


def test_verify_in_json_has_the_promised_keys(command, exported, target):
    answer = command("verify", exported[target.name], "--json")
    assert answer.code == 0
    found = answer.document
    names = {"verdict", "runtime", "images", "max_abs", "mean_abs", "top1_agreement"}
    assert names <= set(found)
    assert (found["verdict"], found["images"], found["target"]) == ("pass", 256, target.name)
    assert target.runtimes[0] in found["runtime"]
    assert 0 <= found["mean_abs"] <= found["max_abs"]


def test_verify_for_people_says_pass_and_names_every_run(command, exported):
    answer = command("verify", exported["tflite-float32"])
    assert answer.code == 0
    assert answer.out.rstrip().endswith("(tflite-float32): pass")
    assert "litert-xnnpack" in answer.out
    assert "litert-reference" in answer.out


def test_verify_with_data_adds_accuracy_and_agreement_with_the_float_model(
    command, exported, class_folders, tiny_run
):
    answer = command(
        *("verify", exported["onnx-float32"], "--data", class_folders, "--against", tiny_run),
        "--json",
    )
    assert answer.code == 0
    found = answer.document
    assert found["accuracy"]["images"] == 40
    assert found["real_images"]["images"] == 40
    assert found["real_images"]["max_abs"] <= 1e-4


def test_verify_against_other_weights_is_refused(command, exported, class_folders, tmp_path):
    import keras

    from edgevit.models.build import build_plan, plan_model
    from edgevit.models.shiftvit import TINY
    from edgevit.models.weights import save_weights

    keras.utils.set_random_seed(99)
    plan = plan_model("shiftvit", input_size=(12, 12), **TINY)
    weights = build_plan(plan).get_weights()
    save_weights(tmp_path / "weights.safetensors", plan, weights, CIFAR10_CLASSES, "float32")
    answer = command(
        *("verify", exported["onnx-float32"], "--data", class_folders, "--against", tmp_path)
    )
    assert answer.code == 2
    assert "not the weights" in answer.error


# Inspect, evaluate, predict


def test_inspect_in_json_has_the_promised_keys(command, exported, target):
    answer = command("inspect", exported[target.name], "--json")
    assert answer.code == 0
    names = {"format", "ops", "integer_only", "float_ops", "custom_ops", "partitions"}
    assert {*names, "inputs", "outputs"} <= set(answer.document)
    assert answer.document["integer_only"] == target.integer_only
    assert answer.document["inputs"][0]["dtype"] == "uint8"


def test_inspect_for_people_lists_operators_and_floats(command, exported):
    answer = command("inspect", exported["tflite-int8"])
    assert answer.code == 0
    assert "integer only: yes" in answer.out
    assert "custom ops:   none" in answer.out
    assert "XNNPACK" in answer.out
    assert "FULLY_CONNECTED" in answer.out


def labelled(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    files = sorted(folder.rglob("*.png"))
    labels = [CIFAR10_CLASSES.index(file.parent.name) for file in files]
    return np.stack([np.asarray(Image.open(file)) for file in files]), np.array(labels)


def test_evaluate_counts_the_right_answers_of_the_test_images(command, exported, class_folders):
    answer = command("evaluate", exported["onnx-float32"], "--data", class_folders, "--json")
    assert answer.code == 0
    assert {"images", "top1", "top5"} <= set(answer.document)
    images, labels = labelled(class_folders / "test")
    with open_session(exported["onnx-float32"]) as session:
        order = np.argsort(-session.run(images)["logits"], axis=-1)
    assert answer.document["images"] == 40
    assert answer.document["top1"] == pytest.approx(100 * np.mean(order[:, 0] == labels))
    five = (order[:, :5] == labels[:, None]).any(axis=-1)
    assert answer.document["top5"] == pytest.approx(100 * five.mean())


def test_evaluate_runs_the_float_model_to_the_same_figures(
    command, exported, class_folders, tiny_run
):
    by_keras = command("evaluate", tiny_run, "--data", class_folders, "--json").document
    by_file = command(
        "evaluate", exported["onnx-float32"], "--data", class_folders, "--json"
    ).document
    assert (by_keras["top1"], by_keras["top5"]) == (by_file["top1"], by_file["top5"])
    assert (by_keras["runtime"], by_file["runtime"]) == ("keras", "onnxruntime-cpu")


@pytest.mark.parametrize("by", ["keras", "onnx-float32"])
def test_evaluate_says_how_accuracy_bears_jpeg_and_shifts(
    by, command, exported, tiny_run, class_folders
):
    model = tiny_run if by == "keras" else exported[by]
    arguments = ("evaluate", model, "--data", class_folders, "--robustness")
    found = command(*arguments, "--json").document
    assert [*found["robustness"]] == ["as is", "jpeg-95", "jpeg-75", "jpeg-50", "shift-2"]
    plain = command("evaluate", model, "--data", class_folders, "--json").document
    assert found["robustness"]["as is"] == {"top1": plain["top1"], "top5": plain["top5"]}
    assert found["top1"] == plain["top1"]
    assert "robustness" not in plain
    if by != "keras":
        text = command(*arguments).out
        assert "saved as JPEG of quality 50" in text
        assert text.count(" %") >= 10


def test_robustness_is_measured_on_images_that_were_changed(exported, class_folders):
    path = exported["onnx-float32"]
    found = evaluate_robustness(path, class_folders)
    dataset = load_test(class_folders, (12, 12), CIFAR10_CLASSES)
    with open_session(path) as session:
        for way in DEGRADATIONS:
            logits = session.run(way.apply(dataset.images))["logits"]
            right = np.argmax(logits, axis=-1) == dataset.labels
            assert found[way.name].top1 == pytest.approx(100 * right.mean())


def test_evaluate_takes_the_dataset_from_the_environment_and_a_limit(
    command, exported, class_folders, monkeypatch
):
    monkeypatch.setenv("EDGEVIT_DATA", str(class_folders))
    answer = command("evaluate", exported["tflite-int8"], "--limit", "7", "--kernels", "reference")
    assert answer.code == 0
    assert "of 7 test images" in answer.out
    assert "litert-reference" in answer.out


def test_evaluate_counts_validation_images_that_the_weights_have_not_seen(
    command, exported, class_folders, tiny_run, tmp_path
):
    for split, count in (("train", 20), ("test", 1)):
        for label, name in enumerate(CIFAR10_CLASSES):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for number, image in enumerate(draw_images(count, (12, 12), seed=label)):
                Image.fromarray(image).save(folder / f"{number:02d}.png")
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    arguments = ("evaluate", run, "--data", tmp_path / "data", "--split", "validation")
    document = command(*arguments, "--json").document
    assert (document["split"], document["images"]) == ("validation", 40)
    learnt = {"recipe": {"held_out": 0.05}, "data": "data"}
    (run / "recipe.json").write_text(json.dumps(learnt))
    assert "of 10 validation images" in command(*arguments).out
    assert "of 10 test images" in command(*arguments[:-2]).out
    answer = command("evaluate", exported["onnx-float32"], *arguments[2:])
    assert answer.code == 2
    assert "which images its weights were trained on" in answer.error


def test_evaluate_without_a_dataset_says_how_to_name_one(command, exported):
    answer = command("evaluate", exported["onnx-float32"])
    assert answer.code == 2
    assert "--data PATH" in answer.error
    assert "EDGEVIT_DATA" in answer.error


def test_evaluate_on_more_classes_than_the_file_knows_is_refused(command, exported, tmp_path):
    for number in range(11):
        folder = tmp_path / "test" / f"class{number:02d}"
        folder.mkdir(parents=True)
        Image.fromarray(draw_images(1, (12, 12), seed=number)[0]).save(folder / "a.png")
    for model in ("onnx-float32", "tflite-int8"):
        answer = command("evaluate", exported[model], "--data", tmp_path)
        assert answer.code == 2
        assert "11 classes" in answer.error


def test_labels_go_by_class_name_where_a_dataset_holds_only_some_classes(
    command, exported, class_folders, tmp_path
):
    for name in ("cat", "truck"):
        shutil.copytree(class_folders / "test" / name, tmp_path / "test" / name)
    images, labels = labelled(tmp_path / "test")
    with open_session(exported["onnx-float32"]) as session:
        ranks = np.argsort(-session.run(images)["logits"], axis=-1)
    answer = command("evaluate", exported["onnx-float32"], "--data", tmp_path, "--json")
    five = (ranks[:, :5] == labels[:, None]).any(axis=-1)
    assert answer.document["images"] == 8
    assert answer.document["top5"] == pytest.approx(100 * five.mean())
    assert answer.document["top1"] == pytest.approx(100 * np.mean(ranks[:, 0] == labels))


def test_predict_gives_the_same_classes_as_the_session(command, exported, target, picture):
    answer = command("predict", exported[target.name], picture, "--json", "--top", "10")
    assert answer.code == 0
    (entry,) = answer.document
    with open_session(exported[target.name]) as session:
        logits = session.run(np.asarray(Image.open(picture))[None])["logits"][0]
    assert entry["image"] == str(picture)
    assert entry["classes"][0]["index"] == int(np.argmax(logits))
    assert entry["classes"][0]["class"] == CIFAR10_CLASSES[int(np.argmax(logits))]
    assert sum(found["probability"] for found in entry["classes"]) == pytest.approx(1)


def test_predict_for_people_is_one_line_a_picture(command, exported, picture):
    answer = command("predict", exported["onnx-float32"], picture, picture, "--top", "2")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{picture}: ") and line.count("%") == 2 for line in lines)


def test_predict_takes_a_folder_of_pictures(command, exported, picture, tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "deep/a.png"):
        shutil.copy(picture, tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    answer = command("predict", exported["onnx-float32"], tmp_path)
    assert [line.partition(": ")[0] for line in answer.out.splitlines()] == [
        str(tmp_path / "b.png"),
        str(tmp_path / "deep" / "a.png"),
    ]
    (tmp_path / "none").mkdir()
    answer = command("predict", exported["onnx-float32"], tmp_path / "none")
    assert (answer.code, answer.out) == (2, "")
    assert "no picture in this folder" in answer.error


def test_one_bad_picture_among_good_ones_gives_no_half_answer(command, exported, picture, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    answer = command("predict", exported["onnx-float32"], picture, tmp_path / "bad.png")
    assert (answer.code, answer.out) == (2, "")
    assert "bad.png" in answer.error


def test_a_file_that_takes_no_images_is_refused_by_every_verb_that_shows_it_pictures(
    command, class_folders, picture, tmp_path
):
    import onnx

    make = onnx.helper
    entry = make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4])
    result = make.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4])
    graph = make.make_graph([make.make_node("Relu", ["x"], ["y"])], "net", [entry], [result])
    path = tmp_path / "vector.onnx"
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), path)
    assert command("inspect", path).code == 0
    for arguments in (
        ("predict", path, picture),
        ("evaluate", path, "--data", class_folders),
    ):
        answer = command(*arguments)
        assert answer.code == 2
        assert "internal" not in answer.error


# Catalogue and doctor


def test_models_names_every_architecture_and_its_weights(command):
    from edgevit.models import MODELS

    found = command("models", "--json").document
    assert [row["name"] for row in found][: len(MODELS)] == [*MODELS]
    assert set(found[0]) >= {"name", "title", "paper", "variants", "outputs", "classes", "weights"}
    assert next(row for row in found if row["name"] == "shiftvit")["weights"]
    assert {row["name"]: row["extra_outputs"] for row in found}["focalnet"] == [
        "gates",
        "modulator",
    ]
    answer = command("models")
    assert (answer.code, answer.err) == (0, "")
    assert "2201.10801" in answer.out


def test_targets_names_every_row_and_its_limits(command):
    found = command("targets", "--json").document
    assert [row["name"] for row in found] == [*TARGETS]
    for row in found:
        limits = TARGETS[row["name"]].tolerance
        assert row["tolerance"]["exact"] == limits.exact
        assert row["tolerance"]["kernels"] == limits.kernels
        stated = {role: limit for role, limit in row["tolerance"]["limits"]}
        assert stated.keys() == {*Role}
        assert stated["logits"]["agreement"] == limits.limit(Role.LOGITS).agreement
    answer = command("targets")
    assert (answer.code, answer.err) == (0, "")
    assert all(name in answer.out for name in TARGETS)


def test_doctor_says_what_is_there(command, monkeypatch):
    found = command("doctor", "--json").document
    assert set(found) == {"python", "machine", "packages", "checks", "weights"}
    assert found["checks"]["onnx"] == {"ready": True, "missing": [], "get": ""}
    for name, row in RUNTIMES.items():
        if row.device == "cpu":
            assert f"runtime {name}" in found["checks"]
            assert row.package in found["packages"]
    answer = command("doctor")
    assert (answer.code, answer.err) == (0, "")
    assert "ready" in answer.out


def test_colour_arrives_on_the_terminal_and_nowhere_else():
    for variables, coloured in (({"FORCE_COLOR": "1"}, True), ({"NO_COLOR": "1"}, False)):
        answer = run_program("run_without", "openvino", "doctor", COLUMNS="100", **variables)
        assert ("\x1b[32mready" in answer.stdout) == ("\x1b" in answer.stdout) == coloured
        assert "\\x1b" not in answer.stdout
        refused = run_program("run_without", "openvino", "exprot", **variables)
        assert refused.stderr.startswith("\x1b[31medgevit: error:") == coloured


def test_doctor_says_what_is_missing_and_how_to_get_it(command, monkeypatch):
    from edgevit.base import versions

    own = versions.installed_version
    monkeypatch.setattr(
        versions, "installed_version", lambda name: None if name == "onnxruntime" else own(name)
    )
    check = command("doctor", "--json").document["checks"]["runtime onnxruntime"]
    assert check["ready"] is False
    assert check["missing"] == ["onnxruntime"]
    assert check["get"] == "pip install 'edgevit[onnx]'"
    (line,) = [row for row in command("doctor").out.splitlines() if "runtime onnxruntime " in row]
    assert line.split()[2:4] == ["missing", "onnxruntime"]


@pytest.mark.parametrize(("found", "ready"), [(None, False), ("/bin/valgrind", True)])
def test_doctor_looks_for_programs_too(command, monkeypatch, found, ready):
    monkeypatch.setattr("shutil.which", lambda name: found)
    check = command("doctor", "--json").document["checks"]["benchmark --instructions"]
    assert check["ready"] is ready
    assert check["missing"] == ([] if ready else ["valgrind"])
    assert ("valgrind" in check["get"]) is not ready


# Verb -> the test that reads its JSON: of a model that it trains, of processes that it starts.
READ_ELSEWHERE = {
    "export": "test_plugins.test_its_architecture_arrives_at_its_target_in_its_runtime",
    "calibrate": "test_calibrate.test_one_file_serves_tflite_and_onnx_and_its_exports_say_so",
    "diff": "test_diff.test_json_has_the_promised_keys_and_the_report_reads_it",
    "evaluate": "test_cli.test_evaluate_counts_the_right_answers_of_the_test_images",
    "benchmark": "test_benchmark.test_formats_are_mixed_in_one_run_and_the_answer_is_one_document",
    "explain": "test_outputs.test_explain_on_the_command_line_answers_where_it_drew",
    "train": "test_train.test_bfloat16_on_a_processor_without_it_is_warned_of",
    "sweep": "test_sweep.test_a_sweep_is_done_once_and_a_worse_model_is_named",
}


def test_every_answer_in_json_is_one_document(command, exported, picture, tmp_path):
    file = exported["tflite-int8"]
    cases = (
        ("models",),
        ("targets",),
        ("doctor",),
        ("cache",),
        ("inspect", exported["savedmodel"]),
        ("predict", exported["savedmodel"], picture),
        ("verify", file),
        ("profile", file, "--runs", "2"),
        ("deploy", file, "--to", "python", "--out", tmp_path / "kit"),
        ("report", file.parent, "--out", tmp_path / "report.html"),
    )
    for arguments in cases:
        assert command(*arguments, "--json").document
    assert {case[0] for case in cases} | {*READ_ELSEWHERE, "completion"} == set(OPTIONS)


@pytest.mark.parametrize("verb", READ_ELSEWHERE)
def test_the_others_are_read_as_one_document_too(verb):
    module, _, name = READ_ELSEWHERE[verb].partition(".")
    source = Path(__file__).with_name(f"{module}.py").read_text()
    (test,) = (
        ast.unparse(node)
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    )
    assert re.search(rf"command\([^=]*'{verb}'[^=]*'--json'", test)
    assert "answer.document" in test or "first.document" in test


@pytest.mark.parametrize("verb", sorted(set(OPTIONS) - {"completion"}))
def test_wrong_use_of_every_verb_is_one_document_too(command, verb):
    answer = command(verb, "--json", "--nonsense")
    assert answer.code == 2
    assert "--nonsense" in answer.document["error"]
