"""Verification fails closed: whatever was done to a file, it is never a pass and never a crash."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from edgevit.base.documents import to_json
from edgevit.base.errors import EdgevitError, ModelFileError, RuntimeFailure
from edgevit.core.golden_images import draw_images
from edgevit.core.manifest import manifest_path
from edgevit.core.metadata import MANIFEST_KEY, REFERENCE_KEY
from edgevit.core.parity import SYNTHETIC, Verdict, judge
from edgevit.core.reference import ReferenceSet
from edgevit.core.seal import BLANK, SEAL_KEY, find_damage, seal
from edgevit.formats.registry import open_session
from edgevit.formats.tflite.runtime.file import add_metadata, is_constant, pack_model, parse_model
from edgevit.verbs.verify import verify
from programs import run_program
from robustness.mutations import strip_seal

ROOT = Path(__file__).parents[2]
ONNX = ("onnx-float32", "onnx-float16", "onnx-dynamic", "onnx-int8")
FILES = ("tflite-float32", "tflite-float16", "tflite-dynamic", "tflite-int8", *ONNX)


def change_weights(path: Path, change) -> None:
    """Applies ``change(bytes)`` to the largest stored tensor of a file, in place."""
    data = bytearray(path.read_bytes())
    if path.suffix == ".onnx":
        import onnx

        tensors = onnx.load(path).graph.initializer
        content = max((tensor.raw_data for tensor in tensors), key=len)
    else:
        model = parse_model(bytes(data), "net")
        stored = [t for t in model.subgraphs[0].tensors if is_constant(model, t)]
        buffers = [model.buffers[tensor.buffer].data for tensor in stored]
        content = max(buffers, key=len).tobytes()
    start = bytes(data).index(content)
    data[start : start + len(content)] = change(content)
    path.write_bytes(data)


def flip_one_bit(content: bytes) -> bytes:
    return content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]


def shuffle(content: bytes) -> bytes:
    """The same values in another order: a file that runs perfectly well."""
    values = np.frombuffer(content, "V4")
    return np.random.default_rng(0).permutation(values).tobytes()


def unseal(path: Path) -> None:
    """Blanks the seal, as in a file that its author would seal now."""
    data = path.read_bytes()
    start = data.index(b"edgevit-seal-sha256:")
    path.write_bytes(data[:start] + BLANK.encode() + data[start + len(BLANK) :])


def replace_metadata(path: Path, documents: dict[str, str]) -> None:
    """Puts other documents into a file and seals it anew, so that only their content can tell."""
    documents = {**documents, SEAL_KEY: to_json(BLANK)}
    if path.suffix == ".onnx":
        import onnx

        model = onnx.load(path)
        kept = {prop.key: prop.value for prop in model.metadata_props}
        onnx.helper.set_model_props(model, {**kept, **documents})
        path.write_bytes(model.SerializeToString())
    else:
        model = parse_model(path.read_bytes(), "net")
        add_metadata(model, documents)
        path.write_bytes(pack_model(model))
    seal(path)
    assert find_damage(path) == ""


def metadata_of(path: Path) -> dict[str, str]:
    with open_session(path) as session:
        return session.metadata


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("manifest", [True, False], ids=["manifest", "alone"])
def test_one_flipped_bit_in_the_weights_is_damage(copied, name, manifest):
    path = copied(name, manifest)
    change_weights(path, flip_one_bit)
    found = verify(path)
    assert found.verdict is Verdict.FAIL
    assert "changed" in found.damage
    assert found.reports == ()  # it was not run


def test_the_manifest_beside_a_file_that_was_sealed_anew_tells_that_it_changed(copied):
    path = copied("onnx-float32")
    change_weights(path, flip_one_bit)
    unseal(path)
    seal(path)
    assert find_damage(path) == ""
    found = verify(path)
    assert found.verdict is Verdict.FAIL
    assert "sha256" in found.damage
    assert "manifest beside it" in found.damage


@pytest.mark.parametrize("name", FILES)
def test_wrong_weights_under_a_whole_seal_fail_by_their_logits(copied, name):
    path = copied(name, manifest=False)
    change_weights(path, shuffle)
    unseal(path)
    seal(path)
    found = verify(path)
    assert found.damage == ""
    assert found.verdict is Verdict.FAIL
    for report in found.reports:
        if report.samples == SYNTHETIC:
            assert report.verdict(found.target.tolerance) in (Verdict.FAIL, Verdict.LOSSY)


def test_weights_of_nan_under_a_whole_seal_fail(copied):
    path = copied("onnx-float32", manifest=False)
    nan = np.float32("nan").tobytes()
    change_weights(path, lambda content: nan * (len(content) // 4))
    unseal(path)
    seal(path)
    found = verify(path)
    assert found.verdict is Verdict.FAIL
    assert np.isnan(found.reports[0].max_abs)


@pytest.mark.parametrize("name", ["tflite-int8", "onnx-float32"])
def test_a_manifest_of_another_file_is_damage(copied, exported, name):
    path = copied(name)
    manifest_path(path).write_bytes(manifest_path(exported["tflite-float16"]).read_bytes())
    found = verify(path)
    assert found.verdict is Verdict.FAIL
    assert "sha256" in found.damage


def test_a_manifest_that_is_no_json_or_says_nothing_is_never_a_pass(copied):
    path = copied("onnx-float32")
    manifest_path(path).write_text("{}")
    assert verify(path).verdict is Verdict.FAIL
    manifest_path(path).write_text("{")
    with pytest.raises(ModelFileError, match="manifest"):
        verify(path)


def with_logits_swapped(reference: ReferenceSet) -> ReferenceSet:
    """The reference with the logits of other images."""
    outputs = {"logits": reference.synthetic.outputs["logits"][::-1].copy()}
    return replace(reference, synthetic=replace(reference.synthetic, outputs=outputs))


@pytest.mark.parametrize("name", ["tflite-int8", "onnx-float32"])
def test_swapped_logits_inside_the_file_are_refused(copied, name):
    path = copied(name, manifest=False)
    metadata = metadata_of(path)
    reference = ReferenceSet.from_document(json.loads(metadata[REFERENCE_KEY]), "x")
    other = with_logits_swapped(reference)
    replace_metadata(path, {REFERENCE_KEY: to_json(other.to_document())})
    with pytest.raises(ModelFileError, match="are not those that were recorded"):
        verify(path)


@pytest.mark.parametrize("name", ["tflite-int8", "onnx-float32"])
def test_swapped_logits_with_a_manifest_to_match_fail_by_parity(copied, name):
    path = copied(name, manifest=False)
    metadata = metadata_of(path)
    reference = ReferenceSet.from_document(json.loads(metadata[REFERENCE_KEY]), "x")
    other = with_logits_swapped(reference)
    manifest = {**json.loads(metadata[MANIFEST_KEY]), "reference_sha256": other.digest}
    documents = {
        REFERENCE_KEY: to_json(other.to_document()),
        MANIFEST_KEY: to_json(manifest),
    }
    replace_metadata(path, documents)
    assert verify(path).verdict is Verdict.FAIL


def forge(path: Path) -> None:
    """Swaps two classes, rewrites the golden logits, and seals anew: the work of an author."""
    import onnx
    from onnx import helper, numpy_helper

    metadata = metadata_of(path)
    reference = ReferenceSet.from_document(json.loads(metadata[REFERENCE_KEY]), "x")
    logits = reference.synthetic.outputs["logits"]
    order = np.array([1, 0, *range(2, logits.shape[1])])
    outputs = {"logits": np.ascontiguousarray(logits[:, order])}
    forged = replace(reference, synthetic=replace(reference.synthetic, outputs=outputs))
    model = onnx.load(path)
    for node in model.graph.node:
        node.output[:] = ["honest" if name == "logits" else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(order, "swapped"))
    model.graph.node.append(helper.make_node("Gather", ["honest", "swapped"], ["logits"], axis=1))
    path.write_bytes(model.SerializeToString())
    manifest = {**json.loads(metadata[MANIFEST_KEY]), "reference_sha256": forged.digest}
    documents = {REFERENCE_KEY: to_json(forged.to_document()), MANIFEST_KEY: to_json(manifest)}
    replace_metadata(path, documents)


def test_a_forged_file_passes_alone_and_fails_against_its_model(copied, tiny_run):
    path = copied("onnx-float32", manifest=False)
    forge(path)
    assert verify(path).verdict is Verdict.PASS
    assert verify(path, against=tiny_run).verdict is Verdict.FAIL


@pytest.mark.long
def test_a_forged_file_fails_on_real_images_and_honest_ones_pass(copied, tiny_run, tmp_path):
    path = copied("onnx-float32", manifest=False)
    forge(path)
    images, labels = draw_images(20, (12, 12), seed=5), np.arange(20) % 10
    data = tmp_path / "data.npz"
    np.savez(data, x_train=images, y_train=labels, x_test=images, y_test=labels)
    found = verify(path, data=data, against=tiny_run)
    assert found.verdict is Verdict.FAIL
    assert found.real is not None
    assert judge([found.real], found.target.tolerance) is Verdict.FAIL
    for name in ("tflite-float32", "onnx-int8"):
        assert verify(copied(name), data=data, against=tiny_run).verdict is Verdict.PASS


@pytest.mark.parametrize(
    "documents",
    [
        {REFERENCE_KEY: "{"},
        {REFERENCE_KEY: "[]"},
        {MANIFEST_KEY: "{"},
        {MANIFEST_KEY: "null"},
        {MANIFEST_KEY: '{"version": 99}'},
    ],
    ids=str,
)
def test_metadata_that_cannot_be_read_are_refused_in_one_line(copied, documents):
    path = copied("onnx-float32", manifest=False)
    replace_metadata(path, documents)
    with pytest.raises(ModelFileError) as caught:
        verify(path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_target_that_does_not_exist_is_refused(copied):
    path = copied("onnx-float32", manifest=False)
    manifest = json.loads(metadata_of(path)[MANIFEST_KEY])
    replace_metadata(path, {MANIFEST_KEY: to_json({**manifest, "target": "onnx-float8"})})
    with pytest.raises(EdgevitError, match="onnx-float8"):
        verify(path)


def test_a_foreign_file_without_metadata_has_nothing_to_be_held_against(convert_tflite, tmp_path):
    def forward(images):
        return ops.mean(images, axis=(1, 2))

    path = tmp_path / "foreign.tflite"
    path.write_bytes(convert_tflite(forward, (1, 4, 4, 3)))
    with pytest.raises(ModelFileError, match="carries no reference outputs") as caught:
        verify(path)
    assert "edgevit verify FILE --against MODEL" in str(caught.value)
    with open_session(path) as session:  # it still runs
        found = session.run(np.full((3, 4, 4, 3), 2.0, np.float32))
    np.testing.assert_allclose(next(iter(found.values())), np.full((3, 3), 2.0))


@pytest.mark.parametrize("name", ["variables", "variables/variables.index", "saved_model.pb"])
def test_a_savedmodel_that_lacks_a_part_is_never_a_pass(copied, name):
    import shutil

    path = copied("savedmodel", manifest=False)
    lost = path / name
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    if name == "saved_model.pb":
        with pytest.raises(ModelFileError, match=r"without saved_model\.pb"):
            verify(path)
        return
    assert verify(path).verdict is Verdict.FAIL
    (path / "assets.extra" / f"{SEAL_KEY}.json").unlink()
    assert "its seal is missing" in verify(path).damage
    shutil.rmtree(path / "assets.extra")  # nor for TensorFlow itself
    with pytest.raises(RuntimeFailure, match="TensorFlow cannot load it") as caught:
        open_session(path)
    assert "\n" not in str(caught.value)


def write_damaged(name: str, source: Path, folder: Path) -> list[Path]:
    """Copies that no seal protects: cut, spoilt at random, or of another kind altogether."""
    data, suffix = source.read_bytes(), source.suffix
    unmarked = strip_seal(data)
    rng = np.random.default_rng(1)
    contents = {"empty": b"", "text": b"this is no model\n" * 50}
    contents["random"] = rng.integers(0, 256, 5000, np.uint8).tobytes()
    contents["head"] = data[:8] + contents["random"]
    for share in (0.05, 0.3, 0.6, 0.9, 0.99):
        contents[f"cut{share}"] = unmarked[: int(len(data) * share)]
    for number in range(4):
        spoilt = bytearray(unmarked)
        for place in rng.integers(0, len(data), 200 if number % 2 else 3):
            spoilt[place] = int(rng.integers(0, 256))
        contents[f"spoilt{number}"] = bytes(spoilt)
    paths = []
    for key, content in contents.items():
        paths.append(folder / f"{name}-{key}{suffix}")
        paths[-1].write_bytes(content)
    return paths


@pytest.mark.parametrize(
    "name", ["tflite-int8", pytest.param("tflite-float32", marks=pytest.mark.long), "onnx-float32"]
)
def test_damage_that_a_runtime_sees_is_refused_or_fails_but_never_crashes(exported, tmp_path, name):
    paths = write_damaged(name, exported[name], tmp_path)
    # In a process of its own: damage that a runtime gets to see may take the process down.
    found = run_program("open_damaged", *paths)
    assert found.returncode == 0, found.stdout[-300:] + found.stderr[-2000:]
    lines = [line.split() for line in found.stdout.splitlines()]
    assert len(lines) == 2 * len(paths)
    for file, check, kind, what in lines:
        spoilt = "spoilt" in file  # a few changed bytes may leave a file that works
        assert kind == "refused" or spoilt, (file, check, kind, what)
    assert sum(kind == "refused" for _, _, kind, _ in lines) >= 2 * 9
