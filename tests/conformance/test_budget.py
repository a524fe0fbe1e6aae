"""--max-drop finds precisions within a budget, writes them as a recipe, and replays it."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgevit.core.format import Format
from edgevit.core.golden_images import draw_images
from edgevit.data.evaluation import load_validation
from edgevit.formats.registry import open_session
from edgevit.formats.tflite.runtime.file import read_metadata
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.standard_metadata import write_for_clients
from edgevit.models.history import RUN_FILE
from edgevit.quantization.precisions import recipe_of
from edgevit.quantization.recipe import Recipe
from edgevit.verbs.export import Budget, export
from edgevit.verbs.search import MixedFiles
from edgevit.verification.audit import inspect

CLASSES = 10
EXPORT = ("--format", "tflite-mixed")


@pytest.fixture(scope="module")
def dataset(tiny_run, tmp_path_factory) -> Path:
    """An npz whose labels are the float network's own answers, so that float32 is always right.

    Its test images are all black: whoever measured on them would see one class only.
    """
    from edgevit.frontend.opening import open_source
    from edgevit.frontend.record_reference import float_outputs

    images = draw_images(400, (12, 12), seed=5)
    labels = float_outputs(open_source(tiny_run), images)["logits"].argmax(-1)
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(
        path,
        x_train=images,
        y_train=labels,
        x_test=np.zeros((20, 12, 12, 3), np.uint8),
        y_test=np.arange(20) % CLASSES,
    )
    return path


@pytest.fixture(scope="module")
def data_options(dataset) -> tuple:
    return ("--data", dataset, "--validation-images", 80)


def find_drop(path: Path, dataset: Path, contract) -> float:
    """Points that a file loses on the validation images, counted anew."""
    sample = load_validation(dataset, contract.input_size, (), 80)
    with open_session(path) as session:
        right = session.run(sample.images)["logits"].argmax(-1) == sample.labels
    return 100 * (1 - right.mean())


def test_a_budget_is_kept_stated_and_replayed(
    command, tiny_run, dataset, data_options, tmp_path, monkeypatch
):
    from edgevit.frontend.opening import open_source

    answer = command(
        *("export", tiny_run, *EXPORT, "--max-drop", 5, *data_options),
        *("--out", tmp_path / "a", "--json"),
    )
    assert answer.code == 0, answer.err
    (row,) = answer.document
    search = row["search"]
    assert search["images"] == 80
    assert search["float_accuracy"] == 100.0
    assert search["points_lost"] <= 5
    low, high = search["interval"]
    assert low <= search["points_lost"] <= high
    assert 0 < search["mcnemar_p"] <= 1
    assert search["evaluations"] <= 40
    assert [trial["chosen"] for trial in search["trials"]].count(True) == 1
    evaluated = [t for t in search["trials"] if t["points_lost"] is not None]
    assert min(t["latency_ms"] for t in evaluated if t["points_lost"] <= 5) == next(
        t["latency_ms"] for t in search["trials"] if t["chosen"]
    )
    contract = open_source(tiny_run).preprocess
    assert find_drop(Path(row["path"]), dataset, contract) == pytest.approx(search["points_lost"])
    recipe = Path(row["recipe"])
    assert Recipe.from_text(recipe.read_text(), "r").model == "shiftvit"
    again = command(
        *("export", tiny_run, *EXPORT, "--recipe-file", recipe, "--out", tmp_path / "b", "--json")
    )
    assert again.code == 0, again.err
    replayed = Path(again.document[0]["path"])
    assert digest(replayed) == digest(Path(row["path"]))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_scored_and_timed_is_what_is_published(tiny_run, dataset, tmp_path, monkeypatch):
    """To the byte, with the user's own options; only the documents inside are missing."""
    written: dict[str, bytes] = {}
    own = MixedFiles.write

    def keep(self, precisions):
        path = own(self, precisions)
        written[recipe_of(self.graph, precisions, "").to_text()] = path.read_bytes()
        return path

    monkeypatch.setattr(MixedFiles, "write", keep)
    options = {"io_dtype": "float32", "batch": 2, "surgery": ("centre-norms",)}
    calibration = draw_images(16, (12, 12), seed=8)
    outcome = export(
        tiny_run,
        "tflite-mixed",
        tmp_path,
        budget=Budget(5.0, dataset, 80),
        calibration=calibration,
        keep_failed=True,
        **options,
    )
    published = outcome.artifact.path.read_bytes()
    chosen = replace(outcome.search.recipe, model="", notes=())
    scored = TfliteGraph(written[chosen.to_text()])
    documents = read_metadata(outcome.artifact.path)
    ours = {key: text for key, text in documents.items() if key.startswith("edgevit.")}
    assert write_for_clients(scored, outcome.artifact.path, ours) == published
    (entry,) = outcome.artifact.manifest.inputs
    assert (entry.dtype, entry.shape[0]) == ("float32", 2)


def test_nothing_that_the_weights_have_learnt_from_is_searched_on(
    tiny_run, dataset, tmp_path, monkeypatch
):
    from edgevit.formats.tflite.options import TfliteOptions
    from edgevit.frontend.opening import open_source
    from edgevit.verbs import search as searching

    class Search:
        def __init__(self, graph, costs, files, sample, *rest):
            self.sample = sample

        def run(self, model):
            return len(self.sample)

    monkeypatch.setattr(searching, "Search", Search)
    shutil.copytree(tiny_run, tmp_path / "run")
    seen = {"recipe": {"held_out": 0.05}, "data": dataset.name}
    (tmp_path / "run" / RUN_FILE).write_text(json.dumps(seen))
    counts = [
        searching.search_recipe(source, TfliteOptions(), source.ranges[Format.TFLITE], dataset, 1.0)
        for source in (open_source(tiny_run), open_source(tmp_path / "run"))
    ]
    assert counts == [80, 20]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--max-drop", "-1"), "--max-drop"),
        (("--max-drop", "nan"), "--max-drop"),
        (("--max-drop", "1", "--no-preprocess", "--calibration", "DATA"), "--no-preprocess"),
    ],
)
def test_a_budget_that_makes_no_sense_is_one_line(
    command, tiny_run, dataset, data_options, tmp_path, options, complaint
):
    options = [dataset if option == "DATA" else option for option in options]
    answer = command("export", tiny_run, *EXPORT, *options, *data_options, "--out", tmp_path / "o")
    assert answer.code == 2
    assert complaint in answer.error
    assert not list(tmp_path.rglob("*.tflite"))


def test_recipes_of_another_network_and_for_other_targets_are_refused(
    command, tiny_run, tmp_path, data_options
):
    recipe = tmp_path / "mine.toml"
    recipe.write_text('version = 1\n[[rule]]\nlayer = "vit/*"\nop = "GELU"\nprecision = "int8"\n')
    out = ("--out", tmp_path / "o")
    answer = command("export", tiny_run, *EXPORT, "--recipe-file", recipe, *out)
    assert (answer.code, "does nothing" in answer.error) == (2, True)
    recipe.write_text('version = 1\n[[rule]]\nop = "GELU"\nprecision = "dynamic"\n')
    answer = command("export", tiny_run, *EXPORT, "--recipe-file", recipe, *out)
    assert (answer.code, "no such kernel" in answer.error) == (1, True)
    answer = command("export", tiny_run, *EXPORT, "--recipe-file", tmp_path / "none.toml", *out)
    assert (answer.code, "cannot be read" in answer.error) == (2, True)
    recipe.write_text("version = 1\n")
    wanted = ("--format", "tflite-int8")
    answer = command("export", tiny_run, *wanted, "--recipe-file", recipe, *out)
    assert (answer.code, "tflite-mixed" in answer.error) == (2, True)
    both = ("--recipe-file", recipe, "--max-drop", 1, *data_options)
    answer = command("export", tiny_run, *EXPORT, *both, *out)
    assert (answer.code, "not both" in answer.error) == (2, True)
    assert not list(tmp_path.rglob("*.tflite"))


def test_an_edited_recipe_decides(command, tiny_run, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        'version = 1\ndefault = "float32"\n[[rule]]\nlayer = "*stage1*"\nop = "GELU"\n'
        'precision = "int8"\n'
    )
    answer = command(
        *("export", tiny_run, *EXPORT, "--recipe-file", recipe, "--out", tmp_path / "o", "--json")
    )
    assert answer.code == 0, answer.err
    ops = inspect(answer.document[0]["path"])
    assert ops.ops["QUANTIZE"] == ops.ops["DEQUANTIZE"] == 1
    assert ops.float_ops["GELU"] == ops.ops["GELU"] - 1
