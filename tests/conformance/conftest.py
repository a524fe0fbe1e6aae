"""One tiny ShiftViT, exported once to every target; what the conformance tests share."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgevit.core.class_names import CIFAR10_CLASSES
from edgevit.core.golden_images import draw_images
from edgevit.formats.registry import TARGETS

# As the command line sets it, so that files from this process equal those from another.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

ROOT = Path(__file__).parents[2]
RAW_SIZE = (12, 12)


@dataclass(frozen=True)
class Answer:
    """What a command said.

    Attributes:
        code: its exit code.
        out: standard output.
        err: standard error.
    """

    code: int
    out: str
    err: str

    @property
    def document(self):
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line on standard error; fails where there is another."""
        (line,) = [line for line in self.err.splitlines() if line.startswith("edgevit: error:")]
        assert "Traceback" not in self.err
        return line


@pytest.fixture(scope="session", autouse=True)
def golden_images_drawn_once():
    """Every export and every verification draws the same golden images; here each set is kept."""
    from edgevit.core import golden_inputs

    kept = functools.cache(draw_images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(golden_inputs, "draw_images", lambda *recipe: kept(*recipe).copy())
        yield


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> Path:
    """A training run's folder: seeded weights of a tiny ShiftViT, and their activation ranges."""
    import keras

    from edgevit.data.calibration import CalibrationSample
    from edgevit.formats.calibration import calibrate
    from edgevit.formats.options import build_options
    from edgevit.frontend.opening import open_source
    from edgevit.models.build import build_plan, plan_model
    from edgevit.models.shiftvit import TINY
    from edgevit.models.weights import RANGE_FILES, WEIGHTS_FILE, save_weights

    keras.utils.set_random_seed(0)
    plan = plan_model("shiftvit", input_size=RAW_SIZE, **TINY)
    folder = tmp_path_factory.mktemp("tiny") / "run"
    weights = build_plan(plan).get_weights()
    save_weights(folder / WEIGHTS_FILE, plan, weights, CIFAR10_CLASSES, "float32")
    images = draw_images(32, RAW_SIZE, seed=9)
    for kind, name in RANGE_FILES.items():
        sample = CalibrationSample({"images": images}, "drawn", "00")
        record = calibrate(kind, open_source(folder), build_options(kind, {}), sample)
        (folder / name).write_text(record.to_text())
    return folder


@pytest.fixture(scope="session")
def outcomes(tiny_run, tmp_path_factory) -> dict:
    """The outcome of each target's export, by name. Every file is exported once a session."""
    from edgevit.verbs.export import export_all

    folder = tmp_path_factory.mktemp("exports")
    return {outcome.target.name: outcome for outcome in export_all(tiny_run, "all", folder)}


@pytest.fixture(scope="session")
def exported(outcomes) -> dict[str, Path]:
    """The exported file of each target, by name. To be read only."""
    return {name: outcome.artifact.path for name, outcome in outcomes.items()}


@pytest.fixture
def copied(exported, tmp_path) -> Callable[..., Path]:
    """A function (target, manifest=True) -> a copy of the file that a test may break."""

    def copy(name: str, manifest: bool = True) -> Path:
        source = exported[name]
        path = tmp_path / "copy" / source.name
        path.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, path)
        else:
            shutil.copy(source, path)
        if manifest:
            manifest = source.with_name(source.name + ".manifest.json")
            shutil.copy(manifest, path.with_name(manifest.name))
        return path

    return copy


@pytest.fixture(scope="session")
def raw_images() -> np.ndarray:
    """uint8 50 12 12 3, other images than the golden ones."""
    return draw_images(50, RAW_SIZE, seed=77)


@pytest.fixture
def command(capfd, monkeypatch) -> Callable[..., Answer]:
    """The command line in this process, through its own error boundary: (arguments) -> Answer."""
    import keras  # noqa: F401  # or the first command that trains would choose its backend

    from edgevit.cli import main as module

    monkeypatch.setenv("KERAS_BACKEND", os.environ["KERAS_BACKEND"])  # put back afterwards
    monkeypatch.delenv("EDGEVIT_DATA", raising=False)
    handler = signal.getsignal(signal.SIGTERM)

    def run(*arguments: object) -> Answer:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["edgevit", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            module.run()
        out, err = capfd.readouterr()
        return Answer(caught.value.code or 0, out, err)

    yield run
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="session")
def command_process() -> Callable[..., Answer]:
    """The command line in a process of its own; slow, since frameworks are imported anew."""

    def run(*arguments: object, **environment: str) -> Answer:
        found = subprocess.run(
            [sys.executable, "-m", "edgevit.cli.main", *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            timeout=280,
        )
        return Answer(found.returncode, found.stdout, found.stderr)

    return run


@pytest.fixture(scope="session")
def exported_by_process(tiny_run, command_process, tmp_path_factory) -> tuple[Answer, Path]:
    """Two targets exported by the command line in another process: (its answer, the folder)."""
    folder = tmp_path_factory.mktemp("process")
    options = ("--format", "tflite-int8,onnx-float32", "--out", folder, "--json")
    return command_process("export", tiny_run, *options, PYTHONHASHSEED="123"), folder


def pytest_generate_tests(metafunc):
    """Every test that asks for a ``target`` runs for every row of TARGETS."""
    if "target" in metafunc.fixturenames:
        metafunc.parametrize("target", TARGETS.values(), ids=TARGETS)


@pytest.fixture(scope="module")
def bare_file(tiny_run, tmp_path_factory) -> Path:
    """The tiny network without its preprocessing, as ONNX."""
    from edgevit.verbs.export import export

    folder = tmp_path_factory.mktemp("bare")
    return export(tiny_run, "onnx-float32", folder, preprocess=False).artifact.path


@pytest.fixture(scope="module")
def pictures(exported, tmp_path_factory) -> list[Path]:
    """PNGs of the file's own size, on which its first class is well ahead of its second."""
    from PIL import Image

    from edgevit.formats.registry import open_session

    images = draw_images(60, (12, 12), seed=41)
    with open_session(exported["onnx-float32"]) as session:
        best = np.sort(session.run(images)["logits"], axis=-1)
    clear = np.flatnonzero(best[:, -1] - best[:, -2] > 0.05)[:8]
    assert len(clear) == 8
    folder = tmp_path_factory.mktemp("pictures")
    for number in clear:
        Image.fromarray(images[number]).save(folder / f"{number}.png")
    return sorted(folder.iterdir())
