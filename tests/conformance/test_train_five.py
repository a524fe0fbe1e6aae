"""tools/train_five.py: runs, names what fails, goes on with the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "train_five.py"


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, TOOL, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=280,
    )


def test_a_network_that_fails_is_named_and_the_next_is_tried(tmp_path):
    runs = tmp_path / "runs"
    found = run(
        "--data", tmp_path / "none.npz", "--models", "shiftvit,shiftvit:nano", "--out", runs
    )
    assert found.returncode == 1
    assert "failed: shiftvit, shiftvit:nano" in found.stderr
    for name in ("shiftvit", "shiftvit-nano"):
        assert "none.npz" in (runs / name / "train.log").read_text()


def test_an_unknown_network_is_refused_before_anything_is_trained(tmp_path):
    found = run("--data", "none.npz", "--models", "resnet", "--out", tmp_path / "runs")
    assert found.returncode == 2
    assert "unknown: resnet" in found.stderr
    assert not (tmp_path / "runs").exists()


def test_the_best_of_the_others_teaches(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TOOL.parent))
    import train_five

    assert train_five.best_teacher(tmp_path) == "shiftvit"
    for name, top1 in (("shiftvit", 80.0), ("focalnet", 91.5), ("vit", 60.0), ("gcvit", 99.0)):
        (tmp_path / name).mkdir()
        file = "checkpoint.json" if name == "gcvit" else "recipe.json"  # gcvit is not finished
        (tmp_path / name / file).write_text(json.dumps({"validation_top1": top1}))
    assert train_five.best_teacher(tmp_path) == str(tmp_path / "focalnet")


def test_every_network_gets_its_share_of_the_time(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(TOOL.parent))
    import train_five

    given = {}

    def trained(row, folder, minutes, options):
        given[row.model] = minutes
        folder.mkdir(parents=True)
        facts = {"validation_top1": 50.0, "train_images": 4000, "epochs_completed": 3}
        (folder / "recipe.json").write_text(json.dumps(facts))
        (folder / "log.csv").write_text("epoch,seconds\n1,9.0\n2,2.0\n3,2.0\n")
        return 0

    monkeypatch.setattr(train_five, "train", trained)
    monkeypatch.setattr(
        sys, "argv", ["train_five", "--data", "x", "--minutes", "18", "--out", str(tmp_path)]
    )
    train_five.main()
    assert set(given) == {row.model for row in train_five.ROWS}
    assert abs(sum(given.values()) - 18) < 1e-9
    assert given["focalnet"] == 2 * given["shiftvit"]
    assert capsys.readouterr().out.count("50.00 % after 3 epochs, 2,000 images/s") == len(given)
