"""What an export costs, shell to verdict, against a stock script that verifies nothing.

Each sample is a process of its own. Ours is the command line: import, open, record the reference,
convert, verify, publish. Stock imports the same frameworks, opens the same weights and converts by
what their documentation leads to: Keras' SavedModel export and TFLiteConverter (int8: 100 samples,
where ours reads ranges), or Keras' ONNX export through tf2onnx. All sides of a network and target
take turns in random order.

    python benchmarks/export_cost.py FOLDER --json benchmarks/results/export_cost.json
    python benchmarks/export_cost.py FOLDER --parts export --networks shiftvit --cores 1 --rounds 3

FOLDER holds networks that do not ship (seeded weights, made once), samples and exported files. Run
it while nothing else runs. A run that was cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from provenance import ROOT, read_rows, result_path, write_result

from edgevit.formats.registry import TARGETS, list_targets
from edgevit.models.shipped import list_shipped

SHIPPED = ("shiftvit", "vit", "patchconvnet", "focalnet", "gcvit:cifar64")
MADE = ("mobilenetv2-224", "gcvit-xxtiny-224")
GROWING = ("vit:tiny", "vit:small", "vit:base", "gcvit:xxtiny", "gcvit:base")
FORMATS = ("tflite-float32", "tflite-int8", "onnx-float32")
STOCK_SAMPLES = 100
CALIBRATION = 300
SEED = 7
Row = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """One process to be measured.

    Attributes:
        name: what its rows are called.
        command: its words; {out} stands for an empty folder.
        before: run first, not measured.
    """

    name: str
    command: tuple[str, ...]
    before: tuple[str, ...] = ()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="for what is made; kept from run to run")
    parser.add_argument("--parts", default=",".join(PARTS), help="commas between")
    parser.add_argument("--networks", default=",".join((*SHIPPED, *MADE)), help="commas between")
    parser.add_argument("--formats", default=",".join(FORMATS), help="targets, commas between")
    parser.add_argument("--cores", default="1,2", help="how many, commas between")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each side")
    parser.add_argument("--json", type=result_path, help="where to write the figures")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = read_rows(options.json)
    for part in options.parts.split(","):
        for cores in map(int, options.cores.split(",")):
            for labels, sides in PARTS[part](options):
                measure(rows, {"part": part, **labels, "cores": cores}, sides, options)
    print_rows(rows)


def measure(
    rows: list[Row], labels: Row, sides: Sequence[Side], options: argparse.Namespace
) -> None:
    """Runs sides in turns until each has its samples; rows are changed and written."""
    own = {side.name: find_row(rows, {**labels, "side": side.name}) for side in sides}
    missing = [side for side in sides if len(own[side.name]["wall_s"]) < options.rounds]
    while missing:
        random.shuffle(missing)
        for side in missing:
            add_sample(own[side.name], run(side, labels["cores"], options.folder))
            sample = {key: values[-1] for key, values in own[side.name].items() if key in SAMPLES}
            print(*labels.values(), side.name, sample, file=sys.stderr, flush=True)
        if options.json:
            write_result(options.json, {"rows": rows}, list_used(rows))
        missing = [side for side in sides if len(own[side.name]["wall_s"]) < options.rounds]


SAMPLES = ("wall_s", "cpu_s", "peak_mb")


def find_row(rows: list[Row], labels: Row) -> Row:
    """The row of these labels; a new one where there is none."""
    for row in rows:
        if all(row.get(name) == value for name, value in labels.items()):
            return row
    rows.append({**labels, **{name: [] for name in SAMPLES}, "stages": {}, "verdicts": []})
    return rows[-1]


def add_sample(row: Row, sample: Row) -> None:
    """Adds what one process took; stages that it did not name took no time."""
    count = len(row["wall_s"])
    for name in SAMPLES:
        row[name].append(sample[name])
    for stage in {*row["stages"], *sample["stages"]}:
        row["stages"].setdefault(stage, [0.0] * count).append(sample["stages"].get(stage, 0.0))
    row["verdicts"].append(sample["verdict"])


def run(side: Side, cores: int, folder: Path) -> Row:
    """One fresh process on so many cores: seconds from its start to its end, and its memory.

    Raises:
        RuntimeError: it failed for another reason than its verdict.
    """
    with tempfile.TemporaryDirectory(dir=folder) as out:
        own = {name: value for name, value in os.environ.items() if name != "EDGEVIT_CACHE"}
        environment = {**own, "EDGEVIT_CACHE": f"{out}/cache", "PYTHONPATH": str(ROOT)}
        cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))

        def start(words: Sequence[str]) -> subprocess.Popen[bytes]:
            command = ["taskset", "--cpu-list", cpus, *(word.format(out=out) for word in words)]
            with (Path(out) / "log").open("wb") as log:
                return subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=log, env=environment
                )

        if side.before:
            start(side.before).communicate()
        started = time.perf_counter()
        process = start(side.command)
        assert process.stdout
        answer = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        log = (Path(out) / "log").read_text(errors="replace")
    if process.returncode not in (0, 1) or (process.returncode and not answer):
        raise RuntimeError(f"{' '.join(side.command)}: {process.returncode}\n{log[-2000:]}")
    verdict, stages = read_answer(answer)
    return {
        "wall_s": round(wall, 3),
        "cpu_s": round(used.ru_utime + used.ru_stime, 3),
        "peak_mb": round(used.ru_maxrss * 1024 / 1e6, 1),
        "stages": stages,
        "verdict": verdict,
    }


def read_answer(answer: bytes) -> tuple[str, dict[str, float]]:
    """(verdicts, seconds by stage) of our JSON; of a stock script there is neither."""
    try:
        document = json.loads(answer)
    except ValueError:
        return "", {}
    if "error" in document:
        raise RuntimeError(document["error"])
    timings = document.get("timings", [])
    stages: dict[str, float] = {}
    for entry in timings:
        stages[entry["stage"]] = round(stages.get(entry["stage"], 0.0) + entry["seconds"], 3)
    outcomes = document.get("outcomes", [document])
    return " ".join(str(outcome.get("verdict", "")) for outcome in outcomes), stages


def export_part(options: argparse.Namespace) -> list[tuple[Row, list[Side]]]:
    """One target alone: ours, ours where an earlier export kept the outputs, and stock."""
    found = []
    for network in options.networks.split(","):
        for target in options.formats.split(","):
            other = next(name for name in FORMATS if name != target)
            ours = (*export_words(options, network, target), "--timings", "--json")
            before = export_words(options, network, other)
            stock = (sys.executable, __file__, "stock", model_of(options, network))
            stock = (*stock, samples_of(options, network), target, "{out}/stock")
            sides = [
                Side("ours", (*ours, "--no-cache")),
                Side("ours, a second target", ours, before),
                Side("stock", stock),
            ]
            found.append(({"network": network, "target": target}, sides))
    return found


def all_part(options: argparse.Namespace) -> list[tuple[Row, list[Side]]]:
    """Every target in one call, and each alone."""
    found = []
    for network in options.networks.split(","):
        singles = [name for name in list_targets() if name in TARGETS]
        sides = [
            Side(name, (*export_words(options, network, name), "--no-cache", "--timings", "--json"))
            for name in ("all", *singles)
        ]
        found.append(({"network": network}, sides))
    return found


def verify_part(options: argparse.Namespace) -> list[tuple[Row, list[Side]]]:
    """Verifying files that were exported before, alone."""
    found = []
    for network in options.networks.split(","):
        for target in options.formats.split(","):
            place = options.folder / "files" / network.replace(":", "-")
            if not list(place.glob(f"*-{target}.*")):
                words = export_words(options, network, target)
                command = [word.format(out=str(place)) for word in words]
                subprocess.run(command, check=False, capture_output=True, env=plain_environment())
            (file,) = (f for f in place.glob(f"*-{target}.*") if f.suffix in (".tflite", ".onnx"))
            command = (*EDGEVIT, "verify", str(file), "--json")
            found.append(({"network": network, "target": target}, [Side("verify", command)]))
    return found


def calibrate_part(options: argparse.Namespace) -> list[tuple[Row, list[Side]]]:
    """Ranges of many images, against a plain loop of LiteRT over the same float file."""
    found = []
    for network in options.networks.split(","):
        samples = samples_of(options, network, CALIBRATION)
        model = model_of(options, network)
        ours = (*EDGEVIT, "calibrate", model, "--data", samples, "--images", str(CALIBRATION))
        ours = (*ours, "--format", "tflite")
        (float_file,) = verify_part(
            argparse.Namespace(folder=options.folder, networks=network, formats="tflite-float32")
        )
        file = float_file[1][0].command[-2]
        plain = (sys.executable, __file__, "loop", file, samples)
        sides = [Side("ours", (*ours, "--out", "{out}/ranges.json")), Side("plain loop", plain)]
        found.append(({"network": network}, sides))
    return found


def growth_part(options: argparse.Namespace) -> list[tuple[Row, list[Side]]]:
    """Networks of growing size, seeded weights."""
    found = []
    for network in GROWING:
        for target in options.formats.split(","):
            if target != "tflite-int8":  # nothing says which ranges they have
                command = (*export_words(options, network, target), "--no-cache", "--timings")
                labels = {"network": network, "target": target}
                found.append((labels, [Side("ours", (*command, "--json"))]))
    return found


PARTS: dict[str, Callable[[argparse.Namespace], list[tuple[Row, list[Side]]]]] = {
    "export": export_part,
    "verify": verify_part,
    "all": all_part,
    "calibrate": calibrate_part,
    "growth": growth_part,
}
EDGEVIT = (sys.executable, "-m", "edgevit")


def export_words(options: argparse.Namespace, network: str, target: str) -> tuple[str, ...]:
    """Our command line; of what is made here even a wrong file is kept, since weights are random.

    Ranges ship with our networks, and were measured before for the others.
    """
    words = (*EDGEVIT, "export", model_of(options, network), "--format", target, "--out", "{out}")
    if network not in SHIPPED and "int8" in target:
        words = (*words, "--ranges", ranges_of(options, network))
    return (*words, "--accept-loss", "--keep-failed")


def model_of(options: argparse.Namespace, network: str) -> str:
    """What both sides open: a shipped name, or a file that is made once."""
    if network in SHIPPED:
        return network
    suffix = ".keras" if network.startswith("mobilenet") else ""
    path: Path = options.folder / f"{network.replace(':', '-')}{suffix}"
    return make(path, "model", network)


def samples_of(options: argparse.Namespace, network: str, count: int = STOCK_SAMPLES) -> str:
    """An npz of synthetic images in the network's size."""
    path = options.folder / f"{network.replace(':', '-')}-{count}.npz"
    return make(path, "samples", model_of(options, network), str(count))


def ranges_of(options: argparse.Namespace, network: str) -> str:
    """A file of ranges, measured once."""
    path: Path = options.folder / f"{network.replace(':', '-')}-ranges.json"
    if not path.exists():
        command = [*EDGEVIT, "calibrate", model_of(options, network), "--format", "tflite"]
        command += ["--data", samples_of(options, network), "--images", str(STOCK_SAMPLES)]
        command += ["--out", str(path)]
        subprocess.run(command, check=True, capture_output=True, env=plain_environment())
    return str(path)


def make(path: Path, *words: str) -> str:
    """Makes a file in a process of its own, unless it is there."""
    if not path.exists():
        command = [sys.executable, __file__, "make", str(path), *words]
        subprocess.run(command, check=True, env=plain_environment())
    return str(path)


def plain_environment() -> dict[str, str]:
    """Of a process that is not measured."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def list_used(rows: Sequence[Row]) -> list[str]:
    """Networks of the rows whose weights ship; one that does where there is none."""
    found = sorted({row["network"] for row in rows} & set(list_shipped()))
    return found or ["shiftvit"]


def print_rows(rows: Sequence[Row]) -> None:
    """A line for each row: median and extremes of wall time, processor time and memory."""
    for row in rows:
        if row["wall_s"]:
            labels = " ".join(
                str(row[key])
                for key in ("part", "network", "target", "cores", "side")
                if key in row
            )
            wall, cpu, peak = (row[name] for name in SAMPLES)
            print(
                f"{labels}: {median(wall):.1f} s ({min(wall):.1f}..{max(wall):.1f}), "
                f"cpu {median(cpu):.1f} s, {median(peak):.0f} MB, {len(wall)} samples"
            )


def make_file(path: str, kind: str, name: str, count: str = "") -> None:
    """What runs as a process of its own: see :func:`make`."""
    import keras
    import numpy as np

    from edgevit.core.golden_inputs import draw_inputs
    from edgevit.frontend.opening import open_source
    from edgevit.frontend.record_reference import Draw
    from edgevit.models.build import build_plan, plan_model
    from edgevit.models.weights import save_weights

    keras.utils.set_random_seed(SEED)
    if kind == "samples":
        draws = {spec.name: Draw.of(spec) for spec in open_source(name).signature.inputs}
        np.savez(path, **draw_inputs(draws, int(count), SEED))
    elif name.startswith("mobilenet"):
        images = keras.Input((224, 224, 3), name="images")
        x = keras.layers.Rescaling(1 / 127.5, -1)(images)
        network = keras.applications.MobileNetV2((224, 224, 3), weights=None)
        keras.Model(images, network(x), name="mobilenetv2").save(path)
    else:
        plan = plan_model(*name.removesuffix("-224").replace("-", ":").split(":"))
        classes = tuple(f"class{number}" for number in range(plan.config.num_classes))
        weights = build_plan(plan).get_weights()
        Path(path).mkdir()
        save_weights(Path(path, "weights.safetensors"), plan, weights, classes, "float32")


def convert_stock(model: str, samples: str, target: str, out: str) -> None:
    """The stock script."""
    import keras
    import numpy as np
    import tensorflow as tf

    if model.endswith(".keras"):
        network = keras.models.load_model(model, compile=False)
    else:
        from edgevit.models.weights import load_model

        trained = load_model(model)
        assert trained.plan
        contract = trained.plan.preprocess
        raw = keras.Input((*contract.input_size, 3), name="images")
        x = keras.layers.Resizing(*contract.network_size, interpolation="bilinear")(raw)
        x = keras.layers.Rescaling(list(contract.scale), list(contract.offset))(x)
        network = keras.Model(raw, trained.network(x, training=False)["logits"])
    signature = [keras.InputSpec(shape=(1, *network.input_shape[1:]), dtype="float32")]
    if target.startswith("onnx"):
        path = f"{out}.onnx"
        network.export(path, format="onnx", input_signature=signature, verbose=False)
        return
    network.export(out, format="tf_saved_model", input_signature=signature, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(out)
    if target == "tflite-int8":
        (images,) = np.load(samples).values()
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [image[None].astype(np.float32)] for image in images
        )
        converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
    Path(f"{out}.tflite").write_bytes(converter.convert())
    shutil.rmtree(out)


def loop_plainly(file: str, samples: str) -> None:
    """LiteRT over all samples, one after the other, on one thread."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(file, num_threads=1)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    for images in np.load(samples).values():
        for image in images:
            interpreter.set_tensor(entry["index"], image[None].astype(entry["dtype"]))
            interpreter.invoke()


CHILDREN = {"make": make_file, "stock": convert_stock, "loop": loop_plainly}

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in CHILDREN:
        CHILDREN[sys.argv[1]](*sys.argv[2:])
    else:
        main()
