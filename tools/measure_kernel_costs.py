"""Measures what LiteRT's kernels cost here, and fits the table that tflite-mixed is planned with.

Every distinct operator of the given architectures is cut out of its float graph and timed alone, in
float32, with int8 weights (dynamic) and in int8, one thread. The time of one operator is the
difference between a graph of several copies, each with weights of its own, and a graph of one: what
an inference costs besides its operators falls out. An operator that XNNPACK leaves to LiteRT's own
kernels in int8 also pays for interrupting XNNPACK, which is measured apart.

    python tools/measure_kernel_costs.py                     # all architectures
    python tools/measure_kernel_costs.py shiftvit --rounds 5 --out costs.json
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np

import edgevit
from edgevit.base.documents import to_json
from edgevit.bench.environment import describe_environment
from edgevit.bench.measure import measure_interleaved
from edgevit.core.target import Precision
from edgevit.formats.tflite.operators import has_kernel
from edgevit.formats.tflite.options import TfliteOptions
from edgevit.formats.tflite.runtime.litert import count_partitions, open_interpreter
from edgevit.formats.tflite.writer.convert import float_graph
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.quantize.float_graph import describe_graph
from edgevit.formats.tflite.writer.quantize.set_precisions import set_precisions
from edgevit.frontend.opening import open_source
from edgevit.models import MODELS
from edgevit.quantization import kernel_costs
from edgevit.quantization.kernel_costs import OpSize

MOST_COPIES = 9
WEIGHT_BYTES = 24_000_000  # of all copies together: more than caches hold, less than a machine
CHAIN = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("models", nargs="*", default=list(MODELS), metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=15)
    default = Path(kernel_costs.__file__).with_name(kernel_costs.TABLE)
    parser.add_argument("--out", type=Path, default=default)
    parser.add_argument("--raw", type=Path, help="where to write every measurement")
    parser.add_argument("--kinds", help="only these, with commas between; other rows stay")
    options = parser.parse_args()
    samples: dict[tuple[str, Precision], list[tuple[OpSize, float]]] = defaultdict(list)
    seen: set[tuple] = set()
    left: Counter[str] = Counter()
    for name in options.models:
        graph, _ = float_graph(open_source(edgevit.build(name)), TfliteOptions())
        print(f"{name}: {len(graph.operators)} operators", file=sys.stderr, flush=True)
        kinds = options.kinds.split(",") if options.kinds else []
        measure_graph(graph, options.rounds, samples, seen, left, kinds)
        publish(samples, left, measure_interruption(graph, options.rounds), options)
    print(f"wrote {options.out}", file=sys.stderr)


def publish(samples: dict, left: Counter, interruption: float, options) -> None:
    """Writes the table of what was measured so far."""
    # Scales that XNNPACK refuses are no trait of a kind: most of its operators decide.
    refused = sorted(k for k, n in left.items() if 2 * n > len(samples[k, Precision.INT8]))
    table: dict[str, dict[str, list[float]]] = {}
    for (kind, precision), found in sorted(samples.items()):
        line = fit(found)
        if precision is Precision.INT8 and kind in refused:
            line[0] = round(line[0] + interruption, 1)
        table.setdefault(kind, {})[str(precision)] = line
    if options.kinds and options.out.exists():
        table = json.loads(options.out.read_text())["ns"] | table
    document = {
        "machine": str(describe_environment()),
        "interruption_ns": round(interruption, 1),
        "not_delegated_in_int8": refused,
        "ns": table,
    }
    options.out.write_text(to_json(document, indent=1) + "\n")
    if options.raw:
        rows = [
            [kind, str(precision), size.elements, size.macs, size.weights, round(ns, 1)]
            for (kind, precision), found in sorted(samples.items())
            for size, ns in found
        ]
        options.raw.write_text(to_json(rows) + "\n")


def measure_graph(
    graph: TfliteGraph, rounds: int, samples: dict, seen: set, left: Counter, kinds: list[str]
) -> None:
    """Adds the measurements of all operators of a graph that were not seen before."""
    for place, op in enumerate(describe_graph(graph).ops):
        operator = graph.operators[place]
        shapes = tuple(graph.shape(int(i)) for i in (*operator.inputs, *operator.outputs) if i >= 0)
        key = (op.kind, shapes, len(op.inputs))
        if key in seen or not op.inputs or (kinds and op.kind not in kinds):
            continue
        seen.add(key)
        weights = sum(
            graph.values(int(i)).nbytes for i in operator.inputs if is_float_constant(graph, i)
        )
        copies = int(np.clip(WEIGHT_BYTES // max(weights, 1), 2, MOST_COPIES))
        wanted = [Precision.FLOAT32]
        wanted += [Precision.INT8] if has_kernel(op.kind, Precision.INT8) else []
        dynamic = op.weighted and has_kernel(op.kind, Precision.DYNAMIC)
        wanted += [Precision.DYNAMIC] if dynamic else []
        alone = cut_out(graph, place, 1, Precision.FLOAT32)  # small, so what follows is quick
        times = measure_operator(alone, 0, copies, wanted, rounds, left)
        for precision, ns in times.items():
            samples[op.kind, precision].append((op.size, ns))
        for kind in ("QUANTIZE", "DEQUANTIZE"):
            size = max(int(np.prod(shapes[-1])), 1)
            if (kind, size) in seen or op.kind not in ("ADD", "FULLY_CONNECTED"):
                continue
            seen.add((kind, size))
            ns = measure_conversion(alone, 0, kind, rounds)
            samples[kind, Precision.INT8].append((OpSize(size), ns))


def is_float_constant(editor: TfliteGraph, index: int) -> bool:
    return index >= 0 and editor.tensors[index].type == 0 and editor.is_constant(int(index))


def measure_operator(
    graph: TfliteGraph, place: int, copies: int, wanted: list[Precision], rounds: int, left: Counter
) -> dict[Precision, float]:
    """ns of one operator in each precision."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for precision in wanted:
            for count in (1, copies):
                path = Path(folder) / f"{precision}-{count}.tflite"
                path.write_bytes(cut_out(graph, place, count, precision).to_bytes())
                paths[precision, count] = path
        times = time_files(paths, rounds)
        if Precision.INT8 in wanted:
            parts = count_partitions(paths[Precision.INT8, copies])
            if not parts["delegated"]:
                left[graph.kinds[place]] += 1
    return {
        precision: max(times[precision, copies] - times[precision, 1], 1.0) / (copies - 1)
        for precision in wanted
    }


def measure_conversion(graph: TfliteGraph, place: int, kind: str, rounds: int) -> float:
    """ns of a QUANTIZE or DEQUANTIZE of an operator's output."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for count in (1, MOST_COPIES):
            editor = graph.copy()
            index = int(editor.operators[place].outputs[0])
            operators, inputs, outputs = [], [], []
            for number in range(count):
                plain = editor.copy_tensor(index, f"_float{number}", "float32")
                levels = editor.copy_tensor(index, f"_int8{number}", "int8")
                editor.set_scale(levels, [0.01], [0])
                sides = (plain, levels) if kind == "QUANTIZE" else (levels, plain)
                operators.append(editor.make_operator(kind, 2, [sides[0]], [sides[1]]))
                inputs.append(sides[0])
                outputs.append(sides[1])
            paths[count] = Path(folder) / f"{count}.tflite"
            finish(editor, operators, inputs, outputs)
            paths[count].write_bytes(editor.to_bytes())
        times = time_files(paths, rounds)
    return max(times[MOST_COPIES] - times[1], 1.0) / (MOST_COPIES - 1)


def measure_interruption(graph: TfliteGraph, rounds: int) -> float:
    """ns that one operator costs XNNPACK which it does not take over, beyond its own time."""
    place = graph.kinds.index("GELU")
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, kinds in {
            "alternating": ["MUL", "GELU"] * CHAIN,
            "apart": ["MUL"] * CHAIN + ["GELU"] * CHAIN,
        }.items():
            editor = graph.copy()
            gelu = editor.operators[place]
            current = first = editor.copy_tensor(int(gelu.inputs[0]), "_first", "int8")
            editor.set_scale(first, [0.01], [0])
            operators = []
            for number, kind in enumerate(kinds):
                made = editor.copy_tensor(int(gelu.inputs[0]), f"_{number}", "int8")
                editor.set_scale(made, [0.01], [0])
                sides = [current] if kind == "GELU" else [current, current]
                operator = editor.make_operator(kind, 2, sides, [made])
                if kind == "GELU":
                    operator.builtinOptionsType = gelu.builtinOptionsType
                    operator.builtinOptions = gelu.builtinOptions
                operators.append(operator)
                current = made
            paths[name] = Path(folder) / f"{name}.tflite"
            finish(editor, operators, [first], [current])
            paths[name].write_bytes(editor.to_bytes())
        times = time_files(paths, rounds)
    return max(times["alternating"] - times["apart"], 0.0) / (CHAIN - 1)


def cut_out(graph: TfliteGraph, place: int, copies: int, precision: Precision) -> TfliteGraph:
    """A graph of copies of one operator, in one precision from its inputs to its outputs."""
    editor = graph.copy()
    operator = editor.operators[place]
    inputs = [
        int(i)
        for i in dict.fromkeys(operator.inputs)
        if i >= 0 and editor.tensors[i].type == 0 and not editor.is_constant(int(i))
    ]
    operators, outputs, ranges = [], [], {}
    for number in range(copies):
        made = copy.copy(operator)
        made.inputs = np.array(operator.inputs)
        for slot, index in enumerate(operator.inputs):
            if is_float_constant(editor, index):
                values = editor.values(int(index))
                made.inputs[slot] = editor.add_constant(int(index), f"_{number}", values)
        made.outputs = np.array(
            [editor.copy_tensor(int(i), f"_{number}", "float32") for i in operator.outputs]
        )
        operators.append(made)
        outputs += [int(i) for i in made.outputs]
    for index in (*inputs, *outputs):
        ranges[editor.name(index)] = (0.0, 4.0)  # RSQRT wants positive numbers
    finish(editor, operators, inputs, outputs)
    if precision is not Precision.FLOAT32:
        set_precisions(editor, ranges, [precision] * copies)
        remove_borders(editor)
    return editor


def remove_borders(editor: TfliteGraph) -> None:
    """Takes QUANTIZE from the inputs and DEQUANTIZE from the outputs of a graph."""
    inner = {int(i): int(i) for i in (*editor.graph.inputs, *editor.graph.outputs)}
    operators = []
    for operator, kind in zip(editor.operators, editor.kinds, strict=True):
        before, after = int(operator.inputs[0]), int(operator.outputs[0])
        if kind == "QUANTIZE" and before in editor.graph.inputs:
            inner[before] = after
        elif kind == "DEQUANTIZE" and after in editor.graph.outputs:
            inner[after] = before
        else:
            operators.append(operator)
    inputs = [inner[int(i)] for i in editor.graph.inputs]
    finish(editor, operators, inputs, [inner[int(i)] for i in editor.graph.outputs])


def finish(editor: TfliteGraph, operators: list, inputs: list[int], outputs: list[int]) -> None:
    editor.graph.inputs, editor.graph.outputs = inputs, outputs
    editor.model.signatureDefs = []
    editor.operators = operators
    editor.prune()


def time_files(paths: dict, rounds: int) -> dict:
    """ns of an inference of each file: the quickest of interleaved rounds."""
    candidates = {}
    for key, path in paths.items():
        interpreter = open_interpreter(path)
        interpreter.allocate_tensors()
        rng = np.random.default_rng(0)
        for entry in interpreter.get_input_details():
            noise = rng.uniform(0.1, 1, entry["shape"])
            levels = noise if entry["dtype"] == np.float32 else 100 * noise
            interpreter.set_tensor(entry["index"], levels.astype(entry["dtype"]))
        candidates[key] = interpreter.invoke
    samples = measure_interleaved(candidates, rounds, runs=3, warmup=3)
    return {key: float(min(samples.latency_ns[key])) for key in paths}


def fit(found: list[tuple[OpSize, float]]) -> list[float]:
    """The line with the smallest sum of absolute relative errors, none of its terms negative.

    Absolute errors, by reweighting (Schlossmacher 1973): one wild sample of a busy machine must not
    bend the line.
    """
    from scipy.optimize import nnls

    times = np.array([max(ns, 20.0) for _, ns in found])
    terms = np.array([[1.0, size.elements, size.macs, size.weights] for size, _ in found])
    weights = 1 / np.maximum(times, np.median(times) / 100)
    solution = np.zeros(4)
    for _ in range(30):
        solution, _ = nnls(terms * weights[:, None], times * weights)
        relative = np.abs(terms @ solution - times) / np.maximum(times, terms @ solution)
        scale = np.maximum(times, terms @ solution)
        weights = 1 / (scale * np.sqrt(np.maximum(relative, 0.02)))
    return [float(f"{value:.4g}") for value in solution]


if __name__ == "__main__":
    main()
