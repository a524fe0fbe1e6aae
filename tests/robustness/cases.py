"""The kinds of damaged and crafted inputs that a campaign tries, each with its command."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from robustness import mutations as m


@dataclass(frozen=True)
class Setting:
    """Sound files that cases start from.

    Attributes:
        exports: of every target, by name.
        keras: a small .keras file.
        weights: a .safetensors file of edgevit.
        data: an npz dataset.
        picture: a PNG.
        swept: a plan with its results in ``results``; there for cases that need all.
        cache: kept outputs of the network in ``weights``; likewise.
    """

    exports: dict[str, Path]
    keras: Path
    weights: Path
    data: Path
    picture: Path
    swept: Path
    cache: Path


@dataclass(frozen=True)
class Kind:
    """One kind of cases.

    Attributes:
        name: in the table.
        share: of all cases.
        prepare: ``(rng, setting, folder) -> arguments`` of the command; writes what it needs.
        sealed: whether it damages one of our own files, so that a pass is a failure.
        heavy: whether the command needs Keras.
        needs_all: whether it starts from a file that is not in the repository.
        package: that it needs and that need not be installed.
    """

    name: str
    share: float
    prepare: Callable[[np.random.Generator, Setting, Path], list[object]]
    sealed: bool = False
    heavy: bool = False
    needs_all: bool = False
    package: str = ""

    @property
    def is_possible(self) -> bool:
        """Whether what it needs is installed."""
        return not self.package or find_spec(self.package) is not None


def _write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _copy_picture(setting: Setting, folder: Path) -> Path:
    return Path(shutil.copy(setting.picture, folder / "picture.png"))


def _verb(rng: np.random.Generator, path: Path, setting: Setting, verbs: tuple[str, ...]) -> list:
    """A command line of one of some verbs on a file."""
    verb = m.pick(rng, verbs)
    folder = path.parent
    more: dict[str, list[object]] = {
        "predict": [_copy_picture(setting, folder)],
        "explain": [_copy_picture(setting, folder), "--out", folder / "seen"],
        "evaluate": ["--data", setting.data, "--limit", 4],
        "profile": ["--runs", 2],
        "benchmark": ["--rounds", 1, "--time-limit", 60],
    }
    if verb == "report":
        return ["report", folder, "--verify", *m.pick(rng, ([], ["--markdown"], ["--json"]))]
    return [verb, path, *more.get(verb, []), *m.pick(rng, ([], ["--json"]))]


def _damage(rng: np.random.Generator, data: bytes, own: tuple[m.Mutation, ...]) -> bytes:
    """Other bytes, whatever it takes."""
    for _ in range(20):
        rows = own if own and rng.random() < 0.7 else m.BYTES
        try:
            changed = m.pick(rng, rows)(rng, data)
        except Exception:  # what cannot be taken apart is damaged as bytes are
            changed = m.pick(rng, m.BYTES)(rng, data)
        if changed != data:
            return changed
    return data + b"x"


def sealed_file(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """A file of ours with damage anywhere."""
    name = m.pick(rng, [n for n, path in setting.exports.items() if path.is_file()])
    source = setting.exports[name]
    own = m.TFLITE if source.suffix == ".tflite" else m.ONNX
    path = _write(folder, source.name, _damage(rng, source.read_bytes(), own))
    if rng.random() < 0.3:
        beside = source.with_name(source.name + ".manifest.json")
        shutil.copy(beside, path.with_name(beside.name))
    return _verb(rng, path, setting, ("verify", "verify", "verify", "inspect", "predict", "report"))


def marker(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """A file of ours with a damaged marker, so that no seal is found."""
    name = m.pick(rng, [n for n, path in setting.exports.items() if path.is_file()])
    source = setting.exports[name]
    path = _write(folder, source.name, m.damage_marker(rng, source.read_bytes()))
    return ["verify", path, *m.pick(rng, ([], ["--json"]))]


def saved_model(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """A SavedModel of ours with a file lost, added or damaged."""
    path = folder / "net"
    shutil.copytree(setting.exports["savedmodel"], path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    seal = next(file for file in files if "seal" in file.name)
    file = m.pick(rng, [*files, seal, seal])
    what = rng.random()
    if what < 0.4:
        file.unlink()
    elif what < 0.5:
        (path / "assets").mkdir(exist_ok=True)
        (path / "assets" / "more.txt").write_text("more")
    else:
        file.write_bytes(_damage(rng, file.read_bytes(), ()))
    return ["verify", path, *m.pick(rng, ([], ["--json"]))]


def foreign_file(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """A damaged file of another tool: nothing seals it."""
    names = ("tflite-float32", "tflite-int8", "onnx-float32", "onnx-int8")
    name = m.pick(rng, [name for name in names if name in setting.exports])
    source = setting.exports[name]
    own = m.TFLITE if source.suffix == ".tflite" else m.ONNX
    data = _damage(rng, m.strip_seal(source.read_bytes()), own)
    path = _write(folder, f"other{source.suffix}", data)
    verbs = ("inspect", "predict", "verify", "evaluate", "report", "profile", "inspect", "predict")
    return _verb(rng, path, setting, verbs)


def manifest_beside(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """A whole file with a damaged manifest beside it, in a folder that is reported."""
    source = setting.exports["onnx-float32"]
    shutil.copy(source, folder / source.name)
    beside = source.with_name(source.name + ".manifest.json")
    _write(folder, beside.name, _damage(rng, beside.read_bytes(), m.JSON))
    return ["verify", folder / source.name] if rng.random() < 0.5 else ["report", folder]


def evidence(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """A report beside JSON that some command, or nobody, wrote."""
    source = setting.exports["onnx-float32"]
    shutil.copy(source, folder / source.name)
    shown = {
        "verify": {"file": source.name, "runs": [], "accuracy": None, "arena_bytes": 5},
        "evaluate": {"model": source.name, "top1": 5.0, "top5": 50.0, "images": 10, "seconds": 1},
        "profile": {"file": source.name, "rows": [{"name": "a", "time_us": 3.5}]},
        "diff": {"file": source.name, "layers": [{"layer": "a", "relative": 0.1}]},
        "targets": {"keras": {"top1": 1}, "onnx-float32": {"accuracy": {"top1": 1, "images": 4}}},
        "benchmark": {"kind": "edgevit.benchmark", "version": 1, "rows": [], "environment": {}},
    }
    for number in range(3):
        document = json.dumps(m.pick(rng, list(shown.values()))).encode()
        _write(folder, f"{number}.json", _damage(rng, document, m.JSON))
    picture = setting.picture.read_bytes()
    _write(folder, "a-occlusion.png", m.pick(rng, m.IMAGES)(rng, picture))
    return ["report", folder, *m.pick(rng, ([], ["--json"], ["--markdown"]))]


def pictures(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """A damaged or odd picture."""
    name = m.pick(rng, ("a.png", "a.jpg", "a.tif", "a.gif", "a.npy", "\x1b[31ma.png"))
    path = _write(folder, name, _damage(rng, setting.picture.read_bytes(), m.IMAGES))
    verb = "explain" if rng.random() < 0.1 else "predict"
    more = ["--out", folder / "seen"] if verb == "explain" else []
    return [verb, setting.exports["onnx-float32"], path, *more]


def npz(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """A damaged dataset of arrays."""
    rows = (*m.NPZ, *m.NPZ, m.unpack_to_gigabytes) if rng.random() < 0.05 else m.NPZ
    path = _write(folder, "data.npz", _damage(rng, setting.data.read_bytes(), rows))
    if rng.random() < 0.2:
        return ["predict", setting.exports["onnx-float32"], path]
    return ["evaluate", setting.exports["onnx-float32"], "--data", path]


def archives(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """A damaged tar or zip of class folders."""
    picture, stream = setting.picture.read_bytes(), io.BytesIO()
    names = [f"test/{label}/{n}.png" for label in "ab" for n in range(2)]
    if rng.random() < 0.5:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = len(picture)
                archive.addfile(info, io.BytesIO(picture))
        path = _write(folder, "data.tar", _damage(rng, stream.getvalue(), m.TAR))
    else:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.writestr(name, picture)
        path = _write(folder, "data.zip", _damage(rng, stream.getvalue(), m.ZIP))
    return ["evaluate", setting.exports["onnx-float32"], "--data", path]


def documents(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """Class names, results of benchmarks, recipes and ranges that are damaged."""
    kind = m.pick(rng, ("labels", "gate", "recipe", "table", "ranges", "train"))
    if kind == "ranges" and not setting.weights.exists():
        kind = "labels"
    data, suffix = b'["a", "b", "c"]', ".json"
    if kind == "recipe":
        data, suffix = (
            b'version = 1\n[[rule]]\nlayer = "*"\nop = "*"\nprecision = "int8"\n',
            ".toml",
        )
    elif kind == "table":
        data, suffix = b"file,x\npicture.png,1\npicture.png,2\n", ".csv"
        _copy_picture(setting, folder)
    elif kind == "ranges":
        data = (setting.weights.parent / "ranges.json").read_bytes()
    damaged = _damage(rng, data, m.JSON if suffix == ".json" else ())
    path = _write(folder, f"document{suffix}", damaged)
    onnx = setting.exports["onnx-float32"]
    none = folder / "none"
    commands: dict[str, list[object]] = {
        "labels": ["export", none, "--format", "onnx-float32", "--labels", path],
        "gate": ["gate", path, path] if _has_gate() else ["benchmark", onnx, "--baseline", path],
        "recipe": ["export", none, "--format", "tflite-mixed", "--recipe-file", path],
        "table": ["evaluate", onnx, "--data", path, "--task", "regression"],
        "ranges": ["export", none, "--format", "tflite-int8", "--ranges", path],
        "train": ["train", "shiftvit", "--recipe", path, "--data", none],
    }
    return commands[kind]


def _has_gate() -> bool:
    from edgevit.cli.main import cli

    return "gate" in cli.commands


def keras_file(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """A damaged or crafted .keras file."""
    path = _write(folder, "net.keras", _damage(rng, setting.keras.read_bytes(), m.KERAS))
    return _verb_of_model(rng, path, setting)


def _verb_of_model(rng: np.random.Generator, path: Path, setting: Setting) -> list[object]:
    """A command line of one of the verbs that take a float model."""
    data, folder = ["--data", setting.data], path.parent
    onnx = setting.exports["onnx-float32"]
    commands: tuple[list[object], ...] = (
        ["evaluate", path, *data, "--limit", 4],
        ["evaluate", path, *data, "--limit", 4],
        ["export", path, "--format", "onnx-float32", "--out", folder / "out"],
        ["calibrate", path, *data, "--images", 8, "--out", folder / "ranges.json"],
        ["diff", onnx, path, "--limit", 2],
        ["verify", onnx, "--against", path],
        ["explain", path, _copy_picture(setting, folder), "--out", folder / "seen"],
    )
    return m.pick(rng, commands)


def weights_file(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """A damaged .safetensors file."""
    data = _damage(rng, setting.weights.read_bytes(), m.SAFETENSORS)
    path = _write(folder, "weights.safetensors", data)
    return _verb_of_model(rng, path, setting)


def npu_file(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """A damaged file that is compiled for an NPU; half of them are another tool's."""
    names = ("tflite-int8-npu", "tflite-int8-micro", "tflite-int8", "tflite-float32")
    source = setting.exports[m.pick(rng, names)]
    data = _damage(rng, source.read_bytes(), m.TFLITE)
    path = _write(folder, "net.tflite", data if rng.random() < 0.5 else m.strip_seal(data))
    npu = m.pick(rng, ("ethos-u55-128", "ethos-u85-256", "ethos-u65-512"))
    return ["inspect", path, "--npu", npu, *m.pick(rng, ([], ["--json"]))]


def _kit(rng: np.random.Generator, path: Path, out: Path | str) -> list[object]:
    place = m.pick(rng, ("python", "python", "browser", "microcontroller"))
    return [
        "deploy",
        path,
        "--to",
        place,
        "--out",
        out,
        *m.pick(rng, ([], ["--force"], ["--json"])),
    ]


def kit(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """A kit of a damaged file of ours."""
    names = [name for name, path in setting.exports.items() if path.is_file()]
    source = setting.exports[m.pick(rng, names)]
    own = m.TFLITE if source.suffix == ".tflite" else m.ONNX
    path = _write(folder, source.name, _damage(rng, source.read_bytes(), own))
    return _kit(rng, path, folder / "kit")


def kit_place(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """A kit of a whole file, to a place that is taken, locked, linked or no folder."""
    source = setting.exports[m.pick(rng, ("onnx-float32", "tflite-int8"))]
    path = Path(shutil.copy(source, folder / source.name))
    out, kept = folder / "kit", setting.data.parent / "kept"
    kept.mkdir(exist_ok=True)
    (kept / "mine").touch()
    makers: tuple[Callable[[], object], ...] = (
        lambda: _write(folder, "kit/mine", b"mine"),
        lambda: _write(folder, "kit", b"mine"),
        lambda: out.symlink_to(kept),
        lambda: out.symlink_to(out),
        lambda: out.symlink_to(folder / "nothing"),
        lambda: os.mkfifo(out),
        lambda: out.mkdir(0o555),
        lambda: (folder / "locked").mkdir(0o555),
        lambda: None,
    )
    m.pick(rng, makers)()
    odd = (path / "kit", folder / ("k" * 300), folder / "\x1b[2J\u202e", folder, "a/b/../c/kit")
    if (folder / "locked").exists():
        out = folder / "locked" / "kit"
    elif not os.path.lexists(out):
        out = m.pick(rng, odd)
    return _kit(rng, path, out)


PLAN = b"""title = "nets"
targets = ["onnx-float32", "tflite-*"]
[defaults]
limit = 4
accept = ["lossy"]
options = { fold = true }
[limits]
seconds = 60
memory = "4 GB"
[[target]]
name = "tflite-int8"
calibration = "data.npz"
[[model]]
source = "missing.keras"
name = "a"
max_size = "1 MB"
[[model]]
source = "nets/*.keras"
exclude = ["tflite-int4*"]
depends = ["*.npz"]
[[exclude]]
model = "a*"
target = "onnx-*"
reason = "none"
"""


def plan(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """A sweep of a plan that is damaged or hostile; no model of it is there."""
    shutil.copy(setting.data, folder / "data.npz")
    path = _write(folder, "plan.toml", _damage(rng, PLAN, m.TOML))
    return ["sweep", path, "--out", folder / "results", *m.pick(rng, ([], ["--json"]))]


def _damage_folder(rng: np.random.Generator, folder: Path) -> None:
    """A file of a folder that is damaged, lost, another's, a device, a pipe or a folder."""
    files = sorted(entry for entry in folder.rglob("*") if entry.is_file())
    path = m.pick(rng, [*files, *(file for file in files if file.suffix == ".json")])
    data, what = path.read_bytes(), rng.random()
    if what < 0.7:
        path.write_bytes(_damage(rng, data, m.JSON if path.suffix == ".json" else ()))
        return
    path.unlink()
    makers: tuple[Callable[[], object], ...] = (
        path.mkdir,
        lambda: path.symlink_to("/dev/zero"),
        lambda: os.mkfifo(path),
        lambda: path.symlink_to(path),
        lambda: path.touch(0),
        lambda: None,
    )
    m.pick(rng, makers)()


def results(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """The results of a sweep, damaged, to which another is compared."""
    shutil.copytree(setting.swept, folder / "swept")
    shutil.copytree(setting.swept / "results", folder / "before")
    _damage_folder(rng, folder / "before")
    swept = folder / "swept"
    return [
        "sweep",
        swept / "plan.toml",
        "--out",
        swept / "results",
        "--against",
        folder / "before",
    ]


def swept(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """The results of a sweep, damaged, with which it goes on."""
    shutil.copytree(setting.swept, folder / "swept")
    _damage_folder(rng, folder / "swept" / "results")
    return ["sweep", folder / "swept" / "plan.toml", "--out", folder / "swept" / "results"]


def kept(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """Damaged outputs in the cache, which is shown or cleared."""
    place = folder / ".scratch" / "cache" / "outputs"
    entries = sorted(setting.cache.glob("outputs/*")) if setting.cache.exists() else []
    data = m.pick(rng, entries).read_bytes() if entries else bytes(100)
    _write(place, "00.kept", data)
    _damage_folder(rng, place)
    return ["cache", *m.pick(rng, ([], ["--json"], ["--clear"]))]


def kept_read(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """An export that finds damaged outputs in the cache: forged ones too, with a right digest."""
    shutil.copytree(setting.cache, folder / ".scratch" / "cache")
    for path in (folder / ".scratch" / "cache" / "outputs").iterdir():
        if rng.random() < 0.5:
            path.write_bytes(m.forge_entry(rng, path.read_bytes()))
    _damage_folder(rng, folder / ".scratch" / "cache")
    out = ["--out", folder / "out"]
    return ["export", setting.weights.parent, "--format", "onnx-float32", *out]


KINDS = (
    Kind("our files, damaged", 0.22, sealed_file, sealed=True),
    Kind("our files, seal's marker damaged", 0.08, marker, sealed=True),
    Kind("our SavedModels, damaged", 0.06, saved_model, sealed=True, needs_all=True),
    Kind("files of other tools", 0.22, foreign_file),
    Kind("manifests beside files", 0.05, manifest_beside),
    Kind("reports over anything", 0.07, evidence),
    Kind("pictures", 0.09, pictures),
    Kind("npz", 0.06, npz),
    Kind("archives", 0.03, archives),
    Kind("documents", 0.05, documents),
    Kind("kits of our files, damaged", 0.04, kit, sealed=True),
    Kind("kits into odd places", 0.015, kit_place),
    Kind("plans of sweeps", 0.06, plan),
    Kind("results of sweeps, compared", 0.015, results, needs_all=True),
    Kind("results of sweeps, gone on with", 0.005, swept, needs_all=True),
    Kind("cache", 0.02, kept),
    Kind("cache, read by an export", 0.01, kept_read, heavy=True, needs_all=True),
    Kind("files for an NPU", 0.02, npu_file, needs_all=True, package="ethosu"),
    Kind(".keras", 0.05, keras_file, heavy=True, needs_all=True),
    Kind("safetensors", 0.02, weights_file, heavy=True, needs_all=True),
)


def make_setting(folder: Path, exports: dict[str, Path], keras: Path, weights: Path) -> Setting:
    """Writes the dataset and the picture beside files that are there."""
    from PIL import Image

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 12, 12, 3), np.uint8)
    labels = np.arange(8)
    data = folder / "data.npz"
    np.savez_compressed(data, x_train=images, y_train=labels, x_test=images, y_test=labels)
    picture = folder / "picture.png"
    Image.fromarray(images[0]).save(picture)
    (folder / "secret.bin").write_bytes(b"secret" * 1000)
    base = keras.parent
    return Setting(exports, keras, weights, data, picture, base / "swept", base / "cache")
