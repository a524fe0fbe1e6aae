"""Writes docs/results.md: a table for each result in the results folder, and what it comes from.

    python benchmarks/results_page.py

tests/golden/test_results.py says when the page is no longer that of the results.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from provenance import KEY, RESULTS, ROOT

from edgevit.base.documents import from_plain
from edgevit.core.measurements import Environment
from edgevit.formats.registry import TARGETS
from edgevit.models.shipped import list_shipped

PAGE = ROOT / "docs" / "results.md"
HEAD = """\
# Results

Written by `benchmarks/results_page.py` from `benchmarks/results`: not edited by hand. Each result
names the weights that it was measured with, the commit and the machine; a test refuses one of
weights that no longer ship. Ratios within one run carry over to other machines, times do not."""

Document = dict[str, Any]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    PAGE.write_text(render_page(RESULTS))


def render_page(folder: Path) -> str:
    """The page of all results in a folder; a section for which there is none is left out."""
    parts = [HEAD]
    for title, pattern, explanation, render in SECTIONS:
        documents = [json.loads(path.read_text()) for path in sorted(folder.glob(pattern))]
        if documents:
            parts += [f"## {title}", explanation, render(documents), render_provenance(documents)]
    return "\n\n".join(parts) + "\n"


def render_provenance(documents: Sequence[Document]) -> str:
    """Weights, commits and machines, a line for each result."""
    lines = []
    for document in documents:
        found = document[KEY]
        machine: Environment = from_plain(Environment, found["machine"])
        weights = ", ".join(f"{name} {sha[:12]}" for name, sha in found["weights_sha256"].items())
        tools = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
        lines.append(
            f"- weights {weights}; commit {found['commit'][:12]}; {machine}, {machine.system} "
            f"{machine.machine}; {tools}"
        )
    return "\n".join(["Measured with:", "", *lines])


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(headings)} |", f"| --- |{' ---: |' * (len(headings) - 1)}"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines)


def render_accuracy(documents: Sequence[Document]) -> str:
    """One column for each network, in the order of `edgevit models`; others behind them."""
    order = list(list_shipped())
    order += [name for d in documents if (name := d["keras"]["model"]) not in order]
    ordered = sorted(documents, key=lambda document: order.index(document["keras"]["model"]))
    names = [document["keras"]["model"] for document in ordered]
    rows = [["float Keras", *(f"{document['keras']['top1']:.2f}" for document in ordered)]]
    rows += [[target, *(_accuracy(d.get(target)) for d in ordered)] for target in TARGETS]
    return table(["top-1 % (MB)", *names], rows)


def _accuracy(row: Document | None) -> str:
    if row is None:
        return "-"
    return f"{row['accuracy']['top1']:.2f} ({row['size_bytes'] / 1e6:.2f})"


def all_rows(documents: Sequence[Document]) -> list[Document]:
    """The rows of several results as those of one."""
    return [row for document in documents for row in document["rows"]]


def render_micro(documents: Sequence[Document]) -> str:
    """What TensorFlow Lite Micro makes of each file."""
    rows = []
    for row in all_rows(documents):
        missing = ", ".join(f"{count} {op}" for op, count in row["missing"].items())
        verdict = f"no kernel for {missing}" if missing else row.get("failure", "differs")
        if row.get("identical"):
            verdict = "runs, bit-identical"
        arena = f"{row['arena_bytes'] / 1e3:,.0f}" if "arena_bytes" in row else "-"
        size = f"{row['size_bytes'] / 1e6:.2f}"
        rows.append([row["model"], "yes" if row["micro"] else "no", verdict, arena, size])
    return table(["network", "written for it", "outcome", "arena, kB", "file, MB"], rows)


def render_placement(documents: Sequence[Document]) -> str:
    """Operators on the CPU and cycles of the NPU, a network and an NPU a row."""
    groups: dict[tuple[str, str], dict[str, Document]] = {}
    for row in all_rows(documents):
        groups.setdefault((row["network"], row["npu"]), {})[row["file"]] = row
    rows = []
    for (network, npu), files in groups.items():
        stock, plain, ours = (
            files[name] for name in ("stock int8", "tflite-int8", "tflite-int8-npu")
        )
        ratios = [f"{ours[key] / stock[key]:.2f}" for key in ("npu_cycles", "total_cycles")]
        counts = [f"{file['on_cpu']}" for file in (stock, plain, ours)]
        cycles = [f"{file['npu_cycles'] / 1e6:.2f}" for file in (stock, plain, ours)]
        rows.append([network, npu, *counts, *cycles, *ratios])
    sides = ("stock", "`tflite-int8`", "`tflite-int8-npu`")
    headings = ["network", "NPU", *(f"on the CPU, {side}" for side in sides)]
    headings += [f"NPU cycles, millions, {side}" for side in sides]
    return table([*headings, "ratio to stock", "with memory"], rows)


def render_npu_accuracy(documents: Sequence[Document]) -> str:
    """Accuracy of both int8 files where a CPU runs them."""
    rows = []
    for row in all_rows(documents):
        plain, npu = (f"{row['top1'][name]:.2f}" for name in ("tflite-int8", "tflite-int8-npu"))
        middle, low, high = row["difference"]
        change = f"{middle:+.2f} ({low:+.2f} to {high:+.2f})"
        agreement = f"{100 * row['same_class']:.2f}"
        rows.append([row["network"], f"{row['images']:,}", plain, npu, change, agreement])
    names = ["network", "images", "`tflite-int8`, %", "`tflite-int8-npu`, %"]
    return table([*names, "points (95 %)", "same class, %"], rows)


def render_npu_latency(documents: Sequence[Document]) -> str:
    """Latency of both int8 files where a CPU runs them."""
    rows = []
    for row in all_rows(documents):
        times = [
            f"{middle:.3f} ({low:.3f} to {high:.3f})"
            for middle, low, high in row["median_ms"].values()
        ]
        ratio, low, high = row["ratio"]
        rows.append([row["network"], *times, f"{ratio:.3f} ({low:.3f} to {high:.3f})"])
    names = ["network", "`tflite-int8`, ms (95 %)", "`tflite-int8-npu`, ms (95 %)"]
    return table([*names, "ratio (95 %)"], rows)


def render_arm64(documents: Sequence[Document]) -> str:
    """Verdicts and instructions on emulated processors."""
    rows = []
    for row in all_rows(documents):
        counts = [
            f"{count / 1e6:.2f}" if isinstance(count, int) else count
            for count in row["instructions"].values()
        ]
        there = ", ".join(f"{verdict} ({python})" for python, verdict in row["there"].items())
        rows.append([f"{row['network']} {row['target']}", there, *counts])
    names = list(documents[0]["rows"][0]["instructions"])
    return table(["file", "verdict on aarch64 (Python)", *names], rows)


def render_calibration(documents: Sequence[Document]) -> str:
    """The spread of an int8 file's accuracy."""
    found = documents[0]
    rows = [["float Keras", f"{found['float']:.2f}"]]
    rows += [[f"{count} images", f"{top1:.2f}"] for count, top1 in found["sizes"].items()]
    draws = f"{len(found['seeds'])} draws of {found['images']} images"
    rows.append([draws, f"{min(found['seeds']):.2f} to {max(found['seeds']):.2f}"])
    rows += [[f"method {name}", f"{top1:.2f}"] for name, top1 in found["methods"].items()]
    return table(["calibrated on", "top-1 %"], rows)


def render_times(documents: Sequence[Document]) -> str:
    """Files of several networks that ran side by side."""
    rows = []
    for row in all_rows(documents):
        if "failure" in row:
            rows.append([row["model"], row["file"], row["failure"], "-"])
            continue
        ratio, low, high = row["ratio"]
        spread = f"{ratio:.2f} ({low:.2f} to {high:.2f})"
        rows.append([row["model"], row["file"], f"{row['median_ms']:.3f}", spread])
    return table(["network", "file", "ms", "ratio (95 %)"], rows)


def render_networks(documents: Sequence[Document]) -> str:
    """Error, agreement and operators of our files and of stock's."""
    rows = []
    for row in all_rows(documents):
        if "failure" in row:
            rows.append([row["network"], row["file"], row["failure"], *"-----"])
            continue
        times = [
            f"{middle:.2f} ({low:.2f} to {high:.2f}) of {name}"
            for name, (middle, low, high) in (row.get("ratio") or {}).items()
        ]
        time = f"{row['median_ms']:.2f}" if row.get("median_ms") else "-"
        gains = [
            f"{middle:+.1f} ({low:+.1f} to {high:+.1f}) over {name}"
            for name, (middle, low, high) in row["over_stock_db"].items()
        ]
        agreement = f"{100 * row['agreement']:.1f}"
        figures = [f"{row['snr_db']:.1f}", agreement, row["nodes"], "; ".join(gains) or "-"]
        rows.append([row["network"], row["file"], *figures, time, "; ".join(times) or "-"])
    names = ["network", "file", "signal to noise, dB", "same class, %", "operators"]
    return table([*names, "dB (95 %)", "ms, one thread", "time (95 %)"], rows)


def render_costs(documents: Sequence[Document]) -> str:
    """Seconds from shell to verdict: our sides and stock's of a network and target in a row."""
    groups: dict[tuple[str, ...], dict[str, Document]] = {}
    for number, document in enumerate(documents):  # ratios are those of one run
        for row in document["rows"]:
            if row["wall_s"]:
                labels = (row["network"], row.get("target", "-"), row["part"], str(row["cores"]))
                groups.setdefault((*labels, str(number)), {})[row["side"]] = row
    rows = []
    for (*labels, _), sides in groups.items():
        beside = next((name for name in ("stock", "plain loop") if name in sides), "")
        seconds = {name: float(median(row["wall_s"])) for name, row in sides.items()}
        memory = {name: f"({median(row['peak_mb']):,.0f} MB)" for name, row in sides.items()}
        shown = [
            f"{name}: {seconds[name]:.1f}"
            + (f", {seconds[name] / seconds[beside]:.2f} of {beside} " if beside else " ")
            + memory[name]
            for name in sides
            if name != beside
        ]
        other = f"{seconds[beside]:.1f} {memory[beside]}" if beside else "-"
        rows.append([*labels, "; ".join(shown), other])
    return table(["network", "target", "verb", "cores", "seconds (peak memory)", "beside"], rows)


def render_gate(documents: Sequence[Document]) -> str:
    """Verdicts by kind of comparison."""
    verdicts = ("ok", "slower", "inconclusive")
    rows = [
        [
            f"slower by {100 * row['slowdown']:g} %" if row["slowdown"] else "the same file",
            f"{100 * row['limit']:g} %",
            "yes" if row["busy_core"] else "no",
            *(row.get(verdict, 0) for verdict in verdicts),
        ]
        for row in all_rows(documents)
    ]
    return table(["candidate", "limit", "busy core beside", *verdicts], rows)


def render_sweeps(documents: Sequence[Document]) -> str:
    """What was timed, and its figures by name."""
    rows = []
    for row in all_rows(documents):
        figures = [f"{name} {_plain(value)}" for name, value in row.items() if name != "what"]
        rows.append([row["what"], "; ".join(figures)])
    return table(["run", "figures"], rows)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_plain(inner)}" for name, inner in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def render_kills(documents: Sequence[Document]) -> str:
    """Counts for each kind of disturbance."""
    keys = ("killed", "times", "runs", "cells", "given_up", "done_again", "differing", "litter")
    rows = [[row[key] for key in keys] for row in all_rows(documents)]
    return table([key.replace("_", " ") for key in keys], rows)


SECTIONS: tuple[tuple[str, str, str, Callable[[Sequence[Document]], str]], ...] = (
    (
        "Accuracy and size",
        "accuracy_of_targets_*.json",
        "Every shipped network and target on the 10,000 test images of CIFAR-10 (JPEG q75); a "
        "dash: not counted. A `.keras` file is a network of benchmarks/small_networks.py, trained "
        "in minutes. The JSON has the paired difference to float Keras with its interval, "
        "and the differences of logits.",
        render_accuracy,
    ),
    (
        "TensorFlow Lite Micro",
        "tflm*.json",
        "`tflite-int8` in the microcontroller's runtime, as the file is and written for it, "
        "against LiteRT's reference kernels. The arena is that of a 64-bit machine.",
        render_micro,
    ),
    (
        "Ethos-U",
        "npu_placement*.json",
        "Operators that Arm's compiler Vela leaves to the CPU, and the cycles that it expects of "
        "the NPU, which count nothing of the CPU's; stock is TFLiteConverter's int8 of the same "
        "weights. The ratios are `tflite-int8-npu` to stock: cycles of the NPU alone, and with its "
        "waiting for memory. MobileNetV2 has seeded weights and pictures of 96x96.",
        render_placement,
    ),
    (
        "Ethos-U files on a CPU: accuracy",
        "npu_accuracy*.json",
        "The same weights and test images in LiteRT; the interval is a bootstrap over images.",
        render_npu_accuracy,
    ),
    (
        "Ethos-U files on a CPU: latency",
        "npu_latency*.json",
        "LiteRT, one thread, batch 1, each file in a process of its own, in turns; the ratio is "
        "that of paired rounds.",
        render_npu_latency,
    ),
    (
        "aarch64",
        "arm64*.json",
        "`edgevit verify` on an emulated Cortex-A76 (a dash: not run), and millions of "
        "instructions of one inference on emulated processors, one thread; they ignore caches. "
        "x86-64 has AVX2 there, no AVX-512.",
        render_arm64,
    ),
    (
        "Calibration",
        "calibration.json",
        "`tflite-int8` of ShiftViT on all test images.",
        render_calibration,
    ),
    (
        "TFLite against TFLiteConverter",
        "tflite_vs_stock.json",
        "One thread, batch 1, in turns; the ratio is to TFLiteConverter's int8 of the same "
        "weights.",
        render_times,
    ),
    (
        "ONNX against other exporters",
        "onnx_vs_peers.json",
        "Float32, one thread, batch 1, in turns; the ratio is to the faster of tf2onnx (with the "
        "missing handler) and Keras' exporter on torch.",
        render_times,
    ),
    (
        "Convolutional networks against stock exporters and quantisers",
        "networks_vs_stock*.json",
        "The same weights, calibration images and other test images for all files, against float "
        "Keras. Networks of keras.applications have seeded weights, whose errors grow more from "
        "layer to layer than those of trained ones: only their differences count.",
        render_networks,
    ),
    (
        "From shell to verdict",
        "export_cost*.json",
        "Whole processes, one after the other. An export opens, records, converts and verifies; a "
        "second target finds the outputs that the first one kept. Beside it stands the stock "
        "script, which imports, opens and converts, and verifies nothing; beside a calibration "
        "with 300 images, a plain loop of LiteRT over them.",
        render_costs,
    ),
    (
        "The latency gate",
        "gate_power.json",
        "How often it calls a file slower than itself, and finds a slowdown that is there.",
        render_gate,
    ),
    (
        "Sweeps",
        "sweep_cost.json",
        "One plan with 1 and 2 processes and on a Ray cluster of two nodes of one core each, all "
        "on the same machine of two cores; then a second run, cells that do nothing, and an "
        "evaluation. Memory is that of all processes together.",
        render_sweeps,
    ),
    (
        "Sweeps that are killed",
        "sweep_kills.json",
        "Two networks in four targets; the run itself, one of its workers, or a node of a Ray "
        "cluster is killed at random moments, and the run started again. A cell whose process is "
        "killed twice is given up as a row with its reason; a last run with --again does those. "
        "Files are compared with those of an undisturbed run.",
        render_kills,
    ),
)


if __name__ == "__main__":
    main()
