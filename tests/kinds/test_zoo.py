"""The zoo and what judges it, by themselves: models are lively, and the check is seen to fail."""

from __future__ import annotations

import numpy as np
import pytest

from kinds.check import LIMITS, Agreement, Mismatch, check, compare, dequantise, measure, quantise
from kinds.float_model import prepare, run_keras, scale_pixels
from kinds.lively import calm, find_still
from kinds.zoo import KINDS, NETWORKS, build_kind, built

SOME = ("gray", "two_heads", "siamese", "shared_layers")
FLOAT32 = LIMITS["float32"]


def each_kind():
    """Every kind; most of them in the long suite."""
    return [pytest.param(name, marks=() if name in SOME else pytest.mark.long) for name in KINDS]


def each_network():
    """Every published network whose package is installed, in the long suite."""
    return [
        pytest.param(name, marks=[pytest.mark.long, unless_missing(kind)])
        for name, kind in NETWORKS.items()
    ]


def unless_missing(kind):
    reason = f"{kind.package} is not installed: make test-hub (edgevit[hub])"
    return pytest.mark.skipif(kind.missing, reason=reason)


@pytest.mark.parametrize("name", [*each_kind(), *each_network()])
def test_outputs_have_the_expected_names_and_vary_over_the_inputs(name):
    kind = {**KINDS, **NETWORKS}[name]
    outputs = run_keras(kind, built(name), kind.draw(48, seed=4))
    assert list(outputs) == list(kind.outputs)
    variation = {key: out.variation for key, out in kind.outputs.items()}
    assert find_still(outputs, variation) == []


@pytest.mark.parametrize("name", each_kind())
def test_the_same_seed_makes_the_same_model_and_the_same_inputs(name):
    kind = KINDS[name]
    for first, second in zip(built(name).weights, build_kind(kind).weights, strict=True):
        np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
    for key, values in kind.draw(3, seed=9).items():
        np.testing.assert_array_equal(values, kind.draw(3, seed=9)[key])
        assert not np.array_equal(values, kind.draw(3, seed=8)[key])


@pytest.mark.parametrize("branch_first", [True, False])
def test_calm_weakens_the_branch_and_not_what_it_is_added_to(branch_first):
    """EfficientNet adds the shortcut to the branch, MobileNetV2 the branch to the shortcut."""
    import keras
    from keras import layers

    given = keras.Input((6,))
    stem = layers.BatchNormalization(name="stem")(layers.Dense(4)(given))
    branch = layers.BatchNormalization(name="branch")(layers.Dense(4, "relu")(stem))
    model = keras.Model(given, layers.Add()([branch, stem] if branch_first else [stem, branch]))
    calm(model, np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32))
    gains = {name: np.asarray(model.get_layer(name).gamma) for name in ("stem", "branch")}
    np.testing.assert_array_equal(gains["stem"], 1.0)
    np.testing.assert_array_equal(gains["branch"], 0.25)


@pytest.mark.parametrize("name", ["mobilenet", "sequential"])
def test_batch_norms_have_seen_activations_and_biases_are_not_zero(name):
    import keras

    layers = built(name)._flatten_layers()
    norms = [one for one in layers if isinstance(one, keras.layers.BatchNormalization)]
    assert norms
    for norm in norms:
        assert np.abs(np.asarray(norm.moving_mean)).min() > 0
        assert np.asarray(norm.moving_variance).std() > 1e-3
        assert np.asarray(norm.gamma).std() > 0.1
    for weight in built(name).weights:
        if weight.path.endswith(("bias", "beta")):
            assert np.abs(np.asarray(weight)).max() > 0.01


def test_a_still_output_is_found():
    moving, still = np.arange(12.0).reshape(4, 3), np.ones((4, 3))
    wanted = {"a": 0.1, "b": 0.1}
    assert find_still({"a": moving}, wanted) == []
    assert len(find_still({"a": moving, "b": still}, wanted)) == 1
    assert find_still({"b": still * np.nan}, wanted) == ["b is not finite"]


def test_pixels_are_resized_as_tensorflow_resizes():
    import tensorflow as tf

    pixels = KINDS["resized"].draw(2, seed=1)["image"]
    for size in ((16, 16), (31, 57)):
        wanted = tf.image.resize(pixels.astype(np.float32), size).numpy() / 127.5 - 1
        np.testing.assert_allclose(scale_pixels(pixels, "signed", size), wanted, atol=1e-5)


@pytest.mark.parametrize("role", ["logits", "probabilities", "mask", "values", "map"])
def test_another_output_is_no_agreement(role):
    rng = np.random.default_rng(0)
    wanted = rng.uniform(0, 1, (40, 5))
    wanted /= wanted.sum(axis=-1, keepdims=True)
    assert FLOAT32.holds(measure(wanted + 1e-7, wanted, role))
    assert not FLOAT32.holds(measure(wanted[:, ::-1], wanted, role))
    assert not FLOAT32.holds(measure(wanted * 1.05, wanted, role))
    assert not FLOAT32.holds(measure(wanted * np.nan, wanted, role))
    assert not LIMITS["int8"].holds(measure(wanted[:, ::-1], wanted, role))


def test_a_small_column_of_values_counts_in_its_own_unit():
    wanted = np.random.default_rng(0).normal(0, (1e-3, 1, 1e4), (40, 3))
    wrong = wanted * (0, 1, 1)
    assert measure(wrong, wanted, "values").mean > 0.5
    assert measure(wrong, wanted, "map").mean < 1e-6


def test_other_labels_and_other_directions_are_no_agreement():
    labels = np.arange(40) % 5
    assert FLOAT32.holds(measure(labels, labels, "labels"))
    assert measure((labels + 1) % 5, labels, "labels").share == 0
    vectors = np.random.default_rng(0).normal(0, 1, (40, 16))
    assert measure(-vectors, vectors, "embedding").share == pytest.approx(-1)


def test_two_sides_of_a_threshold_are_no_agreement():
    chances = np.linspace(0.01, 0.99, 40)[:, None]
    assert measure(1 - chances, chances, "probabilities").share < 0.1
    tags = np.random.default_rng(0).uniform(0, 1, (40, 6))
    assert 0.3 < measure(1 - tags, tags, "probabilities").share + 0.5 < 0.7


def test_numbers_go_in_and_out_by_the_scales_of_the_file():
    detail = {"name": "x", "dtype": np.int8, "quantization": (0.5, -3)}
    np.testing.assert_array_equal(quantise(np.array([0.0, 1.0, 999.0]), detail), [-3, -1, 127])
    np.testing.assert_array_equal(dequantise(np.array([-3, -1], np.int8), detail), [0, 1])
    pixels = np.arange(3, dtype=np.uint8)
    raw = {"name": "x", "dtype": np.uint8, "quantization": (1.0, 0)}
    assert quantise(pixels, raw) is pixels
    with pytest.raises(Mismatch, match="raw pixels"):
        quantise(pixels, {**raw, "quantization": (1 / 255, 0)})


def test_another_shape_is_a_mismatch():
    wanted = {"digit": np.zeros((4, 10))}
    with pytest.raises(Mismatch, match="shape"):
        compare({"digit": np.zeros((4, 1, 10))}, wanted, KINDS["gray"])


def convert_stock(name: str, damage: float = 0.0) -> bytes:
    """A float .tflite of a kind by TensorFlow's converter, raw pixels scaled inside."""
    import tensorflow as tf

    kind, model = KINDS[name], built(name)
    raw = kind.draw(1, seed=0)

    @tf.function(
        input_signature=[tf.TensorSpec(v.shape, v.dtype, name=key) for key, v in raw.items()]
    )
    def forward(*arguments):
        entering = [tf.cast(x, tf.float32) / 255 if x.dtype == tf.uint8 else x for x in arguments]
        outputs = model(entering if len(entering) > 1 else entering[0], training=False)
        return {key: outputs + damage for key in kind.outputs}

    module = tf.Module()
    module.forward, module.weights = forward, [weight.value for weight in model.weights]
    concrete = forward.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert()


@pytest.mark.parametrize("name", ["gray", "siamese"])
def test_a_file_of_another_converter_is_right_and_a_damaged_one_is_not(name, tmp_path):
    kind, path = KINDS[name], tmp_path / "stock.tflite"
    raw = kind.draw(8, seed=3)
    path.write_bytes(convert_stock(name))
    assert all(FLOAT32.holds(found) for found in check(path, kind, built(name), raw).values())
    path.write_bytes(convert_stock(name, damage=0.1))
    assert not any(FLOAT32.holds(found) for found in check(path, kind, built(name), raw).values())


def test_inputs_in_another_order_are_a_mismatch(tmp_path):
    path = tmp_path / "stock.tflite"
    path.write_bytes(convert_stock("siamese"))
    raw = KINDS["siamese"].draw(4, seed=3)
    turned = dict(reversed(raw.items()))
    with pytest.raises(Mismatch, match="inputs are"):
        check(path, KINDS["siamese"], built("siamese"), turned)


@pytest.mark.parametrize(("same", "holds"), [(24, True), (20, True), (18, False)])
def test_a_share_of_few_is_as_far_off_as_chance_allows(same, holds):
    """Of 32 inputs, where 75 % are asked."""
    rng = np.random.default_rng(0)
    wanted = rng.normal(0, 1, (32, 4))
    wanted[:, 3] = wanted[:, :3].max(axis=1) + 0.01
    found = wanted.copy()
    found[same:, 3] -= 0.02
    agreement = measure(found, wanted, "logits")
    assert agreement.share == same / 32
    assert LIMITS["int8"].holds(agreement) is holds


def test_a_class_counts_as_another_where_more_than_errors_lie_between():
    """Two scores lie 0.05 apart: errors of 0.1 choose between them, and turned scores do not."""
    rng = np.random.default_rng(0)
    wanted = rng.normal(0, 1, (64, 4))
    wanted[:, 3] = wanted[:, :3].max(axis=1) + 0.05
    near, turned, few = wanted + rng.normal(0, 0.1, wanted.shape), wanted[:, ::-1], wanted.copy()
    few[:12] = turned[:12]
    assert (near.argmax(axis=1) == 3).mean() < 0.75
    assert measure(near, wanted, "logits").share >= 0.95
    assert measure(few, wanted, "logits").share <= 0.9
    assert not LIMITS["int8"].holds(measure(turned, wanted, "logits"))


def test_values_are_noise_where_most_of_their_columns_are():
    rng = np.random.default_rng(0)
    wanted = rng.normal(0, 1, (200, 5))
    for columns, noise in ((1, False), (3, True)):
        found = wanted.copy()
        found[:, :columns] += rng.normal(0, 3, (200, columns))
        assert measure(found, wanted, "values").mean > 0.9
        assert measure(found, wanted, "values").is_noise is noise


def test_an_agreement_that_is_not_a_number_holds_no_limit():
    assert FLOAT32.holds(Agreement(0.0, 0.0))
    assert not FLOAT32.holds(Agreement(0.0, float("nan")))


def test_a_model_of_several_inputs_takes_them_in_its_order():
    kind = KINDS["siamese"]
    raw = kind.draw(2, seed=3)
    first, second = prepare(kind, built("siamese"), raw)
    np.testing.assert_allclose(first, raw["signature"] / 255, atol=1e-6)
    np.testing.assert_allclose(second, raw["against"] / 255, atol=1e-6)
