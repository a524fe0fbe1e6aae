"""What an int8 file gains from is found on samples, and left out where they show no gain."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
pytest.importorskip("ai_edge_litert")

from edgevit.core.format import Format  # noqa: E402
from edgevit.data.calibration import CalibrationSample  # noqa: E402
from edgevit.formats.calibration import find_ranges  # noqa: E402
from edgevit.formats.layer_names import is_levelled  # noqa: E402
from edgevit.formats.tflite.options import TfliteOptions  # noqa: E402
from edgevit.formats.tflite.writer.convert import (  # noqa: E402
    float_graph,
    write_int8,
    write_int8_micro,
)
from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.formats.tflite.writer.passes import find_passes  # noqa: E402
from edgevit.formats.tflite.writer.quantize import choose_form, learn_rounding  # noqa: E402
from edgevit.formats.tflite.writer.quantize.choose_form import (  # noqa: E402
    Form,
    OpenedTrial,
    rewrite,
    run_graph,
)
from edgevit.formats.tflite.writer.quantize.narrow_ranges import (  # noqa: E402
    HIGH,
    LOW,
    list_loose_ends,
    narrow_ranges,
)
from edgevit.frontend.source import Source  # noqa: E402
from edgevit.quantization.choice import relative_errors  # noqa: E402
from edgevit.quantization.levels import channel_scales, weight_levels  # noqa: E402
from edgevit.quantization.trial import trial_of  # noqa: E402
from helpers.sources import source_of  # noqa: E402

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="graphs are traced by TensorFlow"
)
SHAPE, WIDTH, COUNT = (12, 12, 3), 16, 96
OPTIONS = TfliteOptions()
GAINS = ("learn-rounding", "correct-biases", "level-channels", "gate-hard-swish")


def uneven(kernel: np.ndarray, axis: int) -> np.ndarray:
    """Channels of a kernel that differ by a factor of up to thirty."""
    shape = [1] * kernel.ndim
    shape[axis] = -1
    return kernel * np.geomspace(0.05, 1.5, kernel.shape[axis]).reshape(shape)


@pytest.fixture(scope="module")
def source() -> Source:
    """Hard swishes between convolutions with channels of very different size, and a ReLU6."""
    keras.utils.set_random_seed(3)
    images = keras.Input(SHAPE, name="images")
    x = keras.layers.Conv2D(WIDTH, 3, 2, "same", activation="hard_swish", name="first")(images)
    x = keras.layers.DepthwiseConv2D(3, padding="same", activation="hard_swish", name="second")(x)
    x = keras.layers.Conv2D(WIDTH, 1, activation="relu6", name="third")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(images, {"logits": keras.layers.Dense(5, name="logits")(x)})
    for name, axis in (("first", 3), ("second", 2)):
        layer = model.get_layer(name)
        layer.kernel.assign(6 * uneven(np.asarray(layer.kernel), axis))
    # What comes after needs the small channels as much as the large ones.
    third = model.get_layer("third")
    third.kernel.assign(4 * uneven(np.asarray(third.kernel)[:, :, ::-1], 2)[:, :, ::-1])
    return source_of(model)


def draw(count: int, seed: int) -> np.ndarray:
    """uint8 N H W 3: blots, so that pixels side by side are alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(3, axis=1).repeat(3, axis=2)


@pytest.fixture(scope="module")
def record(source):
    said: list[str] = []
    sample = CalibrationSample.of_inputs({"images": draw(COUNT, 2)}, "drawn")
    found = find_ranges(source, Format.TFLITE, OPTIONS, sample, None, said.append)
    assert trial_of(found) is not None
    return found


@pytest.fixture(scope="module")
def trial(source, record) -> OpenedTrial:
    return OpenedTrial(float_graph(source, OPTIONS)[0], trial_of(record), lambda inputs: inputs)


def error_of(source, graph: TfliteGraph) -> float:
    """Relative error on images that nobody has seen."""
    inputs = {"images": draw(200, 7)}
    wanted = run_graph(float_graph(source, OPTIONS)[0], inputs)
    return float(relative_errors(run_graph(graph, inputs), wanted)["logits"].mean())


def written(source, record, folder, write=write_int8, surgery=None):
    path = folder / "chosen.tflite"
    found = write(source, TfliteOptions(surgery=surgery), record, path)
    found.finish({})
    return TfliteGraph(path.read_bytes()), found.steps


def gains_in(steps) -> list[str]:
    return [step.partition(":")[0] for step in steps if step.startswith(GAINS)]


def test_a_file_takes_what_it_gains_from_and_errs_less_on_images_that_nobody_saw(
    source, record, tmp_path
):
    chosen, steps = written(source, record, tmp_path)
    plain, nothing = written(
        source, record, tmp_path, surgery=find_passes("default,no-try-on-samples")
    )
    assert "gate-hard-swish" in gains_in(steps)
    assert gains_in(nothing) == []
    assert error_of(source, chosen) < 0.7 * error_of(source, plain)


def test_without_samples_at_hand_a_file_is_as_it_was(source, record, tmp_path):
    fields = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)[:-1]}
    shipped = type(record).__bases__[0](**fields)
    assert shipped.digest == record.digest
    found, steps = written(source, shipped, tmp_path)
    plain, _ = written(source, record, tmp_path, surgery=find_passes("default,no-try-on-samples"))
    assert gains_in(steps) == []
    assert found.to_bytes() == plain.to_bytes()


def test_what_the_samples_do_not_gain_from_is_left_out(source, record, tmp_path, monkeypatch):
    monkeypatch.setattr(choose_form, "is_nearer", lambda *_: False)
    found, steps = written(source, record, tmp_path)
    plain, _ = written(source, record, tmp_path, surgery=find_passes("default,no-try-on-samples"))
    assert gains_in(steps) == []
    assert found.to_bytes() == plain.to_bytes()


@pytest.mark.parametrize("batch", [4, None])
def test_other_batches_take_the_same_steps(source, record, tmp_path, batch):
    path = tmp_path / "batch.tflite"
    found = write_int8(source, TfliteOptions(batch=batch), record, path)
    single, steps = written(source, record, tmp_path)
    assert gains_in(found.steps) == gains_in(steps)
    found.finish({})
    inputs = {"images": draw(8, 7)}
    outputs = [run_graph(part, inputs) for part in (TfliteGraph(path.read_bytes()), single)]
    np.testing.assert_allclose(*(part["logits"] for part in outputs), atol=0.05)


def test_microcontrollers_keep_their_hard_swishes(source, record, tmp_path):
    found, _ = written(source, record, tmp_path, write=write_int8_micro)
    assert "HARD_SWISH" in found.kinds
    gated, _ = written(source, record, tmp_path)
    assert "HARD_SWISH" not in gated.kinds


def test_a_gated_float_graph_computes_the_same_and_names_what_is_levelled(source, record, trial):
    graph = float_graph(source, OPTIONS)[0]
    gated = rewrite(graph, trial.add_statistics(record), Form(gates=True), trial).graph
    for operator in gated.operators:
        if gated.kind(operator) == "MUL" and "/gate" in gated.name(int(operator.inputs[1])):
            assert is_levelled(gated.name(int(operator.outputs[0])))
    assert "HARD_SWISH" not in gated.kinds
    inputs = {"images": draw(50, 3)}
    wanted, found = (run_graph(part, inputs)["logits"] for part in (graph, gated))
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_covariances_are_those_of_what_weights_meet(source, record, trial, monkeypatch):
    graph = float_graph(source, OPTIONS)[0]
    monkeypatch.setattr(learn_rounding, "PLACES", 10_000)
    gathered = learn_rounding._gather(graph, {}, trial.learnt)
    first = next(op for op in graph.operators if graph.kind(op) == "CONV_2D")
    mean, covariance = gathered[id(first)]
    pixels = trial.learnt["images"].astype(np.float32)  # their scale is in the weights
    patches = tf.image.extract_patches(
        pixels, (1, 3, 3, 1), (1, 2, 2, 1), (1, 1, 1, 1), "SAME"
    ).numpy()
    rows = patches.reshape(-1, patches.shape[-1])
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(covariance, np.cov(rows.T, bias=True), rtol=1e-3)
    depthwise = next(op for op in graph.operators if graph.kind(op) == "DEPTHWISE_CONV_2D")
    mean, covariance = gathered[id(depthwise)]
    assert (mean.shape, covariance.shape) == ((WIDTH, 9), (WIDTH, 9, 9))
    assert (np.linalg.eigvalsh(covariance) > -1e-4).all()


def test_learned_layers_err_less_on_images_that_nobody_saw(source, record, trial):
    graph = float_graph(source, OPTIONS)[0]
    unseen = learn_rounding._gather(graph, {}, {"images": draw(200, 7)})
    first = next(op for op in graph.operators if graph.kind(op) == "CONV_2D")
    rows = graph.constant_input(first, 1).reshape(WIDTH, -1)
    mean, covariance = unseen[id(first)]
    learned = rewrite(graph, record, Form(learned=True), trial).graph
    layer = next(op for op in learned.operators if learned.kind(op) == "CONV_2D")
    scales = channel_scales(rows)
    found = learned.constant_input(layer, 1).reshape(WIDTH, -1)
    errors = []
    for levels in (found, weight_levels(rows, scales) * scales[:, None]):
        moved = levels - rows
        errors.append(((moved @ covariance) * moved).sum())
    assert errors[0] < 0.5 * errors[1]
    shift = learned.constant_input(layer, 2) - graph.constant_input(first, 2)
    assert np.abs((found - rows) @ mean + shift).max() < 0.1 * np.abs((found - rows) @ mean).max()


def test_ends_that_count_are_never_drawn_in(source):
    graph = float_graph(source, OPTIONS)[0]
    ends = list_loose_ends(graph)
    made = graph.makers()

    def name_of(kind: str, place: int = 0) -> str:
        found = [op for op in graph.operators if graph.kind(op) == kind]
        return graph.name(int(found[place].outputs[0]))

    assert "images" not in ends
    assert name_of("FULLY_CONNECTED") not in ends
    first = next(op for op in graph.operators if graph.kind(op) == "CONV_2D")
    assert graph.name(int(first.inputs[0])) not in ends  # pixels
    assert ends[name_of("CONV_2D", 0)] == {HIGH}  # a hard swish is flat below
    assert ends[name_of("HARD_SWISH")] == {HIGH}
    assert ends[name_of("CONV_2D", 1)] == {LOW}  # six is reached again and again
    ranges = {graph.name(index): (-1.0, 2.0) for index in made}
    narrow, line = narrow_ranges(ranges, ends, 0.9)
    assert narrow[name_of("HARD_SWISH")] == pytest.approx((-1.0, 1.8))
    assert narrow[name_of("FULLY_CONNECTED")] == (-1.0, 2.0)
    assert "90 %" in line[0]
    assert narrow_ranges(ranges, ends, 1.0) == (ranges, ())
