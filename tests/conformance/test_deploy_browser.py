"""Kits for browsers pass their self-test in headless Chromium, and FAIL where they were changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgevit.verbs.deploy import deploy
from edgevit.verbs.export import export
from helpers.kits import CHROMIUM, MODULES, NO_GPU, SOFTWARE_GPU, ask, serve
from helpers.sorts import save_network

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        CHROMIUM is None or not MODULES.exists(),
        reason="Chromium or onnxruntime-web is not installed: make test-browser",
    ),
]


@pytest.fixture
def served(tmp_path) -> Iterator[str]:
    """The address of a server for tmp_path, on this machine alone."""
    with serve(tmp_path) as address:
        yield address


def write_kit(path: Path, folder: Path) -> Path:
    kit = deploy(path, "browser", folder / "kit").path
    (kit / "node_modules").symlink_to(MODULES)
    return kit


@pytest.mark.parametrize("name", ["onnx-float32", "onnx-int8", "bare"])
def test_the_page_passes_its_own_test(exported, bare_file, served, tmp_path, name):
    write_kit(bare_file if name == "bare" else exported[name], tmp_path)
    verdict, page = ask(served, "self-test&sample=5", tmp_path)
    assert verdict[0] == "pass", verdict
    assert page.count("<li>") == 5
    assert "8 samples" in verdict[-2]
    assert verdict[-1] == "run in onnxruntime-web, wasm"


@pytest.mark.parametrize("name", ["onnx-float32", "bare"])
@pytest.mark.parametrize(("gpu", "place"), [(SOFTWARE_GPU, "webgpu"), (NO_GPU, "wasm")])
def test_it_runs_on_a_gpu_where_there_is_one(
    exported, bare_file, served, tmp_path, name, gpu, place
):
    write_kit(bare_file if name == "bare" else exported[name], tmp_path)
    verdict, _ = ask(served, "webgpu&self-test", tmp_path, gpu)
    assert (verdict[0], verdict[-1]) == ("pass", f"run in onnxruntime-web, {place}"), verdict


def break_weight(kit: Path, name: str) -> None:
    model = onnx.load(kit / name)
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = np.frombuffer(largest.raw_data, np.float32)
    largest.raw_data = (values / 2).astype(np.float32).tobytes()
    onnx.save(model, kit / name)


def break_order(kit: Path, name: str) -> None:
    replace_code(
        kit, "    values = picture.values;", "    values = picture.values.map((_, i, all) => "
        "all[i - (i % 3) + 2 - (i % 3)]);"
    )  # fmt: skip


def break_resize(kit: Path, name: str) -> None:
    replace_code(kit, "const reach = Math.max(step, 1);", "const reach = 1;")


def replace_code(kit: Path, old: str, new: str) -> None:
    program = kit / "edge_model.js"
    text = program.read_text()
    assert text.count(old) == 1
    program.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (break_weight, ["not the file", "outputs differ"]),
        (break_order, ["outputs differ"]),
        (break_resize, ["pixels differ"]),
    ],
    ids=["one weight", "BGR", "another resize"],
)
def test_the_page_fails_where_it_was_changed(exported, served, tmp_path, harm, said):
    path = exported["onnx-float32"]
    harm(write_kit(path, tmp_path), path.name)
    verdict, _ = ask(served, "self-test", tmp_path)
    assert verdict[0] == "FAIL"
    assert all(any(words in line for line in verdict) for words in said), verdict


@pytest.mark.parametrize("kind", ["mask", "embedding", "two inputs", "no picture"])
def test_pages_of_every_sort_pass(served, tmp_path, kind):
    outcome = export(save_network(tmp_path, kind), "onnx-float32", tmp_path / "files")
    write_kit(outcome.artifact.path, tmp_path)
    verdict, page = ask(served, "self-test&sample=5", tmp_path)
    assert verdict[0] == "pass", verdict
    assert page.count("<li>") >= 1
    assert page.count("<textarea") == (kind in ("two inputs", "no picture"))


def test_a_page_that_lacks_a_file_says_so(exported, served, tmp_path):
    (write_kit(exported["onnx-float32"], tmp_path) / "kit.json").unlink()
    verdict, _ = ask(served, "self-test", tmp_path)
    assert verdict[0] == "FAIL"
