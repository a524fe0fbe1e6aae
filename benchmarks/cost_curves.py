"""Latency against batch, threads and image size, as plots and as raw samples.

Three questions, each in a run of its own with all its points interleaved:

- batch: 1 to 64 images at once, of files that were exported with '--batch dynamic' (--files)
- threads: 1 and 2, of the same files at a batch of 1
- image size: the side of the raw image, for models whose weights serve any (--model, --sides). The
  files are exported here with seeded weights, since values do not change the time.

What --json names is written over curve by curve, so one curve can be measured again; without --files
and --model its curves are only drawn again.

    edgevit export shiftvit --format tflite-float32,onnx-float32 --batch dynamic --out curves
    python benchmarks/cost_curves.py --files curves/*.tflite curves/*.onnx --model vit patchconvnet \\
        --pictures docs/pictures --json benchmarks/results/cost_curves.json
"""  # noqa: E501

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ["KERAS_BACKEND"] = "tensorflow"

from edgevit.bench.benchmark import run_benchmark
from edgevit.bench.cases import plan_cases
from edgevit.core.benchmarks import BenchmarkResult

BATCHES = (1, 2, 4, 8, 16, 32, 64)
THREADS = (1, 2)
SIDES = (48, 96, 144)  # multiples of every architecture's patches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=Path, nargs="*", default=[], help="with a free batch")
    parser.add_argument("--model", nargs="*", default=[], help="architectures for the image sizes")
    parser.add_argument("--sides", type=int, nargs="*", default=SIDES)
    parser.add_argument("--batches", type=int, nargs="*", default=BATCHES)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--pictures", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--json", type=Path, help="raw samples, of all curves measured so far")
    options = parser.parse_args()
    found = read_curves(options.json) if options.json and options.json.exists() else {}
    if options.files:
        found["batch"] = measure(options.files, options.batches, (1,), options.rounds)
        found["threads"] = measure(options.files, (1,), THREADS, options.rounds)
    if options.model:
        with tempfile.TemporaryDirectory() as folder:
            files = export_sizes(options.model, options.sides, Path(folder))
            found["image size"] = measure(files, (), (1,), options.rounds)
    options.pictures.mkdir(parents=True, exist_ok=True)
    for name, result in found.items():
        print_rows(name, result)
        path = options.pictures / f"latency-{name.replace(' ', '-')}.png"
        draw(name, result, path)
        print(path)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        curves = {name: json.loads(result.to_text()) for name, result in found.items()}
        options.json.write_text(json.dumps(curves) + "\n")


def read_curves(path: Path) -> dict[str, BenchmarkResult]:
    """The curves that a run of this script wrote."""
    return {
        name: BenchmarkResult.from_text(json.dumps(curve), str(path))
        for name, curve in json.loads(path.read_text()).items()
    }


def measure(
    files: Sequence[Path], batches: Sequence[int], threads: Sequence[int], rounds: int
) -> BenchmarkResult:
    """All points of one curve side by side."""
    cases = plan_cases(files, threads=threads, batches=batches)
    result = run_benchmark(
        cases,
        rounds,
        watch=lambda status, done, total, rows: print(
            f"\r{status} {done}/{total}".ljust(78), end="", flush=True
        ),
    )
    print()
    for row in result.rows:
        if row.failure:
            print(f"{Path(row.case.file).name}: {row.failure}")
    for warning in result.warnings:
        print(f"warning: {warning}")
    return result.without_folders()


def export_sizes(models: Sequence[str], sides: Sequence[int], folder: Path) -> list[Path]:
    """TFLite float32 files MODEL-SIDE.tflite; a size that an architecture refuses is left out."""
    import edgevit
    from edgevit.base.errors import EdgevitError
    from edgevit.core.tensors import Preprocess

    files = []
    for model in models:
        for side in sides:
            try:
                network = edgevit.build(model, image_size=side)
                outcome = edgevit.export(
                    network,
                    "tflite-float32",
                    folder / f"{model}-{side}",
                    preprocess=Preprocess((side, side), (side, side)),
                )
            except EdgevitError as error:
                print(f"{model} at {side}: {error}")
                continue
            if outcome.artifact is None:
                print(f"{model} at {side}: {outcome.verdict}")
                continue
            path = folder / f"{model}-{side}.tflite"
            outcome.artifact.path.rename(path)
            files.append(path)
    return files


def point_of(name: str, result: BenchmarkResult) -> dict[str, list[tuple[float, object]]]:
    """For each curve, its (abscissa, row) in order."""
    curves: dict[str, list[tuple[float, object]]] = {}
    for row in result.rows:
        if not row.measured:
            continue
        stem = Path(row.case.file).stem
        label, place = f"{stem} ({row.case.runtime})", float(row.batch)
        if name == "threads":
            place = float(row.case.threads)
        if name == "image size":
            label, _, side = stem.rpartition("-")
            place = float(side)
        curves.setdefault(label, []).append((place, row))
    return {label: sorted(points, key=lambda p: p[0]) for label, points in curves.items()}


def print_rows(name: str, result: BenchmarkResult) -> None:
    """One line a point."""
    print(f"{name}: {result.environment}")
    for label, points in point_of(name, result).items():
        for place, row in points:
            middle = row.median_ms
            print(
                f"  {label:44} {place:5g}  {middle.middle:9.3f} ms "
                f"({middle.low:.3f} .. {middle.high:.3f}) {row.images_per_second:9.1f} images/s"
            )


def draw(name: str, result: BenchmarkResult, path: Path) -> None:
    """Latency with its 95 % interval, and images in a second, over the abscissa."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for label, points in point_of(name, result).items():
        places = [place for place, _ in points]
        middles = [row.median_ms.middle for _, row in points]
        errors = [
            [row.median_ms.middle - row.median_ms.low for _, row in points],
            [row.median_ms.high - row.median_ms.middle for _, row in points],
        ]
        left.errorbar(places, middles, yerr=errors, marker="o", capsize=3, label=label)
        right.plot(places, [row.images_per_second for _, row in points], marker="o", label=label)
    for axes, title in ((left, "latency of an inference, ms"), (right, "images in a second")):
        axes.set_xscale("log", base=2)
        ticks = sorted({place for points in point_of(name, result).values() for place, _ in points})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xlabel(f"{name} (side in pixels)" if name == "image size" else name)
        axes.set_title(title)
        axes.grid(True, which="both", alpha=0.3)
    left.set_yscale("log")
    left.yaxis.set_major_formatter("{x:g}")
    right.set_ylim(bottom=0)
    left.legend(fontsize=8)
    figure.suptitle(str(result.environment), fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
