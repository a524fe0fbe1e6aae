"""The lock: complete for what make installs, and what is installed here is what it says."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from edgevit.base.errors import TENSORFLOW_BEFORE
from edgevit.formats.registry import RUNTIMES

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def read_pins(text: str) -> dict[str, str]:
    """Version of each package in a constraints file."""
    pins = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([\w.-]+)==([\w.]+)", line)  # no '+cpu', no URL, no range
            assert match, line
            pins[canonicalize_name(match[1])] = match[2]
    return pins


PINS = read_pins((ROOT / "constraints.txt").read_text())


# Pinned for who asks for an extra by name; make installs none of them.
CROSSCHECK = {"openvino", "openvino-telemetry", "tract"}
CLIENTS = {"mediapipe", "opencv-contrib-python", "sounddevice"}
SITE = {
    *("babel", "backrefs", "colorama", "ghp-import", "markdown", "mergedeep", "mkdocs"),
    *("mkdocs-get-deps", "mkdocs-material", "mkdocs-material-extensions", "paginate"),
    *("pymdown-extensions", "pyyaml-env-tag", "watchdog"),
}
RAY = {
    *("ray", "attrs", "filelock", "jsonschema", "jsonschema-specifications", "msgpack"),
    *("referencing", "rpds-py"),
}
HUB = {
    *("keras-hub", "kagglehub", "kagglesdk", "regex", "sentencepiece", "tensorflow-text"),
    *("tokenizers", "huggingface-hub", "filelock", "fsspec", "hf-xet", "httpx2", "httpcore2"),
    *("anyio", "h11", "truststore"),
}
NOTEBOOKS = {
    "asttokens",
    "comm",
    "debugpy",
    "executing",
    "fastjsonschema",
    "ipykernel",
    "ipython",
    "ipython-pygments-lexers",
    "jedi",
    "jupyter-client",
    "jupyter-core",
    "matplotlib-inline",
    "nbclient",
    "nbformat",
    "nest-asyncio2",
    "parso",
    "pexpect",
    "prompt-toolkit",
    "psutil",
    "ptyprocess",
    "pure-eval",
    "pyzmq",
    "stack-data",
    "tornado",
    "traitlets",
    "wcwidth",
}
ON_REQUEST = {
    *("torch", "onnxruntime-gpu", "ethos-u-vela"),
    *(*CROSSCHECK, *CLIENTS, *SITE, *RAY, *HUB, *NOTEBOOKS),
}


def list_needed(*extras: str) -> set[str]:
    """Names of all packages that edgevit with these extras brings, the indirect ones too."""
    waiting = [Requirement(text) for text in PROJECT["dependencies"]]
    waiting += [Requirement(f"edgevit[{','.join(extras)}]")]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            if name == "edgevit":
                further = PROJECT["optional-dependencies"][extra] if extra else []
            else:
                further = metadata.requires(name) or []
            candidates = [Requirement(text) for text in further]
            waiting += [
                c for c in candidates if not c.marker or c.marker.evaluate({"extra": extra})
            ]
    return {name for name, _ in seen} - {"edgevit"}


def test_the_lock_pins_exactly_what_export_train_and_dev_need():
    assert list_needed("export", "train", "dev") == set(PINS) - ON_REQUEST


def test_what_is_installed_is_what_the_lock_says():
    installed = {name: metadata.version(name) for name in set(PINS) - ON_REQUEST}
    assert installed == {name: PINS[name] for name in installed}


@pytest.mark.parametrize(
    ("names", "extra", "target"),
    [
        (CROSSCHECK, "crosscheck", "make test-crosscheck"),
        (CLIENTS, "mediapipe", "make test-mediapipe"),
        (SITE, "docs", "make docs"),
        (NOTEBOOKS, "notebooks", "make test-notebooks"),
        (HUB, "hub", "make test-hub"),
    ],
    ids=["crosscheck", "mediapipe", "docs", "notebooks", "hub"],
)
def test_what_an_extra_on_request_brings_is_pinned_with_all_that_it_needs(names, extra, target):
    for name in names:
        try:
            assert metadata.version(name) == PINS[name]
        except metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed: {target}")
    assert names <= list_needed(extra) <= set(PINS)


def test_the_cluster_of_sweeps_is_pinned_with_all_that_it_needs():
    for name in RAY:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed: pip install 'edgevit[ray]'")
    assert RAY <= list_needed("ray") <= set(PINS)


def test_tensorflow_is_asked_for_only_where_it_has_a_wheel():
    asked = map(Requirement, PROJECT["optional-dependencies"]["tensorflow"])
    (found,) = [row for row in asked if row.name == "tensorflow"]
    last = ".".join(map(str, TENSORFLOW_BEFORE))
    assert found.marker.evaluate({"python_version": "3.13"})
    assert not found.marker.evaluate({"python_version": last})
    assert f"Programming Language :: Python :: {last}" in PROJECT["classifiers"]


@pytest.mark.parametrize("row", RUNTIMES.values(), ids=RUNTIMES)
def test_every_runtime_comes_with_the_extra_that_its_row_names(row):
    brought = {Requirement(text).name for text in PROJECT["optional-dependencies"][row.extra]}
    assert {row.package, f"{row.package}-gpu"} & brought


def test_every_package_that_is_asked_for_is_pinned():
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    asked = {canonicalize_name(Requirement(text).name) for group in groups for text in group}
    assert asked - {"edgevit"} <= set(PINS)


@pytest.mark.parametrize(("package", "extra"), [("torch", "torch"), ("onnxruntime-gpu", "gpu")])
def test_what_brings_cuda_comes_only_when_it_is_asked_for(package: str, extra: str):
    asking = {
        name
        for name, group in PROJECT["optional-dependencies"].items()
        if any(Requirement(text).name == package for text in group)
    }
    assert asking == {extra}
    assert package not in list_needed("export", "train", "dev")
    assert ".[export,train,dev]" in (ROOT / "Makefile").read_text()
