"""A file cannot make a network that is far larger than itself."""

from __future__ import annotations

import json
import zipfile

import keras
import pytest

from edgevit.base.errors import ModelFileError
from edgevit.frontend.opening import open_source
from edgevit.frontend.sources.configs import check_form
from edgevit.models.bounded import MOST_WEIGHTS, bounded_weights


def test_weights_beyond_what_is_held_are_refused_before_they_are_made():
    refused = pytest.raises(ModelFileError, match="declares 1 weights or more")
    with refused, bounded_weights("x", held=1000):
        keras.layers.Dense(10**9).build((None, 10**6))


def test_a_network_as_large_as_its_file_is_built_and_the_layers_are_put_back():
    before = keras.layers.Layer.add_weight
    with bounded_weights("x", held=4 * 11 * 5):
        layer = keras.layers.Dense(5)
        layer.build((None, 10))
    assert layer.kernel.shape == (10, 5)
    assert keras.layers.Layer.add_weight is before
    assert MOST_WEIGHTS > 10_000  # the largest networks of keras.applications have 3,000


@pytest.mark.parametrize("field", ["module", "registered_name"])
@pytest.mark.parametrize("value", [3, True, 1.5, ["keras"], {}])
def test_names_that_are_no_text_are_damage(field, value):
    node = {"class_name": "Dense", "config": {}, field: value}
    with pytest.raises(ModelFileError, match="is no text"):
        check_form("x", {"class_name": "Functional", "config": {"layers": [node]}})


def grow(path, layer: str, field: str, value: object) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    for row in config["config"]["layers"]:
        if row["class_name"] == layer:
            row["config"][field] = value
            row.pop("build_config", None)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("layer", "field", "value", "said"),
    [
        ("Dense", "units", 10**9, "declares 3 weights or more"),
        ("InputLayer", "batch_shape", [None, 60_000, 60_000, 3], "for one sample"),
        ("Conv2D", "strides", [1, 2**31], "which no kernel takes"),
    ],
)
def test_a_small_file_of_a_huge_network_is_one_line(tmp_path, layer, field, value, said):
    layers = [
        keras.Input((8, 8, 3)),
        keras.layers.Conv2D(4, 3),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3),
    ]
    path = tmp_path / "net.keras"
    keras.Sequential(layers).save(path)
    grow(path, layer, field, value)
    with pytest.raises(ModelFileError, match=said):
        open_source(path)
