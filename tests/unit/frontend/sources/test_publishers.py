"""Models of packages that publish networks: their files open, and say what pixels they take."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from edgevit.base.errors import ConfigError, MissingDependencyError
from edgevit.base.packages import Need
from edgevit.frontend.opening import open_source
from edgevit.frontend.sources import publishers
from edgevit.frontend.sources.table import load_source
from helpers.refusals import line_of

PACKAGE = """
import keras

@keras.saving.register_keras_serializable(package="published_nets")
class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2.0 * x

@keras.saving.register_keras_serializable(package="published_nets")
class Task(keras.Model):
    def __init__(self, layer, **options):
        entry = keras.Input((4,))
        super().__init__(entry, keras.layers.Dense(3)(layer(entry)), **options)
        self.layer = layer

    def get_config(self):
        return {"layer": keras.saving.serialize_keras_object(self.layer), "name": self.name}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("layer")), **config)
"""
VECTORS = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A publisher's package that can be imported, and that nobody has imported yet."""
    known = keras.saving.get_custom_objects()
    before = dict(known)
    (tmp_path / "published_nets.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(publishers, "PUBLISHERS", (Need("published_nets", "hub"),))
    yield "published_nets"
    forget(before)


def forget(known: dict) -> None:
    """Puts back what Keras knew before the package was imported."""
    sys.modules.pop("published_nets", None)
    keras.saving.get_custom_objects().clear()
    keras.saving.get_custom_objects().update(known)
    from keras.src.saving import object_registration

    for table in (object_registration.GLOBAL_CUSTOM_NAMES,):
        for kind in [kind for kind in table if kind.__module__ == "published_nets"]:
            del table[kind]


def saved(path: Path, whole: bool) -> tuple[Path, np.ndarray]:
    """A file of the package's whole model, or of its layer in one of ours, with its outputs."""
    import published_nets

    known = keras.saving.get_custom_objects()
    before = {key: value for key, value in known.items() if not key.startswith("published_nets")}
    entry = keras.Input((4,))
    layer = published_nets.Doubled()
    outer = None if whole else keras.Model(entry, keras.layers.Dense(3)(layer(entry)))
    model = outer or published_nets.Task(layer)
    model.save(path)
    outputs = np.asarray(model(VECTORS))
    forget(before)
    return path, outputs


@pytest.mark.parametrize("form", ["m.keras", "m.h5"])
@pytest.mark.parametrize("whole", [False, True], ids=["a layer", "a model"])
def test_a_file_that_names_a_publisher_s_classes_opens_without_import(
    form, whole, package, tmp_path
):
    path, outputs = saved(tmp_path / form, whole)
    np.testing.assert_allclose(load_source(str(path)).network(VECTORS), outputs, atol=1e-6)


@pytest.mark.parametrize("form", ["m.keras", "m.h5"])
def test_where_the_package_is_missing_a_line_names_the_extra(form, package, tmp_path, monkeypatch):
    path, _ = saved(tmp_path / form, whole=False)
    (tmp_path / "published_nets.py").unlink()
    monkeypatch.setattr(sys, "path_importer_cache", {})
    line = line_of(MissingDependencyError, lambda: load_source(str(path)), f"{path}: ")
    assert "pip install 'edgevit[hub]'" in line


def classifier(converter: object, shape: tuple[int | None, ...] = (8, 8, 3)) -> keras.Model:
    """A model with a preprocessor as keras-hub hangs it on a task."""
    images = keras.Input(shape)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(images))
    model = keras.Model(images, keras.layers.Dense(3)(x), name="task")
    model.preprocessor = SimpleNamespace(image_converter=converter)
    return model


def preparation(model: keras.Model, **opening):
    (spec,) = open_source(model, **opening).signature.inputs
    return spec.preparation


@pytest.mark.parametrize(
    ("scale", "offset", "wanted"),
    [
        ([0.1, 0.2, 0.3], (-1.0, -2.0, -3.0), ((0.1, 0.2, 0.3), (-1.0, -2.0, -3.0))),
        (1 / 127.5, -1, ((1 / 127.5,) * 3, (-1.0,) * 3)),
        (None, None, ((1.0,) * 3, (0.0,) * 3)),
    ],
)
def test_a_preprocessor_that_hangs_on_a_model_says_how_pixels_are_scaled(scale, offset, wanted):
    converter = SimpleNamespace(image_size=None, scale=scale, offset=offset)
    source = open_source(classifier(converter))
    (spec,) = source.signature.inputs
    assert (spec.preparation.scale, spec.preparation.offset) == wanted
    assert spec.preparation.input_size == (8, 8)
    assert source.warnings == ()  # nothing is left to be asked


def test_a_scaling_of_the_user_goes_before_the_preprocessor_s():
    model = classifier(SimpleNamespace(image_size=(8, 8), scale=0.1, offset=None))
    assert preparation(model, scaling="unit").scale == (1 / 255,) * 3
    line = line_of(ConfigError, lambda: open_source(model, scaling="caffe"), "task: ")
    assert "comes with its own scaling" in line


def test_a_free_size_is_fixed_by_the_user_and_raw_pictures_are_the_preprocessor_s():
    model = classifier(
        SimpleNamespace(image_size=(16, 16), scale=0.1, offset=None), (None, None, 3)
    )
    found = preparation(model, image_size=(12, 12))
    assert (found.input_size, found.network_size) == ((12, 12), (12, 12))
    found = preparation(model, input_shape={"images": (1, 8, 8, 3)})
    assert (found.input_size, found.network_size) == ((16, 16), (8, 8))


def test_a_preprocessor_without_pictures_says_nothing():
    assert preparation(classifier(None)).scale == (1.0,) * 3
