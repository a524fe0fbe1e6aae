"""The sound files that cases start from: one tiny network in every target."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

RAW_SIZE = (12, 12)
PLAN = """targets = ["onnx-float32", "tflite-float32"]
[[model]]
source = "{}"
"""
Base = tuple[dict[str, Path], Path, Path]


FIRST_VERSION = Path(__file__).parents[1] / "golden" / "first_version"


def find_light_base() -> Base:
    """Two files that lie in the repository, and neither a .keras nor a .safetensors file."""
    paths = [path for path in sorted(FIRST_VERSION.iterdir()) if path.suffix != ".json"]
    exports = {path.stem.removeprefix("looker-"): path for path in paths}
    return exports, FIRST_VERSION / "none.keras", FIRST_VERSION / "none.safetensors"


def find_base(folder: Path | None, swept: bool = False) -> Base:
    """(exports by target, a .keras file, a .safetensors file); written where they are not there.

    Args:
        folder: that holds them.
        swept: whether it holds a sweep and kept outputs as well.
    """
    folder = folder or Path(os.environ.get("TMPDIR", "/tmp")) / "edgevit-robustness-base"
    if not (folder / "small.keras").exists():
        _run_apart(_write_base, folder)
    if swept and not (folder / "swept" / "results" / "index.json").exists():
        _run_apart(_write_sweep, folder)
    exports = {}
    for path in sorted((folder / "exports").iterdir()):
        if not path.name.endswith(".json"):
            exports[path.stem.removeprefix("shiftvit-")] = path
    return exports, folder / "small.keras", folder / "run" / "weights.safetensors"


def _run_apart(write: Callable[[Path], None], folder: Path) -> None:
    """Writes in another process: this one forks cases, which would end what frameworks began."""
    process = multiprocessing.get_context("spawn").Process(target=write, args=(folder,))
    process.start()
    process.join()
    assert process.exitcode == 0, f"{write.__name__} failed"


def _write_base(folder: Path) -> None:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    from edgevit.core.class_names import CIFAR10_CLASSES
    from edgevit.core.golden_images import draw_images
    from edgevit.data.calibration import CalibrationSample
    from edgevit.formats.calibration import calibrate
    from edgevit.formats.options import build_options
    from edgevit.frontend.opening import open_source
    from edgevit.models.build import build_plan, plan_model
    from edgevit.models.shiftvit import TINY
    from edgevit.models.weights import RANGE_FILES, WEIGHTS_FILE, save_weights
    from edgevit.verbs.export import export_all

    keras.utils.set_random_seed(0)
    plan = plan_model("shiftvit", input_size=RAW_SIZE, **TINY)
    run = folder / "run"
    weights = build_plan(plan).get_weights()
    save_weights(run / WEIGHTS_FILE, plan, weights, CIFAR10_CLASSES, "float32")
    sample = CalibrationSample({"images": draw_images(32, RAW_SIZE, seed=9)}, "drawn", "00")
    for kind, name in RANGE_FILES.items():
        record = calibrate(kind, open_source(run), build_options(kind, {}), sample)
        (run / name).write_text(record.to_text())
    export_all(run, "all", folder / "exports")
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((*RAW_SIZE, 3), name="images"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )
    model.save(folder / "small.keras")


def _write_sweep(folder: Path) -> None:
    """A plan with its results, and the outputs that an export keeps between runs."""
    from edgevit.base.store import VARIABLE
    from edgevit.verbs.export import export
    from edgevit.verbs.sweep import sweep

    os.environ[VARIABLE] = str(folder / "cache")
    plan = folder / "swept" / "plan.toml"
    plan.parent.mkdir(exist_ok=True)
    plan.write_text(PLAN.format(folder / "run"))
    sweep(plan, plan.parent / "results", jobs=1)
    export(folder / "run", "onnx-float32", folder / "swept", cache=True)
