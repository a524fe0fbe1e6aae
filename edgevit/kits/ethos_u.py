"""A kit for Arm's Ethos-U: the file as Vela compiles it, in C++ for TensorFlow Lite Micro."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.base.workspace import open_workspace
from edgevit.formats.ethos_u.placement import Placement
from edgevit.formats.ethos_u.vela import compile_for_npu
from edgevit.formats.registry import load_session
from edgevit.formats.tflite.runtime.file import (
    parse_model,
    tensor_name,
    tensor_shape,
    tensor_type,
    text,
)
from edgevit.kits.firmware import (
    Border,
    Firmware,
    check,
    find_adders,
    read_borders,
    run_goldens,
    strip,
)
from edgevit.kits.place import Files, read_templates
from edgevit.kits.subject import MARGIN, Subject

TARGET = "tflite-int8-npu"
KERNELS = "litert-reference"  # that the NPU's arithmetic is made after
OWN = 16 * 1024  # bytes of the arena that the interpreter takes for itself, more or less
_PLAN = "OfflineMemoryAllocation"  # Vela's: where each tensor lies in the arena
_HEAD = 3  # numbers before the places: version, subgraph, how many
_FAST = "scratch_fast"  # the tensor that stands for the NPU's fast memory
_NOTE = """\
// What Vela planned ({planned:,} bytes) and 16 kB for the interpreter: not measured.
// MicroInterpreter::arena_used_bytes() tells on the device. With FAST_MEMORY_BYTES above 0, Vela
// assumes so much SRAM beside the arena: hand it to ethosu_init()."""


@dataclass(frozen=True)
class _Compiled:
    """What Vela made: the file, where its operators run, and its tables by name."""

    content: bytes
    placement: Placement
    tables: Files


def build(subject: Subject, npu: str) -> Files:
    """The files of the kit.

    Args:
        subject: an integer TFLite file.
        npu: a name of :data:`edgevit.formats.ethos_u.placement.NPUS`.

    Raises:
        ConfigError: a file that is not for firmware, or that leaves operators to the CPU which it
            need not; what to export instead.
        MissingDependencyError: Vela is not installed.
        ModelFileError: nothing of the file can run on the NPU.
        RuntimeFailure: Vela cannot compile it.
    """
    check(subject, TARGET)
    bare = strip(subject.path)
    compiled = _compile(subject, npu)
    _refuse_leftovers(subject, compiled.placement)
    inputs, outputs = read_borders(bare)
    goldens = _compute(subject, bare, inputs, outputs)
    planned, fast = measure_memory(compiled.content)
    firmware = Firmware(
        subject=subject,
        content=compiled.content,
        inputs=inputs,
        outputs=outputs,
        goldens=goldens,
        tolerances=_find_tolerances(subject, goldens, inputs, outputs),
        golden_source="LiteRT's reference kernels",
        adders=find_adders(compiled.content, subject.path),
        arena=planned + OWN,
        arena_note=f"{_NOTE.format(planned=planned)}\n#define FAST_MEMORY_BYTES {fast}",
    )
    words = {**firmware.words(), **_describe(compiled.placement), "FAST": f"{fast:,}"}
    return {
        **firmware.files({"MEASURED": ""}),
        **read_templates("ethos_u", words),
        "model_vela.tflite": compiled.content,
        **compiled.tables,
    }


def _compile(subject: Subject, npu: str) -> _Compiled:
    """Compiles a file without its metadata; names of tensors stay, since they tell the layers."""
    with open_workspace() as folder:
        content = strip(subject.path, named=True)
        found = compile_for_npu(subject.path, npu, folder, content)
        return _Compiled(
            content=_read_one(folder, "*_vela.tflite"),
            placement=found,
            tables={
                "vela_operators.csv": _read_one(folder, "*_per-layer.csv"),
                "vela_summary.csv": _read_one(folder, "*_summary_*.csv"),
            },
        )


def _read_one(folder: Path, pattern: str) -> bytes:
    (path,) = folder.glob(pattern)
    return path.read_bytes()


def _refuse_leftovers(subject: Subject, placement: Placement) -> None:
    """Refuses operators on the CPU where another target has a form for them."""
    if placement.on_cpu and subject.manifest.target != TARGET:
        counts = Counter(row.operator for row in placement.on_cpu)
        left = ", ".join(f"{count} {operator}" for operator, count in counts.most_common())
        raise ConfigError(
            f"{subject.path}: leaves {len(placement.on_cpu)} operators to the CPU on "
            f"{placement.npu} ({left}). Export {TARGET} and deploy that."
        )


def _compute(
    subject: Subject, bare: bytes, inputs: Sequence[Border], outputs: Sequence[Border]
) -> list[list[np.ndarray]]:
    """Golden vectors of the file before Vela."""
    with open_workspace() as folder:
        place = folder / subject.path.name
        place.write_bytes(bare)
        with load_session(place, KERNELS) as session:
            return run_goldens(subject, session.run, inputs, outputs)


def _find_tolerances(
    subject: Subject,
    goldens: Sequence[Sequence[np.ndarray]],
    inputs: Sequence[Border],
    outputs: Sequence[Border],
) -> list[float]:
    """What a value of each output may be off.

    Twice what two sets of LiteRT's kernels differ by on the golden vectors, at least a level.
    """
    found = []
    for place, border in enumerate(outputs, len(inputs)):
        usual = [border.levels(golden.outputs[border.spec.name]) for golden in subject.goldens]
        drift = max(
            float(np.abs(np.subtract(row[place], other, dtype=np.float64)).max())
            for row, other in zip(goldens, usual, strict=False)
        )
        whole = np.dtype(border.spec.dtype).kind != "f"
        found.append(max(MARGIN * drift, 1.0 if whole else 0.0))
    return found


def measure_memory(content: bytes) -> tuple[int, int]:
    """(bytes of the arena that Vela planned, bytes of fast memory beside it) of a compiled file."""
    model = parse_model(content, "model_vela.tflite")
    tensors = model.subgraphs[0].tensors
    sizes = [
        math.prod(tensor_shape(tensor)) * np.dtype(tensor_type(tensor)).itemsize
        for tensor in tensors
    ]
    (entry,) = [entry for entry in model.metadata if text(entry.name) == _PLAN]
    plan = np.asarray(model.buffers[entry.buffer].data, np.uint8).view(np.int32)[_HEAD:]
    is_fast = [tensor_name(tensor) == _FAST for tensor in tensors]
    ends = [
        int(start) + size
        for start, size, fast in zip(plan, sizes, is_fast, strict=True)
        if start >= 0 and not fast
    ]
    return max(ends), sum(size for size, fast in zip(sizes, is_fast, strict=True) if fast)


def _describe(found: Placement) -> dict[str, str]:
    """Words of the README and of the page about the operators."""
    rows = [
        f"| {row.layer} | {', '.join(row.operators)} | {row.on_npu} | {row.on_cpu} | "
        f"{row.cycles:,} |"
        for row in found.group_layers()
    ]
    reasons = [
        f"- {count} {operator} on the CPU: {reason}"
        for (operator, reason), count in found.count_reasons().items()
    ]
    return {
        "NPU": found.npu,
        "ARCH": found.npu.split("-")[1],
        "MACS": found.npu.rpartition("-")[2],
        "FAMILY": found.npu.split("-")[1].upper(),
        "VELA": found.vela,
        "SYSTEM": found.system,
        "MEMORY_MODE": found.memory_mode,
        "ON_NPU": str(len(found.on_npu)),
        "ON_CPU": str(len(found.on_cpu)),
        "NPU_CYCLES": f"{found.npu_cycles:,}",
        "TOTAL_CYCLES": f"{found.total_cycles:,}",
        "CLOCK": f"{found.clock_hz / 1e6:,.0f}",
        "MILLISECONDS": f"{found.milliseconds:.2f}",
        "SRAM": f"{found.sram_bytes:,}",
        "WEIGHTS": f"{found.weights_bytes:,}",
        "LAYERS": "\n".join(rows),
        "REASONS": "\n".join(reasons) or "Nothing is left to the CPU.",
    }
