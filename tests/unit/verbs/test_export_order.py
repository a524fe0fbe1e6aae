"""Targets that are verified beside each other are finished as they come, and listed as asked."""

from __future__ import annotations

import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("ai_edge_litert")
pytest.importorskip("onnxruntime")

from edgevit.formats.registry import find_runtime  # noqa: E402
from edgevit.verbs import export  # noqa: E402
from edgevit.verification.beside import Request  # noqa: E402
from edgevit.verification.parity import check_file  # noqa: E402

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="graphs are traced by TensorFlow"
)
TARGETS = "tflite-float32,onnx-float32,onnx-float16"


class Held:
    """A check in this process that a .tflite file never says to have ended."""

    def __init__(self, request: Request):
        self._request = request

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    @property
    def ended(self) -> bool:
        return self._request.path.suffix != ".tflite"

    def result(self):
        rows = [find_runtime(name) for name in self._request.runtimes]
        return check_file(self._request.path, rows, self._request.reference, lambda line: None), 0.0


@pytest.mark.parametrize(("jobs", "last"), [(1, "onnx-float16"), (2, "tflite-float32")])
def test_a_slow_check_keeps_no_other_target_waiting(tmp_path, monkeypatch, jobs, last):
    monkeypatch.setattr(export, "Beside", Held)
    keras.utils.set_random_seed(1)
    network = keras.Sequential([keras.Input((6,), name="x"), keras.layers.Dense(3, name="y")])
    finished: list[str] = []
    outcomes = export.export_all(
        network,
        TARGETS,
        tmp_path,
        jobs=jobs,
        keep_failed=True,
        finished=lambda outcome: finished.append(outcome.target.name),
    )
    assert [outcome.target.name for outcome in outcomes] == TARGETS.split(",")
    assert sorted(finished) == sorted(TARGETS.split(","))
    assert finished[-1] == last
