"""How long the page of a large sweep takes to write and to open in Chromium.

The results are made up: 500 models in 12 targets, one in fifty not as asked for, with changes since
another sweep. A copy of the page with one line of script tells when Chromium has drawn it.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from edgevit.core.cells import Budgets, CellResult, Quality, State, SweepReport, judge_cell
from edgevit.formats.registry import TARGETS
from edgevit.reports.sweep_page import render_sweep
from edgevit.sweeps.changes import find_changes

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WHEN_DRAWN = (
    "<script>addEventListener('load',()=>requestAnimationFrame(()=>setTimeout(()=>{"
    "document.documentElement.dataset.drawn=performance.now()})))</script>"
)
LIMIT_S = 2.0


def make_up(models: int, targets: int, seed: int = 0) -> SweepReport:
    """A finished sweep of made-up cells, against one that was a little better."""
    rng = random.Random(seed)
    names = [f"network-{number:03}" for number in range(models)]
    rows = list(TARGETS)[:targets]
    results = [_draw(rng, name, target) for name in names for target in rows]
    cells = tuple(judge_cell(result, Budgets(max_drop=1.0)) for result in results)
    older = {}
    for cell in cells:
        grown = replace(cell.result, size_bytes=int(cell.result.size_bytes * 0.97), sha256="old")
        same = cell.result if rng.random() > 0.05 else grown
        older[same.model, same.target] = replace(cell, result=same)
    changes = find_changes(older, cells)
    return SweepReport(
        "nightly", tuple(names), tuple(rows), cells, len(cells), 1.0, changes, "last night"
    )


def _draw(rng: random.Random, model: str, target: str) -> CellResult:
    state = rng.choices((State.PASS, State.LOSSY, State.REFUSED, State.CRASHED), (94, 4, 1, 1))[0]
    if state in (State.REFUSED, State.CRASHED):
        return CellResult(model, target, "key", state, "the reason of it, as long as a line is")
    value, lost = rng.uniform(0.6, 0.9), rng.gauss(0, 0.3)
    quality = Quality(
        *("top-1 accuracy", value, value - 0.02, value + 0.02, 1000, "made up"),
        *(value + lost / 100, lost, lost - 0.5, lost + 0.5),
    )
    return CellResult(
        *(model, target, "key", state, "" if state is State.PASS else "mean error 5 %"),
        **{"file": f"{model}-{target}.tflite", "size_bytes": rng.randrange(10**5, 10**8)},
        **{"sha256": "new", "agreement": rng.uniform(0.9, 1), "quality": quality},
    )


def open_page(page: str, browser: str) -> float:
    """Seconds from the beginning of navigation to the first drawn frame after loading."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(page.replace("</body>", f"{WHEN_DRAWN}</body>"))
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        command += ["--virtual-time-budget=20000", f"--user-data-dir={folder}/profile"]
        found = subprocess.run(
            [*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True
        )
    match = re.search(r'data-drawn="([\d.]+)"', found.stdout)
    if match is None:
        raise SystemExit("Chromium did not say when it had drawn the page.")
    return float(match[1]) / 1e3


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--targets", type=int, default=12)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="write the page there too")
    chosen = parser.parse_args()
    report = make_up(chosen.models, chosen.targets)
    began = time.perf_counter()
    page = render_sweep(report)
    found = {
        "cells": len(report.cells),
        "changes": len(report.changes or ()),
        "page_bytes": len(page.encode()),
        "render_s": round(time.perf_counter() - began, 3),
    }
    if chosen.keep:
        chosen.keep.write_text(page)
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is not None:
        seconds = sorted(open_page(page, browser) for _ in range(chosen.times))
        found |= {"open_s": [round(value, 3) for value in seconds], "limit_s": LIMIT_S}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
