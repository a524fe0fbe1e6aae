"""Training speed: images a second of every network on every Keras backend that is installed.

    python benchmarks/training_speed.py --threads 1 --json benchmarks/results/training_speed.json

What is timed is a whole step of `edgevit train` on raw images: preprocessing, forward, backward and
optimizer, with the batch already in memory; not augmentation. A process trains one network on one
backend in one precision; processes run one after the other, in an order that every round shuffles.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from edgevit.base.allocator import keep_freed_memory
from edgevit.base.documents import to_json
from edgevit.base.errors import EdgevitError
from edgevit.base.versions import tool_versions
from edgevit.bench.environment import describe_environment
from edgevit.models import split_name

BACKENDS = ("tensorflow", "torch", "jax")
MODELS = "shiftvit,patchconvnet,focalnet,gcvit,gcvit:cifar64,vit"
MODELS += ",shiftvit:nano,patchconvnet:nano,resnet:wide"
FLOAT32, BFLOAT16 = PRECISIONS = ("float32", "bfloat16")  # edgevit.training's, without its imports
FUSED, PLAIN = LAYERS = ("fused", "plain")
TOOLS = ("keras", *BACKENDS)

Column = tuple[str, str, str]  # backend, precision, layers
Cells = dict[tuple[str, Column], list[dict]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=MODELS, help="commas between")
    parser.add_argument(
        "--backends", default=",".join(BACKENDS), help="commas between; those missing are left out"
    )
    parser.add_argument(
        "--precisions", default=FLOAT32, help=f"of the products: {FLOAT32}, {BFLOAT16} or both"
    )
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--warmup", type=int, default=3, help="steps before the clock starts")
    parser.add_argument("--steps", type=int, default=8, help="steps that are timed")
    parser.add_argument(
        "--seconds", type=float, default=20, help="no step begins later, except the first two"
    )
    parser.add_argument("--rounds", type=int, default=3, help="processes of each kind")
    parser.add_argument("--threads", type=int, default=1, help="cores that a process may use")
    parser.add_argument(
        "--layers",
        default=FUSED,
        help=f"on torch: {FUSED} (as `edgevit train` has them), {PLAIN} (Keras' own) or both",
    )
    parser.add_argument("--json", type=Path, help="where to write the step times")
    parser.add_argument(
        "--worker",
        nargs=4,
        metavar=("MODEL", "BACKEND", "PRECISION", "LAYERS"),
        help=argparse.SUPPRESS,
    )
    options = parser.parse_args()
    counts = (options.batch_size, options.steps, options.rounds, options.threads)
    if min(counts) < 1 or options.warmup < 0:
        parser.error("sizes, steps, rounds and threads must be at least 1, and --warmup at least 0")
    if options.worker:
        print(json.dumps(time_steps(*options.worker, options)))
        return
    try:
        models = {name: split_name(name) for name in options.models.split(",")}
    except EdgevitError as error:
        parser.error(str(error))
    asked, precisions = options.backends.split(","), options.precisions.split(",")
    layers = options.layers.split(",")
    for kind, given, known in (
        ("backend", asked, BACKENDS),
        ("precision", precisions, PRECISIONS),
        ("kind of layers", layers, LAYERS),
    ):
        for name in given:
            if name not in known:
                parser.error(f"unknown {kind} {name!r}: one of {', '.join(known)}")
    backends = [name for name in asked if importlib.util.find_spec(name)]
    if not backends:
        parser.error(f"none of {', '.join(asked)} is installed")
    columns = [
        (backend, precision, kind)
        for precision in precisions
        for backend in backends
        for kind in (layers if backend == "torch" else [FUSED])
    ]
    cells: Cells = {(model, column): [] for model in models for column in columns}
    order, rng = list(cells), random.Random(0)
    for number in range(options.rounds):
        rng.shuffle(order)
        for model, column in order:
            found = run_worker(model, column, options)
            cells[model, column].append(found)
            said = found.get("error") or f"{images_a_second([found], options.batch_size):.1f}"
            where = title_of(column)
            print(f"round {number + 1}: {model} on {where}: {said}", file=sys.stderr, flush=True)
    print(draw_table(list(models), columns, cells, options.batch_size))
    if options.json:
        document = {
            "settings": {
                "batch_size": options.batch_size,
                "warmup": options.warmup,
                "steps": options.steps,
                "seconds": options.seconds,
                "rounds": options.rounds,
                "threads": options.threads,
            },
            "cells": [
                {
                    "model": model,
                    "backend": backend,
                    "precision": precision,
                    "layers": kind,
                    "runs": runs,
                }
                for (model, (backend, precision, kind)), runs in cells.items()
            ],
            "versions": tool_versions(*TOOLS),
            "environment": describe_environment(),
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(to_json(document, indent=1) + "\n")


def title_of(column: Column) -> str:
    """As a table calls it."""
    backend, precision, kind = column
    text = backend if precision == FLOAT32 else f"{backend} in {precision}"
    return text if kind == FUSED else f"{text}, Keras' layers"


def run_worker(model: str, column: Column, options: argparse.Namespace) -> dict:
    """Trains a few steps in a process of its own; {"error": ...} where that fails."""
    settings = ("batch_size", "warmup", "steps", "seconds", "threads")
    command = [sys.executable, __file__, "--worker", model, *column]
    for name in settings:
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    threads = str(options.threads)
    environment = {
        **os.environ,
        "KERAS_BACKEND": column[0],
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": threads,
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": "1",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1][:300] if done.stderr else "killed"}
    return json.loads(done.stdout.splitlines()[-1])


def time_steps(
    model: str, backend: str, precision: str, layers: str, options: argparse.Namespace
) -> dict:
    """Nanoseconds of each step of one network on the backend that KERAS_BACKEND names."""
    if hasattr(os, "sched_setaffinity"):  # before a framework counts the cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.threads :])
    if backend == "torch":
        keep_freed_memory()  # as `edgevit train` does
    import keras
    import numpy as np

    from edgevit.models.build import plan_model
    from edgevit.training import fused_layers
    from edgevit.training.loop import compile_model
    from edgevit.training.recipe import find_recipe

    if layers == PLAIN:
        fused_layers.FUSED.clear()
    assert keras.backend.backend() == backend
    keras.utils.set_random_seed(0)
    name, variant = split_name(model)
    plan = plan_model(name, variant)
    recipe = find_recipe("plain")
    phase = recipe.phases(plan.config.image_size)[0]
    network = compile_model(plan, recipe, phase, steps=100, precision=precision)
    rng = np.random.default_rng(0)
    count, size = options.batch_size, plan.preprocess.input_size
    images = rng.integers(0, 256, (count, *size, 3), dtype=np.uint8)
    targets = np.eye(plan.config.num_classes, dtype=np.float32)
    targets = targets[rng.integers(0, plan.config.num_classes, count)]
    times = []
    started = time.perf_counter_ns()
    for number in range(options.warmup + options.steps):
        before = time.perf_counter_ns()
        loss = network.train_on_batch(images, targets)  # comes back as a number: the step is over
        times.append(time.perf_counter_ns() - before)
        timed = number + 1 - options.warmup
        if timed == 0:
            ready = time.perf_counter_ns() - started
        if timed >= 2 and sum(times[-timed:]) > options.seconds * 1e9:
            break
    if not np.isfinite(np.asarray(loss, np.float64)).all():
        raise SystemExit(f"the loss of {model} on {backend} is {loss}")
    return {
        "steps_ns": times[options.warmup :],
        "ready_ns": ready if options.warmup else 0,
        "parameters": network.count_params(),
    }


def images_a_second(runs: list[dict], batch_size: int) -> float:
    """Of the median step over all runs."""
    return batch_size / (median(step for run in runs for step in run["steps_ns"]) / 1e9)


def draw_table(models: list[str], columns: list[Column], cells: Cells, batch: int) -> str:
    """Images a second, with the spread of the rounds' medians; the fastest of each row in bold."""
    lines = [
        f"| images a second | {' | '.join(title_of(column) for column in columns)} |",
        f"| --- | {' | '.join('---' for _ in columns)} |",
    ]
    for model in models:
        rows = {}
        for column in columns:
            runs = [run for run in cells[model, column] if "steps_ns" in run]
            if runs:
                each = [images_a_second([run], batch) for run in runs]
                rows[column] = (images_a_second(runs, batch), min(each), max(each))
        best = max((value for value, _, _ in rows.values()), default=0)
        texts = []
        for column in columns:
            if column not in rows:
                texts.append("failed")
                continue
            value, low, high = rows[column]
            text = f"{value:.1f} ({low:.1f} to {high:.1f})"
            texts.append(f"**{text}**" if value == best else text)
        lines.append(f"| {model} | {' | '.join(texts)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
