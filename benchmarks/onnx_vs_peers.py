"""Our float32 ONNX against tf2onnx (with the missing handler) and Keras' exporter on torch.

The same seeded weights, the bare network (float32 image at the network's size), one process, one
thread, batch 1, interleaved. Each peer gets two Keras models: ours, which is written with export in
mind, and the same network from stock Keras layers as tutorials write it (textbook.py). Both hold
the same weights; a textbook model whose logits differ is not timed. The last figure is our latency
against the time of our own matrix products and convolutions alone: a run without the profiler,
over what onnxruntime's profiler says of the products in the runs between.

    python benchmarks/onnx_vs_peers.py --models shiftvit,vit --json benchmarks/results/onnx.json
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from report import describe_environment, to_json

from edgevit.bench.measure import measure_interleaved
from edgevit.bench.profile import group_rows, matrix_share, profile, typical_us

MODELS = "shiftvit,vit,patchconvnet,focalnet,gcvit"
BACKENDS = {"tf2onnx": "tensorflow", "keras-torch": "torch"}  # of each peer
TEXTBOOK = "-textbook"  # the peer reads the network from stock layers
PEERS = (*BACKENDS, *(peer + TEXTBOOK for peer in BACKENDS))
OURS = "ours"
OPTIMIZED = "ours --optimize cpu"  # where that changes anything
PROFILED = 60  # runs under onnxruntime's profiler
WRITER = Path(__file__).with_name("write_peer.py")


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
    print(f"{environment.cpu}, one thread, batch 1, {environment.versions}")
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
        exporter, form = peer.removesuffix(TEXTBOOK), "ours"
        if peer != exporter:
            form = "textbook"
        path = place / f"{name}.{peer}.onnx"
        timed = path.with_suffix(".seconds")
        if not path.exists():
            done = subprocess.run(
                [sys.executable, str(WRITER), name, str(weights), exporter, form, str(path)],
                env={
                    **os.environ,
                    "KERAS_BACKEND": BACKENDS[exporter],
                    "TF_CPP_MIN_LOG_LEVEL": "3",
                },
                capture_output=True,
                text=True,
            )
            if done.returncode:
                failures[peer] = reason_of(done.stderr)
                continue
            timed.write_text(done.stdout.split()[-1])
        if timed.exists():
            seconds[peer] = float(timed.read_text())
        files[peer] = path
    files[OURS] = ours
    optimized = place / f"{name}.{OURS}-cpu.onnx"
    if write_optimized(ours, optimized):
        files[OPTIMIZED] = optimized
    return files, seconds, failures


def reason_of(stderr: str) -> str:
    """The first line of the error that ended a process, or its last words."""
    lines = stderr.strip().splitlines() or ["no word"]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return shorten((named or lines)[-1])


def shorten(message: str) -> str:
    """The beginning of a message on one line, with the names of files but not their folders."""
    return re.sub(r"(?<!\w)/(?:[^\s/'\"]+/)+", "", " ".join(message.split()))[:200]


def write_ours(name: str, weights: Path, path: Path) -> float:
    """Exports with seeded weights, writes those down for the peers; seconds of the export."""
    import keras

    from edgevit.core.target import find_target
    from edgevit.formats.onnx.writer.convert import export_onnx
    from edgevit.frontend.source import ExportOptions, Source
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
    options = ExportOptions(preprocess=False)
    path.write_bytes(export_onnx(source, find_target("onnx-float32"), options, None)[0])
    return time.perf_counter() - started


def write_optimized(ours: Path, path: Path) -> bool:
    """Our file with ``--optimize cpu``; False if nothing in it is of that kind."""
    import onnx

    from edgevit.formats.onnx.writer.convert import finish_float

    model = onnx.load(str(ours))
    changed = any(line.startswith("winograd") for line in finish_float(model, "cpu"))
    if changed:
        path.write_bytes(model.SerializeToString())
    return changed


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
            failures[name] = shorten(str(error))
            continue
        candidates[name] = lambda session=session, feed=feed: session.run(None, feed)
    samples = measure_interleaved(candidates, rounds, runs=3, warmup=5)
    spread = np.ptp(logits[OURS])
    found = profile(files[OURS], runs=PROFILED, warmup=10)
    whole = sum(row.time_us for row in group_rows(found)) / 1000
    heavy = matrix_share(found) * whole
    fastest, ratios = {}, {}
    for kind, peers in (("peer", list(BACKENDS)), ("textbook", [p + TEXTBOOK for p in BACKENDS])):
        running = [peer for peer in peers if peer in candidates]
        fastest[kind] = min(running, key=samples.median_ms) if running else None
        ratios[kind] = samples.ratio(OURS, fastest[kind]) if running else None
    ratio_optimized = None
    if OPTIMIZED in candidates:
        ratio_optimized = samples.ratio(OPTIMIZED, fastest["peer"] or OURS)
    return {
        "ratio_optimized": ratio_optimized,
        "bytes": {name: path.stat().st_size for name, path in files.items()},
        "median_ms": {name: samples.median_ms(name) for name in candidates},
        "mad_ms": {name: samples.spread_ms(name) for name in candidates},
        "fastest_peer": fastest["peer"],
        "ratio": ratios["peer"],
        "fastest_textbook": fastest["textbook"],
        "ratio_textbook": ratios["textbook"],
        "heavy_ms": heavy,
        "profiled_ms": whole,
        "plain_ms": typical_us(found.plain_us) / 1000,
        "floor_ratio": typical_us(found.plain_us) / 1000 / heavy,
        "nodes": nodes,
        "difference": {
            name: float(np.abs(value - logits[OURS]).max() / spread)
            for name, value in logits.items()
        },
        "failures": failures,
        "latency_ns": samples.latency_ns,
    }


def open_file(path: Path) -> tuple:
    """(session, a seeded input for it)."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    images = np.random.default_rng(0).random(entry.shape, dtype=np.float32)
    return session, {entry.name: images}


def print_row(row: dict) -> None:
    """One model, in the order of the columns of the table in the documentation."""
    times = ", ".join(f"{name} {row['median_ms'][name]:.2f} ms" for name in row["median_ms"])
    counts = ", ".join(f"{name} {sum(kinds.values())}" for name, kinds in row["nodes"].items())
    print(f"{row['model']}: {times}")
    for label, peer, found in (
        ("our Keras model", row["fastest_peer"], row["ratio"]),
        ("stock layers", row["fastest_textbook"], row["ratio_textbook"]),
    ):
        if peer:
            ratio, low, high = found
            print(f"  {label}: ours / {peer} {ratio:.3f} ({low:.3f}-{high:.3f})")
        else:
            print(f"  {label}: no peer's file runs")
    if row["ratio_optimized"]:
        ratio, low, high = row["ratio_optimized"]
        print(f"  {OPTIMIZED} / {row['fastest_peer'] or OURS} {ratio:.3f} ({low:.3f}-{high:.3f})")
    floor = f"{row['plain_ms']:.2f} ms over {row['heavy_ms']:.2f} ms"
    print(f"  ours / own products and convolutions {row['floor_ratio']:.3f} ({floor})")
    print(f"  nodes: {counts}; export, s: { {k: round(v, 1) for k, v in row['export_s'].items()} }")
    print(f"  largest difference of logits over their range: {row['difference']}")
    for name, reason in row["failures"].items():
        print(f"  {name}: {reason}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
