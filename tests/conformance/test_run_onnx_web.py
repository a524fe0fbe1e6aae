"""tools/run_onnx.mjs: an ONNX file runs in onnxruntime-web, with the metadata that it carries."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgevit.core.class_names import CIFAR10_CLASSES
from edgevit.core.format import Format
from edgevit.core.golden_images import draw_images
from edgevit.core.signature import Role
from edgevit.core.tensors import resize_bilinear
from edgevit.formats.registry import TARGETS, open_session

TOOL = Path(__file__).parents[2] / "tools" / "run_onnx.mjs"
NODE = shutil.which("node")
MODULES = TOOL.parent / "node" / "node_modules"

needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")
needs_modules = pytest.mark.skipif(
    NODE is None or not MODULES.exists(),
    reason="onnxruntime-web is not installed: npm ci --prefix tools/node, or make test-web",
)


def run_node(*arguments: object) -> subprocess.CompletedProcess:
    command = [str(NODE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


@needs_modules
@pytest.mark.parametrize("kind", ["onnx-float32", "onnx-int8", "bare"])
def test_the_script_passes_its_check_and_names_the_class_that_a_session_names(
    exported, bare_file, pictures, kind
):
    path = bare_file if kind == "bare" else exported[kind]
    found = run_node(TOOL, path, "--check", *pictures)
    assert found.returncode == 0, found.stderr + found.stdout
    verdict, *lines = found.stdout.splitlines()
    assert f"{path}: pass, 8 golden images" in verdict
    images = np.stack([np.asarray(Image.open(picture)) for picture in pictures])
    with open_session(path) as session:
        logits = session.run(images)["logits"]
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    for line, picture, expected in zip(lines, pictures, shares, strict=True):
        best = int(np.argmax(expected))
        name, share = re.match(rf"{re.escape(str(picture))}: (\w+) ([\d.]+) %", line).groups()
        assert name == CIFAR10_CLASSES[best]
        assert float(share) == pytest.approx(100 * expected[best], abs=0.3)
        assert line.count("%") == 5


@needs_modules
@pytest.mark.parametrize("kind", ["onnx-float16", "onnx-dynamic"])
@pytest.mark.long
def test_the_script_passes_its_check_on_the_other_precisions(exported, kind):
    found = run_node(TOOL, exported[kind], "--check")
    assert (found.returncode, found.stdout.count("pass")) == (0, 1), found.stderr + found.stdout


@needs_modules
def test_the_check_fails_where_the_float_model_said_something_else(exported, tmp_path):
    import onnx

    from edgevit.base.documents import decode_array, encode_array

    model = onnx.load(exported["onnx-float32"])
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    reference = json.loads(metadata["edgevit.reference"])
    outputs = reference["outputs"]
    outputs["logits"] = encode_array(decode_array(outputs["logits"])[::-1].copy())
    onnx.helper.set_model_props(model, {**metadata, "edgevit.reference": json.dumps(reference)})
    onnx.save(model, tmp_path / "other.onnx")
    found = run_node(TOOL, tmp_path / "other.onnx", "--check")
    assert found.returncode == 1
    assert "FAIL" in found.stdout


@needs_modules
@pytest.mark.parametrize(
    "trap", ["no metadata", "text", "truncated", "missing", "picture", "nothing"]
)
def test_what_cannot_be_used_is_answered_with_one_line(exported, tmp_path, trap):
    import onnx

    path = tmp_path / "net.onnx"
    arguments = [path, "--check"]
    if trap == "no metadata":
        model = onnx.load(exported["onnx-float32"])
        del model.metadata_props[:]
        onnx.save(model, path)
    elif trap == "text":
        path.write_text("no model at all")
    elif trap == "truncated":
        path.write_bytes(exported["onnx-float32"].read_bytes()[:-1000])
    elif trap == "picture":
        path.write_text("no picture")
        arguments = [exported["onnx-float32"], path]
    elif trap == "nothing":
        arguments = []
    found = run_node(TOOL, *arguments)
    assert found.returncode == 2
    (line,) = found.stderr.splitlines()
    assert line.startswith("run_onnx: error: ")
    assert not arguments or str(path) in line


@needs_node
def test_without_its_modules_the_script_says_how_to_get_them(tmp_path):
    shutil.copy(TOOL, tmp_path)
    (tmp_path / "node").mkdir()
    found = run_node(tmp_path / TOOL.name, "net.onnx", "--check")
    assert found.returncode == 2
    assert "npm ci --prefix tools/node" in found.stderr


@needs_node
@pytest.mark.parametrize("size", [(48, 48), (20, 33), (9, 40)])
@pytest.mark.parametrize("antialias", [False, True])
def test_pictures_are_resized_as_the_contract_and_as_pillow_do(tmp_path, size, antialias):
    image = draw_images(1, (32, 24), seed=3)[0]
    document = {"rows": 32, "columns": 24, "values": image.ravel().tolist()}
    script = (
        f"import {{ resize }} from {json.dumps(TOOL.as_uri())};"
        f"const picture = {json.dumps(document)};"
        f"console.log(JSON.stringify([...resize(picture, {list(size)}, "
        f"{str(antialias).lower()}).values]));"
    )
    (tmp_path / "resize.mjs").write_text(script)
    answer = run_node(tmp_path / "resize.mjs")
    assert answer.returncode == 0, answer.stderr
    found = np.array(json.loads(answer.stdout)).reshape(*size, 3)
    if antialias:
        resized = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
        np.testing.assert_allclose(found, np.asarray(resized, np.float32), atol=1.01)
    else:
        expected = resize_bilinear(image[None].astype(np.float32), size)[0]
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_limits_in_the_script_are_those_of_the_table():
    text = re.search(r"const LIMITS = \{(.*?)\};", TOOL.read_text())[1]
    stated = {name: float(value) for name, value in re.findall(r"(\w+): ([\d.e-]+)", text)}
    rows = [target for target in TARGETS.values() if target.format is Format.ONNX]
    assert stated == {str(row.precision): row.tolerance.limit(Role.LOGITS).relative for row in rows}


def test_the_lock_names_no_registry():
    lock = json.loads((TOOL.parent / "node" / "package-lock.json").read_text())
    assert lock["packages"]
    assert not [name for name, entry in lock["packages"].items() if "resolved" in entry]
