"""Files that other converters made of a model, held against it: verdict and line of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit.base.errors import EdgevitError
from edgevit.core.parity import Verdict
from edgevit.verbs.diff import diff
from edgevit.verbs.verify import Verification, verify

SIDE = 16


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A .keras file of a small classifier with two outputs, which takes pixels of 0..1."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    images = keras.Input((SIDE, SIDE, 3), name="photo")
    x = layers.Conv2D(12, 3, activation="relu", bias_initializer="random_normal")(images)
    x = layers.LayerNormalization()(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(layers.Conv2D(8, 3, activation="gelu")(x))
    kind = layers.Dense(4, activation="softmax", name="kind")(x)
    size = layers.Dense(2, name="size")(x)
    path = tmp_path_factory.mktemp("model") / "mine.keras"
    keras.Model(images, [kind, size], name="mine").save(path)
    return path


def _load(path: Path) -> Any:
    import keras

    return keras.saving.load_model(path, compile=False)


def _export_folder(path: Path, folder: Path, batch: int = 1) -> Path:
    import keras

    signature = [keras.InputSpec(shape=(batch, SIDE, SIDE, 3), dtype="float32")]
    _load(path).export(
        str(folder), format="tf_saved_model", input_signature=signature, verbose=False
    )
    return folder


def _stock(
    path: Path, out: Path, batch: int = 1, change: Callable[[Any], None] | None = None
) -> Path:
    import tensorflow as tf

    folder = _export_folder(path, out.with_suffix(".folder"), batch)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    if change:
        change(converter)
    out.write_bytes(converter.convert())
    return out


def stock_float(path: Path, folder: Path) -> Path:
    return _stock(path, folder / "stock.tflite")


def batch_of_eight(path: Path, folder: Path) -> Path:
    return _stock(path, folder / "eight.tflite", batch=8)


def dynamic_range(path: Path, folder: Path) -> Path:
    import tensorflow as tf

    def change(converter: Any) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]

    return _stock(path, folder / "dynamic.tflite", change=change)


def float_islands(path: Path, folder: Path) -> Path:
    """'int8' as the documentation of the converter leads to: LayerNormalization stays float."""
    import tensorflow as tf

    rng = np.random.default_rng(0)

    def change(converter: Any) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [rng.random((1, SIDE, SIDE, 3), np.float32)] for _ in range(40)
        )

    return _stock(path, folder / "islands.tflite", change=change)


def without_weights(path: Path, folder: Path) -> Path:
    """The well-known trap of from_concrete_functions with a Keras 3 model."""
    import tensorflow as tf

    model = _load(path)
    function = tf.function(
        lambda photo: model(photo),
        input_signature=[tf.TensorSpec((1, SIDE, SIDE, 3), tf.float32)],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], model
    )
    out = folder / "weightless.tflite"
    out.write_bytes(converter.convert())
    return out


def nan_weights(path: Path, folder: Path) -> Path:
    model = _load(path)
    kernel, *rest = model.get_layer("size").get_weights()
    kernel[0, 0] = np.nan
    model.get_layer("size").set_weights([kernel, *rest])
    broken = folder / "nan.keras"
    model.save(broken)
    return _stock(broken, folder / "nan.tflite")


def other_weights(path: Path, folder: Path) -> Path:
    model = _load(path)
    kernel, *rest = model.get_layer("kind").get_weights()
    model.get_layer("kind").set_weights([1.05 * kernel, *rest])
    other = folder / "other.keras"
    model.save(other)
    return _stock(other, folder / "other.tflite")


def flex(path: Path, folder: Path) -> Path:
    import tensorflow as tf

    class Bits(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, SIDE, SIDE, 3), tf.float32, "photo")])
        def run(self, photo):
            bits = tf.bitcast(photo, tf.int32)
            mean = tf.reduce_mean(tf.cast(tf.bitwise.invert(bits), tf.float32), (1, 2))
            return {"kind": tf.pad(mean, [[0, 0], [0, 1]]), "size": mean[:, :2]}

    module = Bits()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.run.get_concrete_function()], module
    )
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    ]
    out = folder / "flex.tflite"
    out.write_bytes(converter.convert())
    return out


def saved_model(path: Path, folder: Path) -> Path:
    return _export_folder(path, folder / "saved")


def keras_onnx(path: Path, folder: Path) -> Path:
    """Keras' own exporter leaves Erfc, which is no ONNX operator, and returns normally."""
    import keras

    out = folder / "keras.onnx"
    signature = [keras.InputSpec(shape=(1, SIDE, SIDE, 3), dtype="float32")]
    _load(path).export(str(out), format="onnx", input_signature=signature, verbose=False)
    return out


# name -> (what makes the file, verdict, words of the line; None: no error)
MADE: dict[str, tuple[Callable[[Path, Path], Path], Verdict | None, str]] = {
    "stock_float": (stock_float, Verdict.PASS, ""),
    "batch_of_eight": (batch_of_eight, Verdict.PASS, ""),
    "dynamic_range": (dynamic_range, Verdict.PASS, ""),
    "float_islands": (float_islands, Verdict.PASS, ""),
    "saved_model": (saved_model, Verdict.PASS, ""),
    "without_weights": (without_weights, None, "LiteRT cannot run it"),
    "nan_weights": (nan_weights, Verdict.FAIL, ""),
    "other_weights": (other_weights, Verdict.FAIL, ""),
    "flex": (flex, Verdict.FAIL, "FlexInvert"),
    "keras_onnx": (keras_onnx, Verdict.FAIL, "Erfc"),
}


def _verify(model: Path, file: Path, **opening: Any) -> Verification:
    return verify(file, against=str(model), scaling="unit", **opening)


SLOW = ("batch_of_eight", "dynamic_range", "float_islands", "saved_model")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in SLOW else name for name in MADE]
)
def test_a_file_of_another_tool_gets_its_verdict_and_a_line(name, model, tmp_path):
    make, wanted, words = MADE[name]
    file = make(model, tmp_path)
    if wanted is None:
        with pytest.raises(EdgevitError, match=words):
            _verify(model, file)
        return
    found = _verify(model, file)
    assert found.verdict is wanted
    assert words in found.damage
    if not found.damage:
        assert [output.name for output in found.reports[0].outputs] == ["kind", "size"]
        assert any("'kind' of the model" in line for line in found.matches)


def test_a_file_of_another_model_is_told(model, tmp_path):
    import keras

    other = tmp_path / "other.keras"
    images = keras.Input((SIDE + 4, SIDE, 3))
    keras.Model(images, keras.layers.Dense(4)(keras.layers.Flatten()(images))).save(other)
    with pytest.raises(EdgevitError, match="Is this the model that the file was made of"):
        _verify(other, stock_float(model, tmp_path))


def test_the_layer_of_other_weights_is_named(model, tmp_path):
    found = diff(other_weights(model, tmp_path), str(model), scaling="unit")
    assert [row.layer for row in found.suspects] == ["mine/kind"]
    assert not diff(stock_float(model, tmp_path), str(model), scaling="unit").suspects


def test_a_file_of_another_tool_is_evaluated_and_asked_with_the_scaling_that_it_wants(
    model, tmp_path
):
    from PIL import Image

    from edgevit.core.golden_images import draw_images
    from edgevit.verbs.evaluate import evaluate
    from edgevit.verbs.predict import predict

    file, folder = stock_float(model, tmp_path), tmp_path / "photos"
    images = draw_images(24, (SIDE, SIDE), seed=5)
    found = _load(model)(images / np.float32(255))[0].numpy()
    classes = found.argmax(-1)
    assert len(set(classes)) > 1
    for number, (image, label) in enumerate(zip(images, classes, strict=True)):
        place = folder / "test" / f"class{label}" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place)
    names = tuple(f"class{number}" for number in range(4))
    assert evaluate(file, folder, scaling="unit", class_names=names).top1 == 100
    (answer,) = predict(file, [next(folder.rglob("0.png"))], scaling="unit")
    best = answer.result["classes"][0]
    assert best["index"] == classes[0]
    assert best["probability"] == pytest.approx(found[0].max(), abs=1e-4)
