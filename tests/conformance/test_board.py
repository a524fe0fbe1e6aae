"""A board holds one runtime and one file: what verifies it there needs nothing of the exporter."""

from __future__ import annotations

import json

import pytest

from programs import run_program

EXPORTER = "h5py,jax,keras,matplotlib,onnx_ir,onnxscript,scipy,tensorflow,tf2onnx,torch"
RUNTIMES = {"tflite": "ai_edge_litert,flatbuffers", "onnx": "onnxruntime"}


@pytest.mark.parametrize("name", ["tflite-int8", "onnx-int8"])
def test_a_file_is_verified_beside_its_own_runtime_alone(exported, name):
    kind = name.partition("-")[0]
    others = [packages for other, packages in RUNTIMES.items() if other != kind]
    missing = ",".join([EXPORTER, "onnx", "openvino", "tract", *others])
    found = run_program("run_without", missing, "verify", exported[name], "--json")
    assert found.returncode == 0, found.stderr
    document = json.loads(found.stdout)
    assert (document["verdict"], document["target"]) == ("pass", name)
    refused = run_program("run_without", "ai_edge_litert,onnxruntime", "verify", exported[name])
    assert refused.returncode == 1
    assert "pip install 'edgevit[" in refused.stderr
