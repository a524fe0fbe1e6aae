"""Reading GCViT weights in the published file's layout, from files that are written here."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from edgevit.base.errors import ModelFileError
from edgevit.models import gcvit_weights
from edgevit.models.build import Plan, build_plan, plan_model
from edgevit.models.gcvit_weights import PORTED_URL, read_ported

SMALL = {
    "image_size": 32,
    "dim": 8,
    "depths": (2, 3),
    "num_heads": (2, 4),
    "window_sizes": (2, 4),
    "num_classes": 5,
}
BOTH = ("vars/0", "vars/1")
MBCONV = [
    "conv/depthwise_conv2d/vars/0",
    "conv/squeeze_and_excitation/fc/dense/vars/0",
    "conv/squeeze_and_excitation/fc/dense_1/vars/0",
    "conv/conv2d/vars/0",
]
NORMS = [f"{norm}/{name}" for norm in ("norm1", "norm2") for name in BOTH]
DOWN = [*MBCONV, "reduction/vars/0", *NORMS]
DENSE = [
    f"{part}/{name}" for part in ("attn/qkv", "attn/proj", "mlp/fc1", "mlp/fc2") for name in BOTH
]
BLOCK = [*NORMS[:2], "attn/vars/0", *DENSE[:4], *NORMS[2:], *DENSE[4:]]
QUERY = "q_global_gen/to_q_global/feature_extraction"
# The parts of SMALL and what they hold, in the order of our weights.
PARTS = [
    ("patch_embed", ["proj/vars/0", "proj/vars/1", *(f"conv_down/{name}" for name in DOWN)]),
    ("level/blocks/block", BLOCK),
    ("level/blocks/block_1", BLOCK),
    ("level/down", DOWN),
    (f"level/{QUERY}", MBCONV),
    (f"level/{QUERY}_1", MBCONV),
    ("level_1/blocks/block", BLOCK),
    ("level_1/blocks/block_1", BLOCK),
    ("level_1/blocks/block_2", BLOCK),
    (f"level_1/{QUERY}", MBCONV),
    ("norm", BOTH),
    ("head", BOTH),
]


def recent_name(name: str) -> str:
    """As Keras 3 names it: the head is visited first, then the list of the model's layers."""
    if name.startswith("head/"):
        return name
    return f"layers/{name}".replace("layers/norm/", "layers/layer_normalization/")


def plain_name(name: str) -> str:
    """Where Keras visits the attributes only."""
    return f"levels/{name}" if name.startswith("level") else name


def write_file(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A .keras archive, or the HDF5 file alone."""
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    if path.suffix != ".keras":
        path.write_bytes(memory.getvalue())
        return path
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", memory.getvalue())
    return path


@pytest.fixture(scope="module")
def planned() -> tuple[Plan, keras.Model]:
    """The small network; no test changes its weights."""
    plan = plan_model("gcvit", **SMALL)
    return plan, build_plan(plan)


@pytest.fixture(scope="module")
def stored(planned) -> dict[str, np.ndarray]:
    """Arrays by their plain names, each with values of its own."""
    rng = np.random.default_rng(4)
    names = [f"{part}/{name}" for part, members in PARTS for name in members]
    weights = planned[1].get_weights()
    return {
        name: rng.normal(size=weight.shape).astype(np.float32)
        for name, weight in zip(names, weights, strict=True)
    }


@pytest.fixture
def write(stored, tmp_path) -> Callable[..., Path]:
    """A function (name of the file, changed arrays; None: left out) -> its path."""

    def write(file: str = "gcvit.keras", naming=recent_name, **changes) -> Path:
        arrays = {naming(name): array for name, array in stored.items()}
        arrays.update(changes.get("arrays", {}))
        kept = {name: array for name, array in arrays.items() if array is not None}
        return write_file(tmp_path / file, kept)

    return write


@pytest.mark.parametrize("naming", [recent_name, plain_name])
@pytest.mark.parametrize("file", ["gcvit.keras", "gcvit.weights.h5"])
def test_every_array_comes_to_its_place(write, planned, stored, file, naming):
    plan, network = planned
    arrays = read_ported(write(file, naming), network, plan.config)
    assert [array.shape for array in arrays] == [tuple(w.shape) for w in network.weights]
    for array, expected in zip(arrays, stored.values(), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_names_lead_to_the_variables_of_the_same_meaning(planned, stored):
    """Where shapes are equal, an exchange would go unnoticed elsewhere."""
    meanings = {
        "patch_embed/conv_down/norm1/vars/1": "stem/down/norm1/beta",
        "level/blocks/block_1/attn/vars/0": "level1/block2/attention/bias_table",
        "level/blocks/block_1/attn/proj/vars/0": "level1/block2/attention/project/kernel",
        "level/blocks/block/mlp/fc1/vars/0": "level1/block1/expand/kernel",
        "level/blocks/block/mlp/fc2/vars/1": "level1/block1/project/bias",
        "level/down/conv/conv2d/vars/0": "level1/down/mbconv/project/kernel",
        "level/down/reduction/vars/0": "level1/down/reduction/kernel",
        f"level/{QUERY}_1/conv/squeeze_and_excitation/fc/dense_1/vars/0": (
            "level1/query/stage2/excite/expand/kernel"
        ),
        f"level/{QUERY}/conv/depthwise_conv2d/vars/0": "level1/query/stage1/depthwise/kernel",
        "level_1/blocks/block_2/norm2/vars/0": "level2/block3/norm2/gamma",
        "norm/vars/0": "norm/gamma",
        "head/vars/0": "classifier/kernel",
    }
    paths = dict(zip(stored, (weight.path for weight in planned[1].weights), strict=True))
    assert {name: paths[name] for name in meanings} == meanings


def test_factors_of_residual_branches_are_read(tmp_path, stored):
    plan = plan_model("gcvit", **SMALL, layer_scale=0.1)
    network = build_plan(plan)
    rng = np.random.default_rng(6)
    arrays = {}
    for part, members in PARTS:
        width = 16 if part.startswith("level_1") else 8
        for name in BOTH if "block" in part else ():
            arrays[f"{part}/{name}"] = rng.normal(size=width).astype(np.float32)
        for name in members:
            arrays[f"{part}/{name}"] = stored[f"{part}/{name}"]
    found = read_ported(write_file(tmp_path / "scaled.keras", arrays), network, plan.config)
    for array, reference in zip(found, arrays.values(), strict=True):
        np.testing.assert_array_equal(array, reference)


@pytest.mark.parametrize("form", ["paper", "tutorial"])
def test_network_computes_with_what_was_read(write, drawn_images, form):
    plan = plan_model("gcvit", form=form, **SMALL)
    network = build_plan(plan)
    network.set_weights(read_ported(write(), network, plan.config))
    logits = keras.ops.convert_to_numpy(
        network(plan.preprocess.apply(drawn_images(2, 32)))["logits"]
    )
    assert logits.shape == (2, 5)
    assert np.isfinite(logits).all()


def test_another_number_of_classes_keeps_the_classifier_of_the_network(write, stored):
    plan = plan_model("gcvit", **{**SMALL, "num_classes": 3})
    network = build_plan(plan)
    fresh = network.get_weights()
    arrays = read_ported(write(), network, plan.config)
    for array, expected in zip(arrays[:-2], list(stored.values())[:-2], strict=True):
        np.testing.assert_array_equal(array, expected)
    for array, expected in zip(arrays[-2:], fresh[-2:], strict=True):
        np.testing.assert_array_equal(array, expected)
    network.set_weights(arrays)


def test_half_precision_arrays_become_float32(write, planned, stored):
    name = "norm/vars/0"
    path = write(arrays={recent_name(name): stored[name].astype(np.float16)})
    arrays = read_ported(path, planned[1], planned[0].config)
    assert {array.dtype for array in arrays} == {np.dtype("float32")}
    np.testing.assert_allclose(arrays[-4], stored[name], rtol=1e-3)


def test_arrays_that_are_not_the_networks_are_passed_over(write, planned):
    extra = np.zeros((3,), np.float32)
    others = ("optimizer/vars/0", "metrics/mean/vars/0", "layers/level_1/down/norm1/vars/0")
    path = write(arrays={name: extra for name in others})
    assert len(read_ported(path, planned[1], planned[0].config)) == len(planned[1].weights)


BLOCK_2 = "layers/level_1/blocks/block_2"


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({f"{BLOCK_2}/attn/vars/0": None}, "holds no level_1/blocks/block_2/attn/vars/0"),
        (
            {f"{BLOCK_2}/attn/vars/0": np.zeros((9, 4))},
            "level_1/blocks/block_2/attn/vars/0 is (9, 4), where the network has (49, 4)",
        ),
        (
            {"layers/level_1/blocks/block_3/norm1/vars/0": np.zeros(16)},
            "holds level_1/blocks/block_3/norm1/vars/0, for which the network has no place",
        ),
        ({"head/vars/0": np.zeros((8, 5))}, "head/vars/0 is (8, 5)"),
        ({"head/vars/0": None}, "holds no head/vars/0"),
        ({"layers/layer_normalization/vars/1": np.full(16, np.nan)}, "norm/vars/1 holds NaN"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_first_array_that_does_not_fit_is_named(write, planned, arrays, said):
    path = write(arrays=arrays)
    with pytest.raises(ModelFileError) as caught:
        read_ported(path, planned[1], planned[0].config)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "\n" not in str(caught.value)


def test_missing_file_says_where_the_published_one_is(planned, tmp_path):
    with pytest.raises(ModelFileError, match="no such file") as caught:
        read_ported(tmp_path / "none.keras", planned[1], planned[0].config)
    assert PORTED_URL in str(caught.value)


@pytest.mark.parametrize("file", ["gcvit.keras", "gcvit.weights.h5"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_damaged_file_is_refused_in_one_line(write, planned, file, share):
    path = write(file)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelFileError) as caught:
        read_ported(path, planned[1], planned[0].config)
    assert "\n" not in str(caught.value)


def test_keras_file_without_weights_is_refused(planned, tmp_path):
    path = tmp_path / "empty.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ModelFileError, match=r"model\.weights\.h5"):
        read_ported(path, planned[1], planned[0].config)


def test_url_is_downloaded_through_keras(write, planned, stored, monkeypatch):
    path, asked = write(), []

    def get_file(name, origin):
        asked.append((name, origin))
        return str(path)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    arrays = read_ported(PORTED_URL, planned[1], planned[0].config)
    assert asked == [("gcvitxxtiny.keras", PORTED_URL)]
    np.testing.assert_array_equal(arrays[0], stored["patch_embed/proj/vars/0"])


def test_failed_download_is_a_model_file_error(planned, monkeypatch):
    def get_file(name, origin):
        raise Exception(f"URL fetch failure on {origin}:\n404")  # as Keras does

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    with pytest.raises(ModelFileError, match="cannot be downloaded") as caught:
        read_ported(PORTED_URL, planned[1], planned[0].config)
    assert "\n" not in str(caught.value)


def test_names_are_as_many_as_weights_at_every_size(planned):
    for variant in ("xxtiny", "small"):
        config = plan_model("gcvit", variant=variant).config
        names = gcvit_weights.ported_names(config)
        assert len(names) == len(set(names)) == 226 + (variant == "small") * (2 * 31 + 13 * 19)
