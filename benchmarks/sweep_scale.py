"""A sweep of 500 models in 12 targets on 20 machines, on paper: time, bytes, and what breaks first.

The jobs are those that `edgevit sweep` plans, and a simulation of events hands them to cores as Ray
does: the first that is free takes the next. Assumptions, each an option:

* a job opens its model once (--open-s, the median; TensorFlow's import and the recording of the
  float model are in it) and then takes --cell-s for each cell; both are drawn with a spread of a
  factor of two, and larger models take longer in proportion to the root of their size;
* weights are between --small-mb and --large-mb, even in their logarithm; a file has the size of the
  weights in float targets, a half in float16, a quarter in int8;
* every machine has --cores cores, and --memory-gb for processes of --process-gb and twice the
  weights; data of --data-mb go to each machine once, weights to each machine that runs a job of
  the model;
* all bytes pass the machine that asks, on a line of --line-mbit both ways; it spends --driver-ms on
  each message, of which a cell sends --messages.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
from dataclasses import dataclass

from edgevit.formats.registry import TARGETS
from edgevit.verbs.sweep import SPREAD

SHARES = {"float32": 1.0, "float16": 0.5, "dynamic-int4": 0.15}
QUARTER = 0.27  # of the others: int8 weights and what stands beside them


@dataclass(frozen=True)
class PaperJob:
    """Cells of one model.

    Attributes:
        model: number of it.
        seconds: on one core.
        weights_mb: of the model.
        files_mb: of all its cells.
        memory_gb: of its process.
    """

    model: int
    seconds: float
    weights_mb: float
    files_mb: float
    memory_gb: float


def plan_jobs(chosen: argparse.Namespace) -> list[PaperJob]:
    """The jobs, the longest first."""
    rng = random.Random(0)
    cells = chosen.models * chosen.targets
    most = math.ceil(cells / (SPREAD * chosen.machines * chosen.cores))
    targets = list(TARGETS.values())[: chosen.targets]
    jobs = []
    for model in range(chosen.models):
        low, high = math.log(chosen.small_mb), math.log(chosen.large_mb)
        weights = math.exp(rng.uniform(low, high))
        pace = rng.lognormvariate(0, 0.35) * math.sqrt(weights / 20)
        count = math.ceil(chosen.targets / most)
        for number in range(count):
            part = targets[number * len(targets) // count : (number + 1) * len(targets) // count]
            shares = [SHARES.get(str(target.precision), QUARTER) for target in part]
            seconds = pace * (chosen.open_s + chosen.cell_s * len(part))
            memory = chosen.process_gb + 2 * weights / 1e3
            jobs.append(PaperJob(model, seconds, weights, weights * sum(shares), memory))
    return sorted(jobs, key=lambda job: -job.seconds)


def simulate(jobs: list[PaperJob], chosen: argparse.Namespace) -> dict[str, float]:
    """Hands jobs to cores in their order."""
    free = [(0.0, machine) for machine in range(chosen.machines) for _ in range(chosen.slots)]
    heapq.heapify(free)
    seen: set[tuple[int, int]] = set()
    line_s = sent_mb = received_mb = ends = 0.0
    for job in jobs:
        at, machine = heapq.heappop(free)
        moved = 0.0
        if (machine, -1) not in seen:
            moved += chosen.data_mb
        if (machine, job.model) not in seen:
            moved += job.weights_mb
        seen |= {(machine, -1), (machine, job.model)}
        took = moved * 8 / chosen.line_mbit
        line_s = max(line_s, at) + took  # one line for all machines
        done = line_s + job.seconds if took else at + job.seconds
        sent_mb, received_mb = sent_mb + moved, received_mb + job.files_mb * (not chosen.no_files)
        ends = max(ends, done)
        heapq.heappush(free, (done, machine))
    return {"seconds": ends, "sent_mb": sent_mb, "received_mb": received_mb}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in (
        *(("models", 500), ("targets", 12), ("machines", 20), ("cores", 16)),
        *(("memory-gb", 64.0), ("process-gb", 1.0), ("open-s", 25.0), ("cell-s", 12.0)),
        *(("small-mb", 2.0), ("large-mb", 400.0), ("data-mb", 200.0), ("line-mbit", 1000.0)),
        *(("driver-ms", 3.0), ("messages", 12.0)),
    ):
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--no-files", action="store_true", help="keep_files = false in the plan")
    chosen = parser.parse_args()
    jobs = plan_jobs(chosen)
    typical = sum(job.memory_gb for job in jobs) / len(jobs)
    chosen.slots = max(1, min(chosen.cores, int(chosen.memory_gb / typical)))
    found = simulate(jobs, chosen)
    cells = chosen.models * chosen.targets
    work = sum(job.seconds for job in jobs)
    driver = cells * chosen.messages * chosen.driver_ms / 1e3
    returned = found["received_mb"] * 8 / chosen.line_mbit
    wall = max(found["seconds"], driver, returned)
    bounds = {
        "cores": work / (chosen.machines * chosen.slots),
        "the longest job": jobs[0].seconds,
        "the line to the machines": found["sent_mb"] * 8 / chosen.line_mbit,
        "the line back": returned,
        "messages to the machine that asks": driver,
    }
    document = {
        "cells": cells,
        "jobs": len(jobs),
        "cells_in_a_job": round(cells / len(jobs), 1),
        "processes_at_once": chosen.machines * chosen.slots,
        "wall_minutes": round(wall / 60, 1),
        "one_core_hours": round(work / 3600, 1),
        "efficiency": round(work / (wall * chosen.machines * chosen.slots), 3),
        "sent_gb": round(found["sent_mb"] / 1e3, 1),
        "received_gb": round(found["received_mb"] / 1e3, 1),
        "least_minutes_by": {name: round(value / 60, 2) for name, value in bounds.items()},
        "what_binds": max(bounds, key=lambda name: bounds[name]),
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
