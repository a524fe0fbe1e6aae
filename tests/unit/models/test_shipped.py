"""Where trained weights are found: a folder, a checkout, the package, the cache, an address."""

from __future__ import annotations

import dataclasses
import functools
import http.server
import json
import shutil
import threading
from pathlib import Path

import pytest

from edgevit.base.errors import ModelFileError
from edgevit.models import shipped
from edgevit.models.shipped import ARTIFACTS, VARIABLE, folder_of, list_shipped, locate
from programs import ROOT

NAME = "shiftvit:nano"


@pytest.fixture
def elsewhere(monkeypatch, tmp_path) -> Path:
    """An empty folder; this machine has no checkout, no weights in the package and no cache."""
    for place in ("ARTIFACTS", "PACKAGED"):
        monkeypatch.setattr(shipped, place, tmp_path / "nowhere")
    monkeypatch.setattr(shipped, "_cache", lambda: tmp_path / "cache")
    monkeypatch.delenv(VARIABLE, raising=False)
    folder = tmp_path / "served"
    folder.mkdir()
    return folder


@pytest.fixture
def served(elsewhere, monkeypatch):
    """The same folder, with the weights of the nano in it, served at the address of VARIABLE."""
    shutil.copytree(ARTIFACTS / "shiftvit-nano", elsewhere / "shiftvit-nano")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=elsewhere)
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *words: None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(VARIABLE, f"http://127.0.0.1:{server.server_port}/")
    yield elsewhere
    server.shutdown()


def test_the_registry_is_of_what_lies_in_artifacts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import write_registry

    assert (ROOT / "edgevit" / "models" / "registry.json").read_text() == (
        write_registry.render_registry()
    )
    inside = [row for row in list_shipped().values() if row.in_package]
    assert sum(row.size_bytes for row in inside) < 32e6


def test_an_sdist_holds_what_a_wheel_is_built_from_and_no_more_weights():
    named = {word for word in (ROOT / "MANIFEST.in").read_text().split() if "artifacts/" in word}
    wanted = {
        f"artifacts/{shipped.folder_name(name)}/{part}"
        for name, row in list_shipped().items()
        if row.in_package
        for part in row.files
    }
    assert named == wanted


def test_a_checkout_is_found_by_itself():
    assert locate(NAME) == ARTIFACTS / "shiftvit-nano"


def test_a_folder_that_is_named_comes_first(elsewhere, monkeypatch):
    assert locate(NAME) is None
    (elsewhere / "shiftvit-nano").mkdir()
    (elsewhere / "shiftvit-nano" / "weights.safetensors").touch()
    monkeypatch.setenv(VARIABLE, str(elsewhere))
    assert folder_of(NAME) == elsewhere / "shiftvit-nano"


@pytest.mark.parametrize("place", [None, "here"])
def test_weights_that_are_nowhere_are_told_with_what_to_do(elsewhere, monkeypatch, place):
    if place:
        monkeypatch.setenv(VARIABLE, str(elsewhere))
    with pytest.raises(
        ModelFileError, match=r"Set EDGEVIT_WEIGHTS to a folder .* or to an address"
    ):
        folder_of("vit")
    with pytest.raises(ModelFileError, match=r"no such weights\. Those of shiftvit, .* ship"):
        folder_of("resnet")


def test_an_address_is_fetched_from_once_and_then_the_cache_serves(served, monkeypatch):
    pytest.importorskip("pooch")
    folder = folder_of(NAME)
    assert {path.name for path in folder.iterdir()} == set(list_shipped()[NAME].files)
    monkeypatch.delenv(VARIABLE)
    assert folder_of(NAME) == folder
    (folder / "ranges.json").write_text("{}")  # a cache that changed is none
    assert locate(NAME) is None


def test_what_an_address_serves_must_be_what_the_registry_names(served):
    pytest.importorskip("pooch")
    (served / "shiftvit-nano" / "ranges.json").write_text("{}")
    with pytest.raises(ModelFileError, match=r"cannot be fetched .*SHA256"):
        folder_of(NAME)
    with pytest.raises(ModelFileError, match=r"cannot be fetched .*404"):
        folder_of("vit")


def test_the_registry_says_all_that_the_table_of_models_shows():
    fields = {field.name for field in dataclasses.fields(shipped.Shipped)}
    for row in json.loads((ROOT / "edgevit" / "models" / "registry.json").read_text()).values():
        assert row.keys() == fields
