"""Our float32 ONNX against tf2onnx (with the missing handler) and Keras' exporter on torch.

The same seeded weights, the bare network (float32 image at the network's size), one process, one
thread, batch 1, interleaved. The last column holds our latency against the time of our own matrix
products and convolutions alone, taken from onnxruntime's profile.

    python benchmarks/onnx_vs_peers.py --models shiftvit,vit --json benchmarks/results/onnx.json
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from report import describe_environment, to_json

from edgevit.bench.measure import measure_interleaved

MODELS = "shiftvit,vit,patchconvnet,focalnet,gcvit"
HEAVY = ("MatMul", "FusedMatMul", "Gemm", "Conv", "FusedConv", "Attention", "MultiHeadAttention")
PEERS = ("tf2onnx", "keras-torch")
OURS = "ours"

# Runs in a process of its own: a Keras backend is chosen once.
WRITE_PEER = """
import sys, time
import numpy as np
import keras
from edgevit.models.build import build_plan, plan_model

name, weights, peer, path = sys.argv[1:]
plan = plan_model(name, outputs=("logits",))
network = build_plan(plan)
with np.load(weights) as arrays:
    network.set_weights([arrays[key] for key in arrays.files])
model = keras.Model(network.inputs, network.outputs[0])
shape = (1, *plan.preprocess.network_size, 3)
started = time.perf_counter()
if peer == "keras-torch":
    spec = keras.InputSpec(shape=shape, dtype="float32")
    model.export(path, format="onnx", input_signature=[spec], verbose=False)
else:
    import tensorflow as tf
    import tf2onnx
    from edgevit.export.onnx import erfc_handler

    function = tf.function(lambda images: model(images, training=False))
    tf2onnx.convert.from_function(
        function,
        input_signature=(tf.TensorSpec(shape, tf.float32, name="images"),),
        opset=17,
        custom_op_handlers={"Erfc": (erfc_handler, [])},
        output_path=path,
    )
print("seconds", time.perf_counter() - started)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=MODELS, help="commas between")
    parser.add_argument("--rounds", type=int, default=100, help="samples for each candidate")
    parser.add_argument("--keep", type=Path, help="folder for the files; kept and used again")
    parser.add_argument("--json", type=Path, help="where to write raw samples and the table")
    options = parser.parse_args()
    rows = []
    with contextlib.ExitStack() as stack:
        place = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place.mkdir(parents=True, exist_ok=True)
        for name in options.models.split(","):
            files, seconds, failures = write_files(name, place)
            rows.append({"model": name, **compare(files, options.rounds), "export_s": seconds})
            rows[-1]["failures"].update(failures)
            print_row(rows[-1])
    environment = describe_environment()
    print(f"{environment['cpu']}, one thread, batch 1, {environment['versions']}")
    if options.json:
        document = {"rows": rows, "environment": environment}
        options.json.write_text(to_json(document) + "\n")


def write_files(name: str, place: Path) -> tuple[dict, dict, dict]:
    """(path of each file, seconds of each export, reason of each failure)."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    files, seconds, failures = {}, {}, {}
    weights = place / f"{name}.npz"
    ours = place / f"{name}.{OURS}.onnx"
    seconds[OURS] = write_ours(name, weights, ours)
    for peer in PEERS:
        path = place / f"{name}.{peer}.onnx"
        backend = "torch" if peer == "keras-torch" else "tensorflow"
        if not path.exists():
            done = subprocess.run(
                [sys.executable, "-c", WRITE_PEER, name, str(weights), peer, str(path)],
                env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
                capture_output=True,
                text=True,
            )
            if done.returncode:
                failures[peer] = done.stderr.strip().splitlines()[-1][:200]
                continue
            seconds[peer] = float(done.stdout.split()[-1])
        files[peer] = path
    files[OURS] = ours
    return files, seconds, failures


def write_ours(name: str, weights: Path, path: Path) -> float:
    """Exports with seeded weights, writes those down for the peers; seconds of the export."""
    import keras

    from edgevit.export.onnx import float_model
    from edgevit.export.source import ExportOptions, Source
    from edgevit.models.build import build_plan, plan_model

    keras.utils.set_random_seed(0)
    plan = plan_model(name, outputs=("logits",))
    network = build_plan(plan)
    rng = np.random.default_rng(1)
    arrays = [
        array + rng.normal(0, 0.02, array.shape).astype(np.float32)
        for array in network.get_weights()
    ]
    network.set_weights(arrays)
    np.savez(weights, *arrays)
    source = Source(name, network, plan.preprocess, (), "0" * 64)
    started = time.perf_counter()
    model, _ = float_model(source, ExportOptions(preprocess=False))
    path.write_bytes(model.SerializeToString())
    return time.perf_counter() - started


def compare(files: dict[str, Path], rounds: int) -> dict:
    """Latencies, ratios, node counts, agreement, and our own floor."""
    import onnx

    candidates, failures, logits, nodes = {}, {}, {}, {}
    for name, path in files.items():
        nodes[name] = dict(Counter(n.op_type for n in onnx.load(str(path)).graph.node))
        try:
            session, feed = open_file(path)
            logits[name] = session.run(None, feed)[0]
        except Exception as error:  # a file that onnxruntime refuses is a result
            failures[name] = " ".join(str(error).split())[:200]
            continue
        candidates[name] = lambda session=session, feed=feed: session.run(None, feed)
    samples = measure_interleaved(candidates, rounds, runs=3, warmup=5)
    fastest = min((name for name in candidates if name != OURS), key=samples.median_ms)
    spread = np.ptp(logits[OURS])
    session, feed = open_file(files[OURS], profile=True)
    heavy, everything = profile(session, feed)
    return {
        "median_ms": {name: samples.median_ms(name) for name in candidates},
        "mad_ms": {name: samples.spread_ms(name) for name in candidates},
        "fastest_peer": fastest,
        "ratio": samples.ratio(OURS, fastest),
        "heavy_ms": heavy,
        "profiled_ms": everything,
        "nodes": nodes,
        "difference": {
            name: float(np.abs(value - logits[OURS]).max() / spread)
            for name, value in logits.items()
        },
        "failures": failures,
        "latency_ns": samples.latency_ns,
    }


def open_file(path: Path, profile: bool = False) -> tuple:
    """(session, a seeded input for it)."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 4
    settings.enable_profiling = profile
    settings.profile_file_prefix = str(path.with_suffix(""))
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    images = np.random.default_rng(0).random(entry.shape, dtype=np.float32)
    return session, {entry.name: images}


def profile(session, feed, runs: int = 60) -> tuple[float, float]:
    """(milliseconds in matrix products and convolutions, in all nodes): medians over runs."""
    for _ in range(runs):
        session.run(None, feed)
    with contextlib.redirect_stdout(io.StringIO()):
        path = Path(session.end_profiling())
    events = json.loads(path.read_text())
    path.unlink()
    runs_us: list[dict[str, float]] = []
    current: dict[str, float] = defaultdict(float)
    for event in sorted(events, key=lambda event: event["ts"]):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            kind = event["args"]["op_name"]
            current["heavy" if kind in HEAVY else "other"] += event["dur"]
        elif event["name"] == "model_run":
            runs_us.append(current)
            current = defaultdict(float)
    runs_us = [run for run in [*runs_us, current] if run][5:]
    heavy = statistics.median(run["heavy"] for run in runs_us) / 1000
    return heavy, statistics.median(run["heavy"] + run["other"] for run in runs_us) / 1000


def print_row(row: dict) -> None:
    """One model, in the order of the columns of the table in the documentation."""
    ratio, low, high = row["ratio"]
    times = ", ".join(f"{name} {row['median_ms'][name]:.2f} ms" for name in row["median_ms"])
    counts = ", ".join(f"{name} {sum(kinds.values())}" for name, kinds in row["nodes"].items())
    interval = f"{ratio:.3f} ({low:.3f}-{high:.3f})"
    print(f"{row['model']}: {times}; ours / {row['fastest_peer']} {interval}")
    floor = row["median_ms"][OURS] / row["heavy_ms"]
    print(f"  ours / own products and convolutions {floor:.3f} ({row['heavy_ms']:.2f} ms)")
    print(f"  nodes: {counts}; export, s: { {k: round(v, 1) for k, v in row['export_s'].items()} }")
    print(f"  largest difference of logits over their range: {row['difference']}")
    for name, reason in row["failures"].items():
        print(f"  {name}: {reason}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
