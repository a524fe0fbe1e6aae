"""Golden inputs and outputs: drawn again from a recipe, refused when anything was touched."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edgevit.base.documents import encode_array, to_json
from edgevit.base.errors import ModelFileError
from edgevit.core.golden_images import draw_images
from edgevit.core.golden_inputs import Draw, draw_inputs
from edgevit.core.reference import (
    FEW,
    LARGE_BYTES,
    OWN_BYTES,
    SMALL_BYTES,
    ReferenceSet,
    Samples,
    count_recorded,
)

COUNT, SEED = 12, 4
DRAWS = {
    "photo": Draw((9, 10, 1), "uint8", picture=True),
    "state": Draw((5,), "float32"),
    "tokens": Draw((6,), "int32", levels=30),
}


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def reference() -> ReferenceSet:
    outputs = {"logits": noise(COUNT, 5), "map": noise(3, 2, 2, 4)}
    synthetic = Samples(draw_inputs(DRAWS, COUNT, SEED), outputs)
    own = Samples(
        draw_inputs(DRAWS, 7, 99),
        {"logits": noise(7, 5, seed=2), "map": noise(3, 2, 2, 4, seed=3)},
        labels=np.arange(7),
    )
    return ReferenceSet(synthetic, DRAWS, SEED, own)


@pytest.fixture
def document(reference) -> dict:
    return json.loads(to_json(reference.to_document()))


def assert_same(found: Samples, expected: Samples) -> None:
    for side in ("inputs", "outputs"):
        values, wanted = getattr(found, side), getattr(expected, side)
        assert list(values) == list(wanted)
        for name in wanted:
            assert values[name].dtype == wanted[name].dtype
            assert values[name].tobytes() == wanted[name].tobytes()


def test_a_reference_survives_the_round_trip_bit_for_bit(reference, document):
    found = ReferenceSet.from_document(document, "x")
    assert_same(found.synthetic, reference.synthetic)
    assert_same(found.own, reference.own)
    np.testing.assert_array_equal(found.own.labels, reference.own.labels)
    assert (found.seed, found.draws, found.digest) == (SEED, DRAWS, reference.digest)


def test_the_document_holds_the_recipe_and_the_first_eight_inputs_only(reference, document):
    firsts = {name: entry["first"]["shape"][0] for name, entry in document["inputs"].items()}
    assert firsts == dict.fromkeys(DRAWS, 8)
    alone = replace(reference, own=None).to_document()
    assert "own" not in alone
    pixels = 8 * 9 * 10 * 4 / 3
    assert len(to_json(alone)) < pixels + 4000


def test_large_images_are_embedded_one_at_a_time_at_least():
    draws = {"images": Draw((160, 160, 3), "uint8", picture=True)}
    samples = Samples(draw_inputs(draws, 2), {"logits": noise(2, 3)})
    found = ReferenceSet(samples, draws).to_document()
    assert len(found["inputs"]["images"]["first"]["shape"]) == 4
    assert found["inputs"]["images"]["first"]["shape"][0] == 1


@pytest.mark.parametrize("name", ["logits", "map"])
def test_one_changed_output_is_refused(reference, document, name):
    values = reference.synthetic.outputs[name].copy()
    values.flat[3] = np.nextafter(values.flat[3], 9)
    document["outputs"][name] = encode_array(values)
    with pytest.raises(ModelFileError, match=r"net\.onnx: its embedded reference outputs"):
        ReferenceSet.from_document(document, "net.onnx")


def test_swapped_rows_of_outputs_are_refused(reference, document):
    document["outputs"]["logits"] = encode_array(reference.synthetic.outputs["logits"][::-1])
    with pytest.raises(ModelFileError, match="embedded reference outputs are damaged"):
        ReferenceSet.from_document(document, "net.onnx")


@pytest.mark.parametrize("name", DRAWS)
def test_one_changed_value_of_the_embedded_inputs_is_refused(reference, document, name):
    values = reference.synthetic.inputs[name][:8].copy()
    values.flat[-1] += 1
    document["inputs"][name]["first"] = encode_array(values)
    with pytest.raises(ModelFileError, match="cannot be drawn again"):
        ReferenceSet.from_document(document, "net.onnx")


def test_inputs_of_another_seed_are_refused(document):
    with pytest.raises(ModelFileError, match="cannot be drawn again"):
        ReferenceSet.from_document({**document, "seed": 5}, "net.onnx")


def test_another_generator_is_refused_by_name(document):
    with pytest.raises(ModelFileError, match="'dead-leaves-9'"):
        ReferenceSet.from_document({**document, "generator": "dead-leaves-9"}, "net.onnx")


def changed_draw(**changes) -> dict:
    return {"draw": {"shape": [9, 10, 1], "dtype": "uint8", "picture": True} | changes}


@pytest.mark.parametrize(
    "damage",
    [
        {"count": 11},
        {"count": 0},
        {"count": 1 << 40},
        {"count": "many"},
        {"seed": -1},
        {"seed": "first"},
        {"inputs": {}},
        {"inputs": None},
        {"inputs": {"photo": {}}},
        {"outputs": {}},
        {"outputs": None},
        {"outputs": {"logits": {}}},
        {"outputs_sha256": "00"},
        {"own": 3},
        {"own": {"inputs": {}}},
    ],
    ids=str,
)
def test_any_other_damage_is_refused_in_one_line(document, damage):
    with pytest.raises(ModelFileError, match=r"^net\.onnx: ") as caught:
        ReferenceSet.from_document({**document, **damage}, "net.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [
        changed_draw(shape=[9, 11, 1]),
        changed_draw(shape=[-9, 10, 1]),
        changed_draw(shape=[10, 1]),
        changed_draw(shape=[]),
        changed_draw(shape=["a"]),
        changed_draw(shape=9),
        changed_draw(shape=[1_000_000, 1_000_000, 3]),
        changed_draw(shape=[9, 10, 0]),
        changed_draw(dtype="float33"),
        changed_draw(dtype="object"),
        changed_draw(dtype="float32", picture=False),
        changed_draw(dtype="int32", picture=False, levels=-4),
        changed_draw(levels="all"),
        changed_draw(dtype="int32"),
        {"sha256": "00"},
        {"first": {"dtype": "uint8", "shape": [1], "base64": "!"}},
        {"first": {"dtype": "uint8", "shape": [0], "base64": ""}},
    ],
    ids=str,
)
def test_any_damage_of_a_recipe_is_refused_in_one_line(document, damage):
    document["inputs"]["photo"] |= damage
    with pytest.raises(ModelFileError, match=r"^net\.onnx: ") as caught:
        ReferenceSet.from_document(document, "net.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("broken", [[], None, "text"], ids=str)
def test_a_reference_that_is_no_object_is_refused(broken):
    with pytest.raises(ModelFileError, match="embedded reference is damaged"):
        ReferenceSet.from_document(broken, "net.onnx")


def test_the_digest_covers_inputs_and_outputs_of_both_kinds_of_samples(reference):
    def turned(samples: Samples, side: str, name: str) -> Samples:
        values = getattr(samples, side)
        return replace(samples, **{side: {**values, name: values[name][::-1]}})

    found = {reference.digest, replace(reference, own=None).digest}
    for side, name in (("inputs", "photo"), ("inputs", "tokens"), ("outputs", "map")):
        found.add(replace(reference, synthetic=turned(reference.synthetic, side, name)).digest)
        found.add(replace(reference, own=turned(reference.own, side, name)).digest)
    assert len(found) == 8


def test_changed_own_samples_have_another_digest(reference, document):
    values = reference.own.outputs["logits"].copy()
    values[2, 1] += 1
    document["own"]["outputs"]["logits"] = encode_array(values)
    assert ReferenceSet.from_document(document, "x").digest != reference.digest


def test_own_samples_travel_as_far_as_they_fit_and_not_at_all_when_that_is_refused():
    draws = {"images": Draw((64, 64, 3), "uint8", picture=True)}
    inputs = {"images": draw_images(2, (64, 64))}
    outputs = {"logits": noise(64, 10)}
    own = Samples({"images": np.zeros((64, 64, 64, 3), np.uint8)}, outputs, np.arange(64))
    reference = ReferenceSet(Samples(inputs, {"logits": noise(2, 10)}), draws, 0, own)
    embedded = reference.embed().own
    assert own.size_bytes == 64 * 64 * 3 + 40
    assert len(embedded) == OWN_BYTES // own.size_bytes
    assert len(embedded.outputs["logits"]) == len(embedded.labels) == len(embedded)
    assert sum(v.nbytes for v in embedded.inputs.values()) <= OWN_BYTES
    assert reference.embed(samples=False).own is None
    assert reference.embed(samples=False).synthetic is reference.synthetic


def test_own_samples_that_are_too_large_stay_outside(reference):
    large = Samples({"images": np.zeros((2, 500, 500, 3), np.uint8)}, {"logits": noise(2, 5)})
    assert replace(reference, own=large).embed().own is None
    assert replace(reference, own=None).embed().own is None


def test_large_outputs_are_recorded_on_few_inputs():
    assert count_recorded(SMALL_BYTES, 256) == 256
    assert count_recorded(SMALL_BYTES + 1, 256) == FEW
    assert count_recorded(SMALL_BYTES + 1, 9) == 9
    assert count_recorded(LARGE_BYTES // 4, 256) == 4
    assert count_recorded(10 * LARGE_BYTES, 256) == 1


# Files of the first version: one input of RGB pictures, the first output apart from the others.


@pytest.fixture
def first_version() -> tuple[dict, np.ndarray, np.ndarray]:
    """(a document as files held it before models had several inputs, its logits, another output)"""
    images, logits, gates = draw_images(COUNT, (9, 10), 4), noise(COUNT, 5), noise(3, 4, seed=1)
    document = {
        "generator": "dead-leaves-1",
        "seed": 4,
        "count": COUNT,
        "size": [9, 10],
        "images_sha256": digest(images),
        "logits_sha256": digest(logits),
        "logits": encode_array(logits),
        "first_images": encode_array(images[:8]),
        "others": {"gates": encode_array(gates)},
    }
    return json.loads(to_json(document)), logits, gates


def digest(*arrays: np.ndarray) -> str:
    import hashlib

    found = hashlib.sha256()
    for array in arrays:
        found.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def test_a_reference_of_the_first_version_is_read_as_one_input_of_pictures(first_version):
    document, logits, gates = first_version
    found = ReferenceSet.from_document(document, "x")
    assert found.draws == {"images": Draw((9, 10, 3), "uint8", picture=True)}
    images = draw_images(COUNT, (9, 10), 4)
    assert_same(found.synthetic, Samples({"images": images}, {"logits": logits, "gates": gates}))
    # What the manifests of such files recorded.
    assert found.digest == digest(images, logits, gates)


@pytest.mark.parametrize(
    "damage",
    [
        {"count": 11},
        {"size": [9, 11]},
        {"seed": 5},
        {"seed": -1},
        {"images_sha256": "00"},
        {"logits_sha256": "00"},
        {"logits": None},
        {"generator": "dead-leaves-9"},
        {"first_images": {"dtype": "uint8", "shape": [0], "base64": ""}},
    ],
    ids=str,
)
def test_damage_of_the_first_version_is_refused_in_one_line(first_version, damage):
    with pytest.raises(ModelFileError, match=r"^net\.onnx: ") as caught:
        ReferenceSet.from_document({**first_version[0], **damage}, "net.onnx")
    assert "\n" not in str(caught.value)
