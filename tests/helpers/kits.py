"""Runs kits where they belong: in Python, in a browser, in TensorFlow Lite Micro."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

MODULES = Path(__file__).parents[2] / "tools" / "node" / "node_modules"
ASK_PAGE = Path(__file__).with_name("ask_page.mjs")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)


def run_kit(
    kit: Path, *arguments: object, python: str | Path = sys.executable
) -> subprocess.CompletedProcess:
    """The program of a Python kit, away from this checkout."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(python), str(kit / "edge_model.py"), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=kit.parent, timeout=200
    )


def read_golden(kit: Path, name: str) -> list[list[int]]:
    """Rows of an array of golden.cc."""
    text = (kit / "golden.cc").read_text()
    body = re.search(rf"golden_{name}\[.*?= \{{\n(.*?)\n\}};", text, re.S)[1]
    return [[int(x) for x in row.strip(" {},").split(",")] for row in body.splitlines()]


def run_micro(kit: Path) -> list[list[int]]:
    """What TensorFlow Lite Micro returns for the golden inputs of a kit."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_file(str(kit / "model.tflite"), arena_size=1 << 22)
    found = []
    for row in read_golden(kit, "input_0"):
        shape = interpreter.get_input_details(0)["shape"]
        interpreter.set_input(np.array(row, np.uint8).reshape(shape), 0)
        interpreter.invoke()
        found.append(interpreter.get_output(0).ravel().tolist())
    return found


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *words):
        pass


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address of a server for a folder, on this machine alone."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


NO_GPU = ("--disable-gpu",)
# WebGPU on the CPU, by a Vulkan driver in software that comes with Chromium.
SOFTWARE_GPU = (
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
)


def ask(
    address: str, query: str, folder: Path, gpu: Sequence[str] = NO_GPU
) -> tuple[list[str], str]:
    """(lines of the verdict, the whole page) after the page has run."""
    flags = [
        *("--no-sandbox", *gpu, f"--user-data-dir={folder / 'profile'}"),
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]
    command = ["node", str(ASK_PAGE), str(CHROMIUM), f"{address}/kit/?{query}", *flags]
    found = subprocess.run(command, capture_output=True, text=True, timeout=200)
    page = found.stdout
    assert 'data-ready="yes"' in page, found.stderr[-1500:]
    return re.search(r'<output id="verdict"[^>]*>(.*?)</output>', page, re.S)[1].splitlines(), page
