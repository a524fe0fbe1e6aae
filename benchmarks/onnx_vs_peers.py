"""Our float32 ONNX against tf2onnx (with the missing handler) and Keras' exporter on torch.

The same shipped weights, the bare network (float32 image at the network's size), one process, one
thread, batch 1, interleaved. Peers are given our Keras model, which is written with export in mind.
A file that onnxruntime refuses is a result. Needs the torch extra; run it while nothing else runs.

    python benchmarks/onnx_vs_peers.py --json benchmarks/results/onnx_vs_peers.json
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from provenance import result_path, write_result

from edgevit.bench.measure import measure_interleaved
from edgevit.formats.onnx.options import OnnxOptions
from edgevit.formats.onnx.writer.convert import write_float32, write_float32_cpu
from edgevit.frontend.opening import open_source

MODELS = "shiftvit,vit,patchconvnet,focalnet,gcvit:cifar64"
BACKENDS = {"tf2onnx": "tensorflow", "keras-torch": "torch"}  # of each peer
OURS, OPTIMIZED = "ours", "ours, onnx-float32-cpu"
WRITER = Path(__file__).with_name("write_peer.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=MODELS, help="commas between")
    parser.add_argument("--rounds", type=int, default=100, help="samples of each file")
    parser.add_argument("--json", type=result_path, help="where to write figures and raw samples")
    options = parser.parse_args()
    models, rows = options.models.split(","), []
    for model in models:
        with tempfile.TemporaryDirectory() as folder:
            files, failures = write_files(model, Path(folder))
            rows += compare(model, files, options.rounds, failures)
        for name, reason in failures.items():
            print(f"{model:16} {name}: {reason}")
    if options.json:
        write_result(options.json, {"rows": rows}, models)


def write_files(model: str, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """(path of each file, reason of each failure) by name."""
    files, failures = {}, {}
    source = open_source(model, outputs=("logits",))
    for name, write in ((OURS, write_float32), (OPTIMIZED, write_float32_cpu)):
        files[name] = folder / f"{name}.onnx"
        write(source, OnnxOptions(preprocess=False), None, files[name]).finish({})
    if files[OURS].read_bytes() == files[OPTIMIZED].read_bytes():
        del files[OPTIMIZED]
    for peer, backend in BACKENDS.items():
        path = folder / f"{peer}.onnx"
        done = subprocess.run(
            [sys.executable, str(WRITER), model, peer, str(path)],
            env={**os.environ, "KERAS_BACKEND": backend},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            failures[peer] = done.stderr.strip().splitlines()[-1][:200]
        else:
            files[peer] = path
    return files, failures


def compare(
    model: str, files: dict[str, Path], rounds: int, failures: dict[str, str]
) -> list[dict[str, Any]]:
    """One row for each file, with its raw samples; files that do not run join the failures."""
    import onnx

    candidates, logits = {}, {}
    for name, path in files.items():
        try:
            session, feed = open_file(path)
            logits[name] = session.run(None, feed)[0]
        except Exception as error:
            failures[name] = " ".join(str(error).split())[:200]
            continue
        candidates[name] = lambda session=session, feed=feed: session.run(None, feed)
    samples = measure_interleaved(candidates, rounds, runs=3, warmup=5)
    peers = [name for name in BACKENDS if name in candidates]
    fastest = min(peers, key=samples.median_ms) if peers else OURS
    rows: list[dict[str, Any]] = [
        {"model": model, "file": name, "failure": reason} for name, reason in failures.items()
    ]
    for name in candidates:
        ratio, low, high = samples.ratio(name, fastest)
        row = {
            "model": model,
            "file": name,
            "median_ms": samples.median_ms(name),
            "ratio": [ratio, low, high],
            "nodes": len(onnx.load(str(files[name])).graph.node),
            "difference": float(np.abs(logits[name] - logits[OURS]).max() / np.ptp(logits[OURS])),
            "latency_ns": samples.latency_ns[name],
        }
        print(
            f"{model:16} {name:20} {row['median_ms']:8.3f} ms, {ratio:.3f} ({low:.3f} to "
            f"{high:.3f}) of {fastest}, {row['nodes']} nodes, differs by {row['difference']:.1e}"
        )
        rows.append(row)
    return rows


def open_file(path: Path) -> tuple:
    """(session of one thread, a seeded input for it)."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    images = np.random.default_rng(0).random(entry.shape, dtype=np.float32)
    return session, {entry.name: images}


if __name__ == "__main__":
    main()
