"""Every task is measured by its own figure: by `evaluate`, and by a budget that trades it."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgevit.base.errors import ConfigError
from edgevit.verbs.evaluate import evaluate, evaluate_task
from edgevit.verbs.export import Budget, export
from kinds.float_model import run_keras
from kinds.zoo import KINDS, built

COUNT, SEED = 40, 11
CALIBRATED_ON = 40
# A kind of each way to say what is true, and what the figure is called there.
FIGURES = {
    "sigmoid_binary": "top-1 accuracy",
    "multi_label": "accuracy",
    "regression": "R2",
    "segment_sigmoid": "mean IoU",
    "embedding": "recall@1",
    "detector": "closeness to the float model",
}
SLOW = pytest.mark.long


@cache
def answers(name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(uint8 COUNT H W C pictures, what the float model says of them)."""
    kind = KINDS[name]
    raw = kind.draw(COUNT, SEED)
    (pixels,) = raw.values()
    return pixels, run_keras(kind, built(name), raw)


def write_pictures(pixels: np.ndarray, folder: Path, names: list[str]) -> None:
    for picture, name in zip(pixels, names, strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)


def write_data(name: str, folder: Path) -> Path:
    """Samples whose truth is what the float model says, so that all of its figures are 1."""
    pixels, said = answers(name)
    (first, *_) = said.values()
    stems = [f"{place:03}" for place in range(COUNT)]
    if name == "segment_sigmoid":
        write_pictures(pixels, folder / "images", [f"{stem}.png" for stem in stems])
        masks = (first[..., 0] > 0.5).astype(np.uint8)
        write_pictures(masks, folder / "masks", [f"{stem}.png" for stem in stems])
        return folder
    if name in ("regression", "multi_label"):
        write_pictures(pixels, folder, [f"{stem}.png" for stem in stems])
        values = first if name == "regression" else (first > 0.5).astype(int)
        with (folder / "truth.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file", *(f"value{place}" for place in range(values.shape[1]))])
            rows.writerows(
                [f"{s}.png", *row] for s, row in zip(stems, values.tolist(), strict=True)
            )
        return folder / "truth.csv"
    if name == "detector":
        write_pictures(pixels, folder, [f"{stem}.png" for stem in stems])
        return folder
    classes = (first[:, 0] > 0.5).astype(int) if name == "sigmoid_binary" else pair_up(first)
    where = [f"class{label:02}/{stem}.png" for label, stem in zip(classes, stems, strict=True)]
    for split in ("train", "test"):
        write_pictures(pixels, folder / split, where)
    return folder


def pair_up(vectors: np.ndarray) -> np.ndarray:
    """Two classes that lie apart: by the sign along the direction that varies most."""
    centred = vectors - vectors.mean(axis=0)
    return (centred @ np.linalg.svd(centred, full_matrices=False)[2][0] > 0).astype(int)


def arguments(name: str) -> dict:
    return {**KINDS[name].arguments, "calibration": KINDS[name].draw(CALIBRATED_ON, 2)}


@pytest.mark.parametrize(
    "name", [n if n == "multi_label" else pytest.param(n, marks=SLOW) for n in FIGURES]
)
def test_a_budget_trades_the_figure_of_the_task(name, tmp_path):
    data = write_data(name, tmp_path / "data")
    outcome = export(
        built(name),
        "tflite-mixed",
        tmp_path / "out",
        budget=Budget(20, data, COUNT),
        accept_loss=True,
        **arguments(name),
    )
    search = outcome.search
    assert outcome.accepted
    assert search.figure == FIGURES[name]
    assert search.drop.points <= 20
    assert search.float_figure == pytest.approx(100, abs=30 if name == "embedding" else 1e-6)
    low, high = search.drop.interval().low, search.drop.interval().high
    assert low <= search.drop.points <= high
    if name in ("multi_label", "regression", "segment_sigmoid"):  # all of the data is searched on
        report = evaluate_task(outcome.artifact.path, data)
        lost = search.float_figure - 100 * next(iter(report.figures.values()))
        assert lost == pytest.approx(search.drop.points, abs=1e-6)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory) -> tuple[Path, Path]:
    """(an int8 file of an embedding, pictures in class folders)"""
    folder = tmp_path_factory.mktemp("embedder")
    outcome = export(
        built("embedding"),
        "tflite-int8",
        folder / "out",
        accept_loss=True,
        **arguments("embedding"),
    )
    return outcome.artifact.path, write_data("embedding", folder / "data")


def test_an_embedding_is_measured_by_its_neighbours_beside_the_float_model(embedder, command):
    path, data = embedder
    built("embedding").save(path.with_name("faces.keras"))
    beside = ("--against", path.with_name("faces.keras"))
    answer = command("evaluate", path, "--data", data, *beside, "--json")
    assert answer.code == 0, answer.err
    found = answer.document
    assert (found["task"], found["images"], found["figure"]) == ("embedding", COUNT, "recall@1")
    assert found["figures"]["chance"] < 0.6 < found["figures"]["recall_at_1"]
    low, high = found["interval"]
    assert low <= found["figures"]["recall_at_1"] <= high
    assert set(found["rows"]) == {"class00", "class01"}
    float_recall = found["float_model"]["figures"]["recall_at_1"]
    lost = 100 * (float_recall - found["figures"]["recall_at_1"])
    assert found["float_model"]["points_lost"] == pytest.approx(lost)
    text = command("evaluate", path, "--data", data, *beside).out
    assert "95 % interval of recall@1" in text
    assert "the file loses" in text


def test_samples_without_labels_are_held_to_the_float_model_alone(embedder, command, tmp_path):
    path, _ = embedder
    write_pictures(answers("embedding")[0], tmp_path / "plain", [f"{n}.png" for n in range(COUNT)])
    answer = command("evaluate", path, "--data", tmp_path / "plain")
    assert (answer.code, "--against" in answer.error) == (2, True)
    report = evaluate_task(path, tmp_path / "plain", against=built("embedding"))
    assert report.figure == "cosine as the float model"
    assert 0.9 < report.figures["closeness"] <= 1
    other = built("embedding").__class__.from_config(built("embedding").get_config())
    with pytest.raises(ConfigError, match="not the weights"):
        evaluate_task(path, tmp_path / "plain", against=other)


def test_every_output_of_a_detector_is_held_to_the_float_model(tmp_path):
    model = built("detector")
    path = export(model, "onnx-float32", tmp_path / "out", **arguments("detector")).artifact.path
    data = write_data("detector", tmp_path / "data")
    report = evaluate_task(path, data, against=model)
    assert report.figure == "closeness to the float model"
    assert set(report.rows) == set(KINDS["detector"].outputs)
    assert report.figures["closeness"] > 0.9999
    assert report.interval[0] <= report.figures["closeness"]
    with pytest.raises(ConfigError, match="one for each of many places"):
        evaluate_task(path, write_data("sigmoid_binary", tmp_path / "classes"))


def test_one_number_that_says_yes_is_counted_over_class_folders(tmp_path):
    data = write_data("sigmoid_binary", tmp_path)
    report = evaluate(built("sigmoid_binary"), data, scaling="unit")
    assert (report.top1, report.top5, report.images) == (100, 100, COUNT)
