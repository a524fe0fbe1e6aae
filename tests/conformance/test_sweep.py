"""``edgevit sweep`` and ``edgevit evaluate --jobs`` on a real model."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from edgevit.core.golden_images import draw_images

TARGETS = ["tflite-float32", "tflite-int8", "onnx-float32"]


@pytest.fixture
def data(tmp_path):
    """A dataset of drawn pictures whose labels say nothing."""
    images, labels = draw_images(1100, (12, 12), seed=5), np.arange(1100) % 10
    path = tmp_path / "data.npz"
    others = draw_images(20, (12, 12), seed=6)
    np.savez(path, x_train=others, y_train=labels[:20], x_test=images, y_test=labels)
    return path


@pytest.fixture
def plan(tiny_run, tmp_path, data):
    shutil.copytree(tiny_run, tmp_path / "net")
    path = tmp_path / "plan.toml"
    path.write_text(
        f"""
        targets = {json.dumps(TARGETS)}
        [defaults]
        evaluation = "data.npz"
        limit = 400
        max_drop = 50.0
        accept = ["lossy"]
        [[model]]
        source = "./net"
        """
    )
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modle = 1", "unknown key 'modle'. Did you mean model?"),
        ("targets = ['tflite-int8']\n[[model]]\nsource = 'shiftvot'", "Did you mean shiftvit"),
        ("targets = ['tflite-int8']\n[[model]]\nsource = 'x.keras'", "no such file"),
    ],
)
def test_a_plan_that_cannot_be_used_is_one_line_and_exit_code_2(command, tmp_path, text, said):
    path = tmp_path / "plan.toml"
    path.write_text(text)
    answer = command("sweep", path, "--out", tmp_path / "out")
    assert answer.code == 2
    assert said in answer.error


def test_results_that_are_none_cannot_be_compared_with(command, plan, tmp_path):
    answer = command("sweep", plan, "--out", tmp_path / "out", "--against", tmp_path)
    assert answer.code == 2
    assert "holds no results of 'edgevit sweep'" in answer.error


@pytest.mark.long
def test_a_sweep_is_done_once_and_a_worse_model_is_named(command, plan, tmp_path):
    first = command("sweep", plan, "--out", tmp_path / "one", "--json")
    assert first.code == 0, first.err
    cells = first.document["cells"]
    assert [cell["target"] for cell in cells] == TARGETS
    assert all(cell["samples"] == 400 and cell["agreement"] > 0.5 for cell in cells)
    assert all((tmp_path / "one" / cell["file"]).is_file() for cell in cells)

    again = command("sweep", plan, "--out", tmp_path / "one", "--against", tmp_path / "one")
    assert again.code == 0
    assert "nothing changed since" in again.out
    assert "0 ran now" in again.out

    some = command("sweep", plan, "--out", tmp_path / "one", "--only", "*/onnx-*", "--json")
    assert [cell["target"] for cell in some.document["cells"]] == ["onnx-float32"]

    stricter = plan.read_text().replace("max_drop = 50.0", 'max_drop = 50.0\nmax_size = "1 kB"')
    plan.write_text(stricter)
    over = command("sweep", plan, "--out", tmp_path / "one", "--json")
    assert (over.code, over.document["ran"]) == (1, 0)
    assert {cell["state"] for cell in over.document["cells"]} == {"over budget"}

    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    weights = tmp_path / "net/weights.safetensors"
    with safe_open(weights, "np") as file:
        metadata = file.metadata()
    arrays = {name: values * 1.5 for name, values in load_file(weights).items()}
    save_file(arrays, weights, metadata)
    plan.write_text(plan.read_text().replace('max_size = "1 kB"', ""))
    worse = command(
        *("sweep", plan, "--out", tmp_path / "two", "--against", tmp_path / "one", "--json")
    )
    assert worse.document["ran"] == 3
    named = {(change["target"], change["kind"]) for change in worse.document["changes"]}
    assert ("tflite-int8", "verdict") in named  # its ranges belong to other weights
    assert ("tflite-float32", "accuracy") in named
    assert worse.code == 1


@pytest.mark.long
@pytest.mark.parametrize("against", [False, True])
def test_figures_do_not_depend_on_how_many_processes_find_them(
    command, exported, tiny_run, data, against
):
    more = ["--against", tiny_run] if against else ["--robustness"]
    found = []
    for jobs in ([], ["--jobs", 1], ["--jobs", 3]):
        answer = command(
            "evaluate", exported["tflite-int8"], "--data", data, *more, *jobs, "--json"
        )
        assert answer.code == 0, answer.err
        found.append({**answer.document, "seconds": 0})
    assert found[0] == found[1] == found[2]


@pytest.mark.long
def test_ranges_do_not_depend_on_how_many_processes_measure_them(command, tiny_run, data, tmp_path):
    found = []
    for jobs in ([], ["--jobs", 1], ["--jobs", 3]):
        out = tmp_path / "ranges.json"
        more = ["--images", 17, "--surgery", "default,correct-biases", *jobs]
        answer = command("calibrate", tiny_run, "--data", data, "--out", out, *more)
        assert answer.code == 0, answer.err
        found.append(out.read_bytes())
    assert found[0] == found[1] == found[2]
