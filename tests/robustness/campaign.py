"""``python -m robustness.campaign``: thousands of damaged inputs over all verbs, and a table.

Each case is a seed: ``--only 1234`` runs one again and shows what it said.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robustness import mutations as m
from robustness.jury import Ruling, run_forked
from robustness.server import LIGHT

PASSES = "pass on damage"
HEAVY = ("keras", "tensorflow")
FAULTS = (
    "traceback",
    "internal error",
    "signal",
    "hang",
    "memory",
    "touched",
    "no line",
    "controls",
)


@dataclass(frozen=True)
class Setting:
    """Sound files that cases start from.

    Attributes:
        exports: of every target, by name.
        keras: a small .keras file.
        weights: a .safetensors file of edgevit.
        data: an npz dataset.
        picture: a PNG.
    """

    exports: dict[str, Path]
    keras: Path
    weights: Path
    data: Path
    picture: Path


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
    """

    name: str
    share: float
    prepare: Callable[[np.random.Generator, Setting, Path], list[object]]
    sealed: bool = False
    heavy: bool = False
    needs_all: bool = False


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
    return ["evaluate", path, "--data", setting.data, "--limit", 4]


def weights_file(rng: np.random.Generator, setting: Setting, folder: Path) -> list[object]:
    """A damaged .safetensors file."""
    data = _damage(rng, setting.weights.read_bytes(), m.SAFETENSORS)
    path = _write(folder, "weights.safetensors", data)
    return ["evaluate", path, "--data", setting.data, "--limit", 4]


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
    return Setting(exports, keras, weights, data, picture)


@dataclass(frozen=True)
class Case:
    """One case that ran.

    Attributes:
        kind: of it.
        arguments: of the command.
        ruling: what became of it.
    """

    kind: Kind
    arguments: tuple[str, ...]
    ruling: Ruling

    @property
    def faults(self) -> tuple[str, ...]:
        """What must not happen."""
        passed = self.kind.sealed and self.arguments[0] == "verify" and self.ruling.code == 0
        return (*self.ruling.faults, *([PASSES] if passed else []))


def run_case(kind: Kind, seed: int, setting: Setting, root: Path) -> Case:
    """Makes one damaged input in a folder of its own, and runs one command on it."""
    folder = root / f"case{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    arguments = kind.prepare(np.random.default_rng((seed, 29)), setting, folder)
    ruling = run_forked(arguments, folder)
    case = Case(kind, tuple(map(str, arguments)), ruling)
    if not case.faults:
        shutil.rmtree(folder, ignore_errors=True)
    return case


def choose_kind(seed: int, kinds: tuple[Kind, ...] = KINDS) -> Kind:
    """The kind of a seed's case."""
    shares = np.array([kind.share for kind in kinds])
    rng = np.random.default_rng((seed, 7))
    return kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]


def warm_up(heavy: bool) -> None:
    """Imports what commands need, so that children need not."""
    for module in LIGHT if not heavy else (*LIGHT, *HEAVY):
        importlib.import_module(module)


def tell_case(seed: int, case: Case) -> str:
    """One case in a few lines."""
    ruling = case.ruling
    said = (ruling.err or ruling.out)[-1500:].strip()
    return (
        f"seed {seed}: {', '.join(case.faults) or 'fine'}: edgevit {' '.join(case.arguments)}\n"
        f"  exit {ruling.code}, {ruling.seconds:.1f} s, {ruling.peak >> 20} MiB, "
        f"touched {list(ruling.touched)}\n  {said!r}"
    )


def log_case(case: Case) -> str:
    """What the table needs of a case, as one line of JSON."""
    ruling = case.ruling
    row = {"kind": case.kind.name, "faults": case.faults, "code": ruling.code}
    return json.dumps({**row, "seconds": ruling.seconds, "peak": ruling.peak})


def draw_table(rows: list[dict]) -> str:
    """Tried and failed, by kind; rows are those of :func:`log_case`."""
    tried = Counter(row["kind"] for row in rows)
    failed: dict[str, Counter] = defaultdict(Counter)
    for row in rows:
        failed[row["kind"]].update(row["faults"])
    columns = (*FAULTS, PASSES)
    lines = [f"{'':34}{'tried':>7}" + "".join(f"{name:>16}" for name in columns)]
    for kind in KINDS:
        figures = "".join(f"{failed[kind.name][name]:>16}" for name in columns)
        lines.append(f"{kind.name:34}{tried[kind.name]:>7}{figures}")
    total = sum(failed.values(), Counter())
    lines.append(f"{'all':34}{len(rows):>7}" + "".join(f"{total[name]:>16}" for name in columns))
    slowest, largest = max(row["seconds"] for row in rows), max(row["peak"] for row in rows)
    codes = dict(Counter(row["code"] for row in rows))
    lines.append(f"slowest {slowest:.1f} s, largest {largest / 2**20:,.0f} MiB, exit codes {codes}")
    return "\n".join(lines)


def read_log(path: Path) -> list[dict]:
    """The rows of a log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def main() -> None:
    """See the module."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--only", type=int, help="one seed, with what it said")
    parser.add_argument("--light", action="store_true", help="seconds: what needs no Keras")
    parser.add_argument("--base", type=Path, help="a folder that robustness.base wrote")
    parser.add_argument("--log", type=Path, help="a file that gets a line for each case")
    parser.add_argument("--table", type=Path, nargs="+", help="logs, whose table is printed")
    chosen = parser.parse_args()
    if chosen.table:
        print(draw_table([row for log in chosen.table for row in read_log(log)]))
        return
    from robustness.base import find_base, find_light_base

    with tempfile.TemporaryDirectory(prefix="campaign-") as place:
        root = Path(place)
        exports, keras, weights = find_light_base() if chosen.light else find_base(chosen.base)
        setting = make_setting(root, exports, keras, weights)
        seeds = (
            [chosen.only]
            if chosen.only is not None
            else range(chosen.first, chosen.first + chosen.cases)
        )
        kinds = tuple(kind for kind in KINDS if not (chosen.light and kind.needs_all))
        light = [seed for seed in seeds if not choose_kind(seed, kinds).heavy]
        heavy = [seed for seed in seeds if choose_kind(seed, kinds).heavy]
        cases = []
        for part, needs in ((light, False), (heavy, True)):
            if part:
                warm_up(needs)
            for seed in part:
                case = run_case(choose_kind(seed, kinds), seed, setting, root)
                cases.append(case)
                if chosen.log:
                    with chosen.log.open("a") as stream:
                        stream.write(log_case(case) + "\n")
                if case.faults or chosen.only is not None:
                    print(tell_case(seed, case), flush=True)
        print(draw_table([json.loads(log_case(case)) for case in cases]))
        if any(case.faults for case in cases):
            sys.exit(1)


if __name__ == "__main__":
    main()
