"""Do sums of 8-bit products saturate on this processor?

x86 processors with AVX2 and without VNNI multiply 8-bit numbers with VPMADDUBSW, which adds two
products in 16 bits, with saturation (Intel SDM, volume 2). A file that is right on a processor with
VNNI, or on ARM, may be far off there, and its bytes did not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgevit.core.parity import SYNTHETIC, ParityReport
from edgevit.core.reference import ReferenceSet
from edgevit.formats.registry import find_runtime, open_session
from edgevit.verification.parity import compare

PLAIN, WIDE = "onnxruntime", "onnxruntime-wide"
LEFT = 0.5  # of the error: what wider sums leave of it where saturation is its cause


def find_saturation(path: Path, reference: ReferenceSet, reports: Sequence[ParityReport]) -> str:
    """Why a file is further off here than on other processors, if sums saturate here.

    Asked where a verdict is no pass: it runs the golden inputs once more.

    Args:
        path: the file.
        reference: what it was held against.
        reports: of its runtimes; only those of onnxruntime on the CPU say anything here.

    Returns:
        A line with both errors and two ways out; empty where saturation is not the cause.
    """
    name = f"onnxruntime-{find_runtime(PLAIN).kernels}"
    plain = [each for each in reports if (each.runtime, each.samples) == (name, SYNTHETIC)]
    if path.suffix != ".onnx" or not plain:
        return ""
    with open_session(path, WIDE) as session:
        wide = compare(session, reference)
    for here, there in zip(plain[0].outputs, wide.outputs, strict=True):
        if there.relative < LEFT * here.relative:
            return (
                f"{here.name}: this processor adds pairs of 8-bit products in 16 bits, where they "
                f"saturate (x86 without VNNI): mean error {100 * here.relative:.2g} % of the "
                f"deviation, {100 * there.relative:.2g} % with wider sums. Set "
                'session.x64quantprecision to "1" in onnxruntime\'s session options here, or '
                "export with --x86 any"
            )
    return ""
