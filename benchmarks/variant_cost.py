"""How the cost of an export grows with the network: time, peak memory and size by variant.

Each variant gets seeded weights; each export runs in a process of its own, from shell to verdict.

    python benchmarks/variant_cost.py --variants gcvit:xxtiny,gcvit:tiny,gcvit:base,vit:base
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from export_cost import EDGEVIT, run

from edgevit.base.documents import to_json
from edgevit.bench.environment import describe_environment

VARIANTS = "gcvit:xxtiny,gcvit:xtiny,gcvit:tiny,gcvit:small,gcvit:base,vit:tiny,vit:small,vit:base"
SEED_WEIGHTS = """
import sys
from pathlib import Path
import keras
from edgevit.models.build import build_plan, plan_model
from edgevit.models.weights import save_weights

name, variant, path = sys.argv[1:]
keras.utils.set_random_seed(0)
plan = plan_model(name, variant)
network = build_plan(plan)
names = tuple(str(number) for number in range(plan.config.num_classes))
save_weights(Path(path), plan, network.get_weights(), names, "float32")
print(network.count_params())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variants", default=VARIANTS, help="MODEL:VARIANT, commas between")
    parser.add_argument("--formats", default="tflite-float32,onnx-float32", help="targets")
    parser.add_argument("--json", type=Path, help="where to write the rows")
    options = parser.parse_args()
    rows = []
    print("| model | parameters, M | target | s | peak MiB | file, MB | verdict | max diff |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for entry in options.variants.split(","):
        name, variant = entry.split(":")
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / name
            weights = folder / "weights.safetensors"
            folder.mkdir()
            built = subprocess.run(
                [sys.executable, "-c", SEED_WEIGHTS, name, variant, str(weights)],
                capture_output=True,
                text=True,
                check=True,
            )
            parameters = int(built.stdout.split()[-1])
            for target in options.formats.split(","):
                row = measure(folder, target, Path(place) / "out")
                rows.append({"model": entry, "parameters": parameters, **row})
                print(
                    f"| {entry} | {parameters / 1e6:.1f} | {target} | {row['seconds']:.1f} "
                    f"| {row['peak_mib']:.0f} | {row['size_bytes'] / 1e6:.1f} | {row['verdict']} "
                    f"| {row['max_abs']:.1e} |",
                    flush=True,
                )
    if options.json:
        document = {"rows": rows, "environment": describe_environment()}
        options.json.write_text(to_json(document, indent=1) + "\n")


def measure(folder: Path, target: str, out: Path) -> dict:
    """One export by the command line, in a process of its own."""
    command = [EDGEVIT, "export", str(folder), "--format", target, "--out", str(out), "--json"]
    seconds, memory, output = run(command)
    (answer,) = json.loads(output)
    return {
        "target": target,
        "seconds": seconds,
        "peak_mib": memory,
        "size_bytes": answer["size_bytes"],
        "verdict": answer["verdict"],
        "max_abs": answer["max_abs"],
    }


if __name__ == "__main__":
    main()
