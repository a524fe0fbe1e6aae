"""Plans: what they mean, and one line for each mistake in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevit.base import documents
from edgevit.base.errors import ConfigError
from edgevit.core.cells import State
from edgevit.sweeps import plan as plans
from edgevit.sweeps.digests import Digests
from edgevit.sweeps.keys import find_keys
from edgevit.sweeps.plan import Plan, read_plan
from edgevit.verbs.cell import OPTION_NAMES

MODEL = '[[model]]\nsource = "shiftvit:nano"\n'
INT8 = 'targets = ["tflite-int8"]\n'


def plan_of(folder: Path, text: str) -> Plan:
    (folder / "plan.toml").write_text(text)
    return read_plan(folder / "plan.toml", OPTION_NAMES)


def test_a_plan_is_models_times_targets_with_includes_and_excludes(tmp_path):
    for name in ("a.keras", "b.keras"):
        (tmp_path / name).touch()
    plan = plan_of(
        tmp_path,
        """
        targets = ["tflite-int8", "onnx-*"]
        model = [{source = "*.keras"}, {source = "vit", name = "mine", targets = ["savedmodel"]}]
        exclude = [{model = "b", target = "onnx-*"}, {target = "onnx-dynamic"}]
        include = [{model = "b", target = "onnx-int8"}]
        """,
    )
    names = [cell.name for cell in plan.cells]
    onnx = [name for name in names if name.startswith("a/onnx")]
    assert len(onnx) > 2
    assert "a/onnx-dynamic" not in names
    others = ["b/tflite-int8", "b/onnx-int8", "mine/savedmodel"]
    assert sorted(names) == sorted(["a/tflite-int8", *onnx, *others])
    assert plan.cells[0].source == str(tmp_path / "a.keras")
    assert [cell.name for cell in plan.only(["mine"]).cells] == ["mine/savedmodel"]


def test_settings_of_a_model_win_over_those_of_a_target_and_over_defaults(tmp_path):
    (tmp_path / "data").mkdir()
    plan = plan_of(
        tmp_path,
        """
        targets = ["tflite-int8", "onnx-int8"]
        [defaults]
        evaluation = "data"
        max_drop = 3
        accept = ["lossy"]
        options = {batch = 2}
        [[target]]
        name = "onnx-*"
        max_drop = 2.0
        max_size = "1.5 MB"
        options = {opset = 17}
        [[model]]
        source = "shiftvit"
        max_drop = 1.0
        [[model]]
        source = "vit"
        """,
    )
    cells = {cell.name: cell for cell in plan.cells}
    drops = {name: cell.budgets.max_drop for name, cell in cells.items()}
    assert drops == {
        **{"shiftvit/tflite-int8": 1.0, "shiftvit/onnx-int8": 1.0},
        **{"vit/tflite-int8": 3, "vit/onnx-int8": 2.0},
    }
    assert cells["vit/onnx-int8"].budgets.max_size == 1_500_000
    assert cells["vit/onnx-int8"].budgets.accept == (State.LOSSY,)
    assert cells["vit/onnx-int8"].settings.options == {"batch": 2, "opset": 17}
    assert cells["vit/tflite-int8"].settings.options == {"batch": 2}
    assert cells["vit/tflite-int8"].settings.evaluation == str(tmp_path / "data")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model = ", "is no TOML"),
        (INT8, "names no model"),
        (INT8 + "version = 2\n" + MODEL, "version = 1. Received: version = 2"),
        (INT8 + "modle = 1\n" + MODEL, "unknown key 'modle'. Did you mean model"),
        (INT8 + MODEL + "sorce = 1", "[[model]] 1: unknown key 'sorce'. Did you mean source?"),
        (INT8 + "[limits]\nsecond = 1\n" + MODEL, "[limits]: unknown key 'second'"),
        (INT8 + "[model]\nsource = 'vit'", "write [[model]], with two brackets"),
        (INT8 + MODEL + "options = {opste = 1}", "unknown option 'opste'. Did you mean opset?"),
        (INT8 + MODEL + "options = {opset = 17}", "'opset' is for onnx-float32"),
        (INT8 + MODEL + "max_drop = 'x'", "$.model[0].max_drop"),
        (INT8 + MODEL + "max_drop = 1.0", "max_drop is measured on samples: add evaluation"),
        (INT8 + MODEL + "max_drop = 101.0\nevaluation = '.'", "max_drop is in points"),
        (INT8 + MODEL + "min_agreement = 98.0", "min_agreement is a share, 0 to 1"),
        (INT8 + MODEL + "max_size = 'big'", 'a size is written like "1.5 MB"'),
        (INT8 + MODEL + "accept = ['lossi']", "no outcome is called 'lossi'. Did you mean lossy?"),
        (INT8 + MODEL + "evaluation = 'nowhere'", "nowhere is not there"),
        (INT8 + MODEL + "evaluation = '$NOT_SET_HERE/x'", "names a variable that is not set"),
        (INT8 + MODEL + "depends = ['*.bin']", "no file fits '*.bin'"),
        (INT8 + MODEL + "depends = ['/dev/null']", "no file fits '/dev/null'"),
        (INT8 + 1001 * "[[exclude]]\n" + MODEL, "exclude: 1,001 rows, more than 1,000"),
        (INT8 + 10_001 * MODEL, "model: 10,001 rows, more than 10,000"),
        (INT8 + MODEL + "x" + ".x" * 300 + " = 1", "inside one another"),
        (INT8 + MODEL + "name = '../x'", "is no name of a model"),
        (INT8 + MODEL + MODEL, "two models are called 'shiftvit-nano'"),
        (INT8 + "[[model]]\nsource = 'nets/*.keras'", "no file fits 'nets/*.keras'"),
        (INT8 + "[[model]]\nname = 'x'", "lacks source"),
        (MODEL, "has no target"),
        ("targets = ['tflite-int9']\n" + MODEL, "unknown format 'tflite-int9'"),
        ("targets = ['tfl-*']\n" + MODEL, "no target fits 'tfl-*'"),
        (INT8 + MODEL + "[[exclude]]\nmodel = 'vit'", "no model is called 'vit'"),
        (INT8 + MODEL + "[[exclude]]\n", "every cell is excluded"),
        (INT8 + "[limits]\nthreads = 0\n" + MODEL, "threads is at least 1"),
    ],
)
def test_a_mistake_is_one_line_that_names_its_place(tmp_path, text, said):
    with pytest.raises(ConfigError) as caught:
        plan_of(tmp_path, text)
    assert said in str(caught.value)
    assert "plan.toml" in str(caught.value) or "called" in said or "name of" in said
    assert "\n" not in str(caught.value)


def test_a_plan_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "TOML_BYTES", 1000)
    with pytest.raises(ConfigError, match="characters, more than 1,000"):
        plan_of(tmp_path, INT8 + MODEL + "#" * 1000)
    monkeypatch.setattr(plans, "CELLS", 1)
    with pytest.raises(ConfigError, match="more than 1 cells"):
        plan_of(tmp_path, 'targets = ["tflite-int8", "onnx-int8"]\n' + MODEL)


@pytest.mark.parametrize(
    ("source", "said"),
    [("nowhere.keras", "no such file"), ("shiftvot", "shiftvit"), ("nowhere:build", "no module")],
)
def test_a_model_that_is_not_there_is_a_mistake_of_the_plan(tmp_path, source, said):
    plan = plan_of(tmp_path, INT8 + f"[[model]]\nsource = '{source}'")
    with pytest.raises(ConfigError, match=said):
        find_keys(plan, Digests(tmp_path / "digests.json"))


def test_a_key_follows_what_a_cell_depends_on_and_no_budget(tmp_path):
    (tmp_path / "nets.py").write_text("")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.png").write_bytes(b"a")
    base = INT8 + "[[model]]\nsource = 'nets:build'\nevaluation = 'data'\n"

    def key(text: str) -> str:
        (keyed,) = find_keys(plan_of(tmp_path, text), Digests(tmp_path / "digests.json"))
        return keyed.key

    first = key(base)
    assert key(base + "max_drop = 1.0\naccept = ['lossy']\n") == first
    for text in ("limit = 10", "options = {batch = 2}", "latency = true"):
        assert key(base + text) != first
    assert key("limits = {threads = 2}\n" + base) != first
    (tmp_path / "data/a.png").write_bytes(b"b")
    changed = key(base)
    assert changed != first
    (tmp_path / "nets.py").write_text("import keras")
    assert key(base) not in (first, changed)


def test_a_file_is_read_again_only_when_its_size_or_time_changed(tmp_path, monkeypatch):
    path, memory = tmp_path / "weights", tmp_path / "digests.json"
    path.write_bytes(b"one")
    digests = Digests(memory)
    found = digests.of_path(path)
    digests.keep()
    with monkeypatch.context() as patch:
        patch.setattr("edgevit.sweeps.digests.digest_path", lambda path: pytest.fail("was read"))
        assert Digests(memory).of_path(path) == found
    path.write_bytes(b"other")
    assert Digests(memory).of_path(path) != found
