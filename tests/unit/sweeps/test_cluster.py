"""The same plan on a Ray cluster of two nodes, on this machine; and files that travel."""

from __future__ import annotations

import io
import os
import sys
import tarfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgevit.base.errors import MissingDependencyError, RuntimeFailure
from edgevit.base.files import digest_path
from edgevit.base.packages import is_importable
from edgevit.models.shipped import VARIABLE
from edgevit.sweeps import cluster
from edgevit.sweeps.cluster import Sent, pack, place_files, unpack
from edgevit.sweeps.digests import Digests
from edgevit.sweeps.jobs import Allowance, Event, Job, Task
from edgevit.verbs.cell import Shared
from helpers.sweeps import FakeSweep

NO_RAY = not is_importable("ray")


def send(path: Path) -> Sent:
    return Sent(path, Digests(path.parent / "digests.json").of_path(path), [pack(path)])


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Another machine: its cache, and a Ray whose references are the things themselves."""
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda packed: packed))
    monkeypatch.setattr(cluster, "_cache", lambda: tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    (tmp_path / "job").mkdir()
    return tmp_path / "job"


def test_files_and_folders_are_packed_and_unpacked(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_bytes(b"c")
    for name in ("a", "a/b/c"):
        unpack(pack(tmp_path / name), tmp_path / "copy" / name)
        assert digest_path(tmp_path / "copy" / name) == digest_path(tmp_path / name)


def test_nothing_is_unpacked_outside_of_its_folder(tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        folder = tarfile.TarInfo(".")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        entry = tarfile.TarInfo("../beside")
        archive.addfile(entry, io.BytesIO())
    with pytest.raises(RuntimeFailure, match="outside of the folder"):
        unpack(stream.getvalue(), tmp_path / "place")
    assert not (tmp_path / "beside").exists()


def test_what_a_machine_lacks_travels_and_what_it_has_is_used_in_place(tmp_path, machine):
    folder = tmp_path / "plan"
    (folder / "data").mkdir(parents=True)
    (folder / "data/a.png").write_bytes(b"a")
    (folder / "nets.py").write_text("code")
    weights = tmp_path / "artifacts/vit"
    weights.mkdir(parents=True)
    (weights / "weights.safetensors").write_bytes(b"w")
    sent = [send(folder / "data"), send(folder / "nets.py"), send(weights)]
    shared = Shared("m", "nets:build", {"image_size": [1, 2]}, evaluation=str(folder / "data"))
    job = Job("f", shared, (Task("m/t", (), folder),), folder)

    kept = place_files(job, sent, machine)
    assert (kept.folder, kept.shared, kept.environment) == (folder, shared, {})

    for path in (folder / "data/a.png", folder / "nets.py", weights / "weights.safetensors"):
        path.unlink()
    for place in (folder / "data", folder, weights):
        place.rename(place.with_name(f"{place.name}-gone"))
    other = machine.with_name("other")
    other.mkdir()
    moved = place_files(job, sent, other)
    assert (Path(moved.shared.evaluation) / "a.png").read_bytes() == b"a"
    assert (moved.folder / "nets.py").read_text() == "code"
    assert moved.shared.arguments == {"image_size": [1, 2]}
    found = Path(moved.environment[VARIABLE]) / "vit/weights.safetensors"
    assert found.read_bytes() == b"w"


def test_unpacked_files_that_nobody_asked_for_in_a_week_are_deleted(tmp_path, machine):
    folder = tmp_path / "plan"
    folder.mkdir()
    sent = []
    for name in ("used", "old"):
        (folder / name).write_text(name)
        sent.append(send(folder / name))
        (folder / name).unlink()
    job = Job("f", None, (), folder)
    place_files(job, sent, machine)
    places = [tmp_path / "cache" / file.digest for file in sent]
    partial = tmp_path / "cache" / ".killed"
    partial.mkdir()
    for place in (*places, partial):
        os.utime(place, (0, 0))
    (machine.with_name("next")).mkdir()
    moved = place_files(job, sent[:1], machine.with_name("next"))
    assert (moved.folder / "used").read_text() == "used"
    assert [place.exists() for place in (*places, partial)] == [True, False, False]


def test_of_several_steps_at_once_the_last_is_told():
    kinds = ("started", "step", "step", "done", "step", "step", "step")
    events = [Event(kind, str(number)) for number, kind in enumerate(kinds)]
    assert [event.task for event in cluster._without_old_steps(events)] == ["0", "2", "3", "6"]
    assert cluster._without_old_steps([]) == []


@pytest.mark.skipif(not NO_RAY, reason="Ray is installed")
def test_without_ray_the_extra_is_named():
    with pytest.raises(MissingDependencyError, match=r"edgevit\[ray\]"):
        cluster.RayCluster(Allowance(), "auto")


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """A cluster of two nodes, each a set of processes of this machine."""
    if NO_RAY:
        pytest.skip("Ray is not installed: pip install 'edgevit[ray]'")
    from ray.cluster_utils import Cluster

    from programs import FOLDER, ROOT

    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("FAKE_S", "0.4")
    monkeypatch.syspath_prepend(str(FOLDER.parent))
    path = ":".join([str(ROOT), str(FOLDER.parent), *filter(None, sys.path)])
    monkeypatch.setenv("PYTHONPATH", path)
    found = Cluster(True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    found.second = found.add_node(num_cpus=1)
    yield found
    found.shutdown()


@pytest.mark.long
def test_a_cluster_runs_the_same_plan_and_bad_cells_are_rows(tmp_path, nodes):
    sweep = FakeSweep(tmp_path, ("one", "segfault", "hang", "missing"), "seconds = 4")
    found = sweep.run(0, 0.0, "ray", nodes.address)
    assert found["one/onnx-float32"] == "pass: "
    assert found["segfault/onnx-float32"] == "crashed: died of SIGSEGV while pretending"
    assert found["hang/tflite-float32"].startswith("timed out: did not end within 4 s")
    assert found["missing/savedmodel"] == "missing: needs the package 'x'"
    assert found["ran"] == "12"
    assert (sweep.out / "cells/one/savedmodel/file.bin").read_text() == "one savedmodel"
    assert sweep.run(0, 0.0, "ray", nodes.address)["ran"] == "0"
    assert sweep.litter() == []


@pytest.mark.long
def test_a_node_that_is_lost_costs_what_it_was_doing_and_nothing_else(tmp_path, nodes):
    sweep = FakeSweep(tmp_path, tuple("abcdef"))
    process = sweep.start(0, 0.4, "ray", nodes.address)
    while len(sweep.published()) < 4:
        assert process.poll() is None
        time.sleep(0.1)
    before = sweep.published()
    nodes.remove_node(nodes.second, allow_graceful=False)
    said, errors = process.communicate(timeout=200)
    assert said.count(": pass") == 18, errors
    done = sweep.count("done")
    assert {name: done[name] for name in before} == dict.fromkeys(before, 1)
    assert {name: sweep.published()[name] for name in before} == before
    assert sweep.litter() == []
