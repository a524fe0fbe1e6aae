"""How many planted faults does a verification find, and does diff name their layer?

Faults are planted into sealed files of trained networks (small_networks.py) and of two kinds of
tests/kinds: into the stored numbers of layers that a seed draws, or into the float model before an
export whose file then gets the documents of the sound one. Each file is sealed again, so that only
what it computes tells. A fault that moves no output by more than EFFECT of its deviation is none.

    python benchmarks/planted_faults.py --networks FOLDER --json benchmarks/results/faults.json
    python benchmarks/planted_faults.py --table

How many golden inputs tell in slow kernels? ``--few`` asks LiteRT's reference kernels alone,
on the first so many of them:

    python benchmarks/planted_faults.py --few --networks FOLDER --targets tflite-float32 \\
        --json benchmarks/results/few_inputs.json
    python benchmarks/planted_faults.py --few --table
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from provenance import RESULTS, ROOT, result_path, write_result

sys.path.insert(0, str(ROOT / "tests"))

import numpy as np
from small_networks import NETWORKS, draw_samples, train

from edgevit.base.errors import EdgevitError
from edgevit.formats.registry import TARGETS, find_target, open_session
from edgevit.frontend.opening import open_source
from edgevit.frontend.source import Source
from edgevit.verbs.export import export
from edgevit.verbs.verify import verify
from edgevit.verification.parity import measure_parity
from kinds import faults, faults_in_layers
from kinds.zoo import KINDS, build_kind

DEFAULT, DEFAULT_FEW = RESULTS / "faults.json", RESULTS / "few_inputs.json"
SUBJECTS = {
    "classifier": ("resnet8",),
    "segmenter": ("unet", "fcn"),
    "regressor": ("regressor",),
    "embedder": ("embedder",),
    "detector": ("detector",),
}
FILES = (
    *("tflite-float32", "onnx-float32", "tflite-float16", "onnx-float16"),
    *("tflite-int8", "onnx-int8"),
)
DRAWS = 3  # of each fault in each file; diff looks at the first
EFFECT = {"float32": 1e-4, "float16": 1e-3, "int8": 0.01}  # by precision: below, a fault is none
SAMPLES = 64  # on which an effect is measured
LOOKED_AT = 32  # samples of diff
FEW, SLOW = (16, 8, 4, 2, 1), "litert-reference"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("subjects", nargs="*", help="all where none is named")
    parser.add_argument("--networks", type=Path, default=Path("networks"), help="small ones")
    parser.add_argument("--targets", default=",".join(FILES), help="commas between")
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--json", type=result_path, help="where to add the rows")
    parser.add_argument("--no-look", action="store_true", help="leave diff out")
    parser.add_argument("--against", action="store_true", help="verify against the model as well")
    parser.add_argument("--few", action="store_true", help="slow kernels alone, on few inputs")
    parser.add_argument("--table", action="store_true", help="only print what was counted")
    options = parser.parse_args()
    path = options.json or (DEFAULT_FEW if options.few else DEFAULT)
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    if options.table:
        print("\n".join((render_few if options.few else render_table)(rows)))
        return
    for name in options.subjects or [name for names in SUBJECTS.values() for name in names]:
        for target in options.targets.split(","):
            rows = [row for row in rows if (row["subject"], row["target"]) != (name, target)]
            with tempfile.TemporaryDirectory() as place:
                looks = 0 if options.no_look or options.few else 1
                ways = options.against, options.few
                arguments = options.networks, options.draws, looks, ways, Path(place)
                for row in count(name, target, *arguments):
                    rows.append(row)
                    print(json.dumps(row), flush=True)
            if options.json:
                write_result(path, {"rows": rows}, ["shiftvit:nano"])


class Subject:
    """A network, its samples, and how it is exported."""

    def __init__(self, name: str, folder: Path):
        self.name = name
        self._row = None if name in NETWORKS else KINDS[name]
        self.path = None if self._row else train(name, folder)
        self.arguments = dict(self._row.arguments) if self._row else {}
        self.source: Source = open_source(self.build(), **self.arguments)
        self.calibration = self.draw(320, 11)

    def build(self) -> Any:
        """The float model, anew."""
        import keras

        keras.backend.clear_session()  # names of layers count on from those that there are
        return build_kind(self._row) if self._row else keras.models.load_model(self.path)

    def draw(self, count: int, seed: int) -> Any:
        """Raw samples."""
        return self._row.draw(count, seed) if self._row else draw_samples(self.name, count, seed)[0]

    def export(self, model: Any, target: str, place: Path) -> Path:
        """The file of a model that has this network's signature."""
        given = {"calibration": self.calibration} if find_target(target).needs_calibration else {}
        arguments = {**self.arguments, **given, "keep_failed": True}
        artifact = export(model, target, place, **arguments).artifact
        assert artifact is not None
        return artifact.path


def count(
    name: str,
    target: str,
    folder: Path,
    draws: int,
    looks: int,
    ways: tuple[bool, bool],
    place: Path,
) -> Iterator[dict[str, Any]]:
    """A row for each planted fault that has an effect, and one for the sound file.

    ``ways``: whether files are held against the model too; on few inputs alone.
    """
    subject = Subject(name, folder)
    sound = subject.export(subject.build(), target, place)
    judge = _Judge(subject, target, sound, *ways)
    yield judge.row("none", sound, "")
    faulty = place / f"faulty{sound.suffix}"
    for number, (fault, _, _) in enumerate(faults_in_layers.FINE_KINDS):
        for seed in range(draws):
            kinds = (faults_in_layers.FINE_KINDS[number],)
            try:
                layer = faults_in_layers.plant(sound, faulty, 0, kinds, seed)[1]
            except ValueError:  # no place for it
                break
            faults.write_sealed(faulty, faulty.read_bytes())
            yield from judge.rows(fault, faulty, layer, look=seed < looks)
    if faults.plant(sound, faulty, "two outputs swapped"):
        yield from judge.rows("two outputs swapped", faulty, "", look=False)
    for fault in ("nearest instead of bilinear", "activation dropped"):
        model = subject.build()
        layer = faults.MODEL_FAULTS[fault](model)
        if layer:
            faults.graft(sound, subject.export(model, target, place / "faulty"), faulty)
            path = f"{subject.source.name}/{layer}"
            yield from judge.rows(fault, faulty, path, look=bool(looks))


class _Judge:
    """Holds faulty files against the sound one."""

    def __init__(self, subject: Subject, target: str, sound: Path, against: bool, few: bool):
        self._subject, self._target, self._few = subject, target, few
        self._model = subject.path if against else None
        self._samples = subject.draw(SAMPLES, 12)
        self._least = EFFECT[str(TARGETS[target].precision)]
        self._before = self._run(sound)

    def rows(self, fault: str, path: Path, layer: str, look: bool) -> Iterator[dict[str, Any]]:
        """The row of a faulty file; none where the fault has no effect."""
        row = self.row(fault, path, layer if look else "")
        if row["effect"] > self._least:
            yield row

    def row(self, fault: str, path: Path, layer: str) -> dict[str, Any]:
        """What a verification makes of a file; with a layer, its rank in the look at layers."""
        found = {
            "subject": self._subject.name,
            "target": self._target,
            "fault": fault,
            "effect": float(f"{self._measure(path):.3g}"),
        }
        if self._few:
            return found | {"few": _verify_few(path)}
        found["verdict"] = _verify(path)
        if self._model is not None:
            found["against"] = _verify(path, self._model)
        if layer:
            some = self._subject.draw(LOOKED_AT, 13)
            rank = faults_in_layers.rank_of(layer, self._subject.source, path, self._target, some)
            found |= {"layer": layer, "rank": rank["rank"], "first": rank["first"]}
            found["first_db"] = round(rank["first_db"], 1)
        return found

    def _run(self, path: Path) -> dict[str, np.ndarray]:
        with open_session(path, TARGETS[self._target].runtimes[0]) as session:
            return dict(session.run(self._samples))

    def _measure(self, path: Path) -> float:
        """Largest mean |difference| of a column from the sound file's, over the deviation."""
        try:
            after = self._run(path)
        except EdgevitError:
            return float("inf")
        worst = 0.0
        for name, before in self._before.items():
            away = np.abs(after[name] - before).reshape(-1, before.shape[-1]).mean(axis=0)
            spread = before.reshape(-1, before.shape[-1]).std(axis=0)
            worst = max(worst, float((away / np.maximum(spread, 1e-9)).max()))
        return worst


def _verify(path: Path, against: Path | None = None) -> str:
    """The verdict and, where that is why, that the file changed since it was written."""
    try:
        found = verify(path, against=against)
    except EdgevitError as error:
        return f"error: {error}"
    return f"{found.verdict}{' (changed)' if found.drift else ''}"


def _verify_few(path: Path) -> list[str]:
    """What slow kernels alone make of a file, on each number of golden inputs of FEW."""
    with open_session(path, SLOW) as session:
        manifest, golden = session.manifest, session.reference.synthetic.first(FEW[0])
        found = session.run(golden.inputs)
    assert manifest is not None
    tolerance, verdicts = find_target(manifest.target).tolerance, []
    for count in FEW:
        expected = golden.first(count).outputs
        first = {name: found[name][: len(values)] for name, values in expected.items()}
        report = measure_parity(first, expected, manifest.model_signature, SLOW)
        verdicts.append(str(report.verdict(tolerance)))
    return verdicts


def render_few(rows: Sequence[dict[str, Any]]) -> list[str]:
    """How many are found on how many golden inputs."""
    lines = [f"| fault | {' | '.join(map(str, FEW))} |", f"|{' --- |' * (len(FEW) + 1)}"]
    for fault in dict.fromkeys(row["fault"] for row in rows):
        own = [row["few"] for row in rows if row["fault"] == fault]
        counts = [sum(verdict != "pass" for verdict in found) for found in zip(*own, strict=True)]
        lines.append(f"| {fault} | {' | '.join(f'{n} of {len(own)}' for n in counts)} |")
    return lines


def render_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """How many are found, by fault and target, and how often diff puts the layer first.

    Where the sound file is lossy already, only a failure finds a fault. Behind a semicolon: what
    ``verify --against`` finds.
    """
    targets = list(dict.fromkeys(row["target"] for row in rows))
    lines = [
        f"| fault | {' | '.join(f'`{target}`' for target in targets)} "
        "| first in `diff`, float32 | int8 |",
        f"|{' --- |' * (len(targets) + 3)}",
    ]
    for fault in dict.fromkeys(row["fault"] for row in rows):
        cells = []
        for target in targets:
            own = [row for row in rows if (row["fault"], row["target"]) == (fault, target)]
            cells.append(_count(rows, own, "verdict") + _count(rows, own, "against", "; "))
        for precision in ("float32", "int8"):
            ranked = [
                row["rank"]
                for row in rows
                if row["fault"] == fault and "rank" in row and row["target"].endswith(precision)
            ]
            cells.append(f"{ranked.count(1)} of {len(ranked)}" if ranked else "")
        lines.append(f"| {fault} | {' | '.join(cells)} |")
    return lines


def _count(
    rows: Sequence[dict[str, Any]], faulty: Sequence[dict[str, Any]], key: str, before: str = ""
) -> str:
    """How many faulty files are not let through, where the sound one passes or is lossy."""
    sound = {(r["subject"], r["target"]): r[key] for r in rows if r["fault"] == "none" and key in r}
    judged = [row for row in faulty if key in row]
    found = [r for r in judged if r[key] not in ("pass", sound[r["subject"], r["target"]])]
    return f"{before}{len(found)} of {len(judged)}" if judged else ""


if __name__ == "__main__":
    main()
