"""Which file runs in which place: kits of small networks, each by its own self-test.

A place without the device gets what there is: an Ethos-U the verdict of its compiler.

    python benchmarks/places_table.py --json benchmarks/results/places.json
    python benchmarks/places_table.py --networks patchconvnet:nano --json FILE
    python benchmarks/places_table.py --page

The page is of all results whose names begin with places.

A place that is not here is left out: `make test-browser`, `make test-arm64` and
`make test-mediapipe` install what they need. A kit for a microcontroller is run by tflite-micro.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from provenance import KEY, RESULTS, ROOT, result_path, write_result
from results_page import table

sys.path.insert(0, str(ROOT / "tests"))

from edgevit.base.errors import EdgevitError
from edgevit.base.versions import installed_version
from edgevit.core.golden_images import draw_images
from edgevit.verbs.deploy import deploy
from edgevit.verbs.export import export
from helpers.kits import CHROMIUM, MODULES, ask, read_golden, run_kit, run_micro, serve
from helpers.sorts import save_network

PAGE = ROOT / "docs" / "places.md"
PATTERN = "places*.json"
SEGMENTER = "segmenter"  # with seeded weights
SEEDED = " The segmenter has seeded weights."
NETWORKS = ("shiftvit:nano", "patchconvnet:nano", SEGMENTER)
SEPARATOR = " | "
FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "tflite-float32": ("tflite-float32", {}),
    "tflite-float16": ("tflite-float16", {}),
    "tflite-dynamic": ("tflite-dynamic", {}),
    "tflite-mixed": ("tflite-mixed", {}),
    "tflite-int8": ("tflite-int8", {}),
    "tflite-int8 --output-dtype uint8": ("tflite-int8", {"output_dtype": "uint8"}),
    "tflite-int8-micro": ("tflite-int8-micro", {}),
    "tflite-int8-npu": ("tflite-int8-npu", {}),
    "onnx-float32": ("onnx-float32", {}),
    "onnx-int8": ("onnx-int8", {}),
}
ARM64 = ROOT / "build" / "arm64" / "python"
HERE = sys.executable
MICRO = "tflite-int8-micro"
# Name, flash and RAM in bytes, where that is said.
BOARDS = (
    (
        "Arduino Uno R4",
        256 << 10,
        32 << 10,
        "https://docs.zephyrproject.org/boards/arduino/uno_r4/doc/index.html",
    ),
    ("BBC micro:bit V2", 512 << 10, 128 << 10, "https://tech.microbit.org/hardware/"),
    (
        "Arduino Nano 33 BLE Sense",
        1 << 20,
        256 << 10,
        "https://docs.arduino.cc/hardware/nano-33-ble-sense/",
    ),
    (
        "Raspberry Pi Pico",
        2 << 20,
        264 << 10,
        "https://datasheets.raspberrypi.com/pico/pico-product-brief.pdf",
    ),
    (
        "STM32F746G-DISCO",
        1 << 20,
        340 << 10,
        "https://doc.riot-os.org/group__boards__stm32f746g-disco.html",
    ),
    (
        "ESP32-S3-DevKitC-1-N8",
        8 << 20,
        512 << 10,
        "https://www.espressif.com/en/products/socs/esp32-s3",
    ),
    (
        "NUCLEO-L4R5ZI",
        2 << 20,
        640 << 10,
        "https://doc.riot-os.org/group__boards__nucleo144-l4r5.html",
    ),
)
INTERPRETER = 150_000  # bytes of flash for TensorFlow Lite Micro with its kernels, at most or so
REST = 16_000  # bytes of RAM for everything but the arena
NPU = "ethos-u85-256"


def run_python(kit: Path, python: str | Path = HERE) -> str:
    return run_kit(kit, "--self-test", python=python).stdout.splitlines()[-1]


def run_arm64(kit: Path) -> str:
    return run_python(kit, ARM64)


def run_mediapipe(kit: Path) -> str:
    command = [HERE, str(kit / "edge_model.py"), "--self-test"]
    return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[-1]


def run_browser(kit: Path) -> str:
    (kit / "node_modules").symlink_to(MODULES)
    with serve(kit.parent) as address:
        return ask(address, "self-test", kit.parent)[0][0]


def run_microcontroller(kit: Path) -> str:
    return "pass" if run_micro(kit) == read_golden(kit, "output_0") else "FAIL"


def run_npu(kit: Path) -> str:
    """What Vela placed where: nothing here runs the file."""
    rows = list(csv.DictReader((kit / "vela_operators.csv").open()))
    return f"compiles, {sum(row['Target'] != 'NPU' for row in rows)} on the CPU"


Run = Callable[[Path], str]


def list_places() -> dict[str, tuple[str, Run, str]]:
    """Column -> (place, how its self-test is run, with which versions); what is here alone."""
    litert, runtime = (installed_version(name) for name in ("ai-edge-litert", "onnxruntime"))
    packages = f"LiteRT {litert}, onnxruntime {runtime}"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    found: dict[str, tuple[str, Run, str]] = {
        "python, x86-64": ("python", run_python, f"Python {python}, {packages}")
    }
    if ARM64.exists():
        text = f"Python 3.11, {packages}, emulated Cortex-A76 (qemu-user)"
        found["python, aarch64"] = ("python", run_arm64, text)
    if CHROMIUM and MODULES.exists():
        web = json.loads((MODULES / "onnxruntime-web" / "package.json").read_text())["version"]
        said = subprocess.run([CHROMIUM, "--version"], capture_output=True, text=True).stdout
        text = f"onnxruntime-web {web}, {' '.join(said.split()[:2])}, headless"
        found["browser"] = ("browser", run_browser, text)
    if importlib.util.find_spec("mediapipe"):
        text = f"MediaPipe {installed_version('mediapipe')} for Python"
        found["mediapipe"] = ("mediapipe", run_mediapipe, text)
    if importlib.util.find_spec("tflite_micro"):
        text = f"tflite-micro {installed_version('tflite-micro')}"
        found["microcontroller"] = ("microcontroller", run_microcontroller, text)
    if importlib.util.find_spec("ethosu"):
        text = f"Vela {installed_version('ethos-u-vela')}, which compiles; no NPU"
        found[NPU] = (NPU, run_npu, text)
    return found


def read_sizes(kit: Path) -> dict[str, int]:
    """Bytes of flash and of RAM that a kit for a microcontroller takes beside the interpreter."""
    arena = re.search(r"ARENA_BYTES (\d+)", (kit / "model_settings.h").read_text())
    assert arena is not None
    return {"flash": (kit / "model.tflite").stat().st_size, "arena": int(arena[1])}


def try_kit(path: Path, place: str, run: Run) -> dict[str, Any]:
    """What became of a kit: its verdict, or why there is none."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            kit = deploy(path, place, Path(folder) / "kit").path
            return {"verdict": run(kit), **(read_sizes(kit) if place == "microcontroller" else {})}
        except EdgevitError as error:
            return {"verdict": "refused", "why": str(error).replace(f"{path}: ", "")}


def find_source(network: str, folder: Path) -> tuple[str, dict[str, Any]]:
    """What is exported of a network, and with which options."""
    if network != SEGMENTER:
        return network, {}
    pictures = {"calibration": draw_images(32, (16, 12)), "scaling": "raw"}
    return str(save_network(folder, "mask")), pictures


def measure(networks: Sequence[str]) -> dict[str, Any]:
    """Every file in every place."""
    places = list_places()
    cells = {}
    with tempfile.TemporaryDirectory() as folder:
        for network in networks:
            source, given = find_source(network, Path(folder))
            for name, (target, options) in FILES.items():
                place = Path(folder) / network / name
                path = export(source, target, place, **given, **options).artifact.path
                for column, (place, run, _) in places.items():
                    cell = try_kit(path, place, run)
                    cells[SEPARATOR.join([network, name, column])] = cell
                    print(f"{network} {name} {column}: {cell['verdict']}", flush=True)
    versions = {column: text for column, (_, _, text) in places.items()}
    date = datetime.now(UTC).date().isoformat()
    return {"date": date, "places": versions, "cells": cells}


def read_results() -> list[dict[str, Any]]:
    """All that was measured."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob(PATTERN))]


def render_page(documents: Sequence[Mapping[str, Any]]) -> str:
    """docs/places.md, of one result or more."""
    columns = list(dict.fromkeys(column for one in documents for column in one["places"]))
    cells = {key: cell for one in documents for key, cell in one["cells"].items()}
    reasons: list[str] = []

    def show(cell: Mapping[str, str]) -> str:
        if "why" not in cell:
            return cell["verdict"]
        if cell["why"] not in reasons:
            reasons.append(cell["why"])
        return f"no ({reasons.index(cell['why']) + 1})"

    files = dict.fromkeys(tuple(key.split(SEPARATOR)[:2]) for key in cells)
    rows = [
        [network, f"`{name}`"]
        + [
            show(cells.get(SEPARATOR.join([network, name, column]), {"verdict": "-"}))
            for column in columns
        ]
        for network, name in files
    ]
    return "\n".join(
        [
            "# Places",
            "",
            "What `edgevit deploy` wrote of each file, and what the self-test of its kit said "
            f"where it ran.{SEEDED if any(network == SEGMENTER for network, _ in files) else ''}",
            "`benchmarks/places_table.py` writes this page.",
            "",
            table(["network", "file", *columns], rows),
            "",
            *(f"{number}. {why}" for number, why in enumerate(reasons, 1)),
            "",
            *(line for document in documents for line in render_origin(document)),
            "Not run: MediaPipe on Android, iOS and the web, any board and any NPU.",
            "",
            *render_boards(cells),
        ]
    )


def render_origin(document: Mapping[str, Any]) -> list[str]:
    """When a result was made, of what, and with which versions."""
    networks = dict.fromkeys(key.partition(SEPARATOR)[0] for key in document["cells"])
    return [
        f"{', '.join(networks)}: run on {document['date']}, at commit "
        f"{document[KEY]['commit'][:12]}:",
        "",
        *(f"- {column}: {text}" for column, text in document["places"].items()),
        "",
    ]


def render_boards(cells: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Which boards hold which network, as lines; none where no kit was measured."""
    sizes = {
        network: cells[key]
        for key in cells
        for network, name, column in [key.split(SEPARATOR)]
        if (name, column) == (MICRO, "microcontroller") and "arena" in cells[key]
    }
    if not sizes:
        return []
    names = [
        f"{network}: {cell['flash'] / 1e3:,.0f} kB flash, {cell['arena'] / 1e3:,.0f} kB arena"
        for network, cell in sizes.items()
    ]
    rows = []
    for board, flash, ram, source in BOARDS:
        fits = [
            "fits" if cell["flash"] + INTERPRETER <= flash and cell["arena"] + REST <= ram else "no"
            for cell in sizes.values()
        ]
        link = f"[{board}]({source})"
        rows.append([link, f"{flash / 1e3:,.0f}", f"{ram / 1e3:,.0f}", *fits])
    return [
        "## Boards",
        "",
        f"`{MICRO}` beside the memory of common boards, as the pages of their makers, of Zephyr or "
        f"of RIOT state it. A network fits where its flash and {INTERPRETER // 1000} kB for the "
        f"interpreter, and its arena (of a "
        f"64-bit machine, which is the larger) and {REST // 1000} kB for the rest, are there. "
        "None of the boards was tried.",
        "",
        table(["board", "flash, kB", "RAM, kB", *names], rows),
        "",
    ]


def main() -> None:
    """Measures, or writes the page of what was measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--networks", default=",".join(NETWORKS), help="commas between")
    parser.add_argument("--json", type=result_path, metavar="FILE")
    parser.add_argument("--page", action="store_true", help="only write the page")
    options = parser.parse_args()
    if not options.page:
        networks = options.networks.split(",")
        found = measure(networks)
        if options.json:
            write_result(options.json, found, [name for name in networks if name != SEGMENTER])
    if options.page or options.json:
        PAGE.write_text(render_page(read_results()))


if __name__ == "__main__":
    main()
