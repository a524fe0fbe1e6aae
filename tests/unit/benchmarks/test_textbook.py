"""What is timed as a peer computes what our model computes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from edgevit.models import MODELS
from edgevit.models.build import build_plan, import_architecture, plan_model

PATH = Path(__file__).parents[3] / "benchmarks" / "textbook.py"
NAMES = ("vit", "patchconvnet", "focalnet", "shiftvit", "gcvit")
SMALL = {name: import_architecture(MODELS[name]).TINY for name in NAMES}


@pytest.fixture(scope="module")
def textbook():
    name = "edgevit_benchmarks_textbook"
    spec = importlib.util.spec_from_file_location(name, PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]


def build(name):
    plan = plan_model(name, outputs=("logits",), **SMALL[name])
    network = build_plan(plan)
    rng = np.random.default_rng(3)
    network.set_weights(
        [array + rng.normal(0, 0.05, array.shape) for array in network.get_weights()]
    )
    return plan, network


@pytest.mark.parametrize("name", SMALL)
def test_the_textbook_form_computes_the_same_logits(textbook, name):
    plan, ours = build(name)
    images = np.random.default_rng(1).random((2, *plan.preprocess.network_size, 3), np.float32)
    logits = keras.ops.convert_to_numpy(ours(images)["logits"])
    assert np.ptp(logits) > 0.1  # or equality would say little
    model = textbook.build_textbook(name, ours, plan.config)
    assert model.count_params() == ours.count_params()
    assert textbook.check_equal(ours, model) <= 1e-4


def test_a_network_that_differs_is_refused(textbook):
    plan, ours = build("shiftvit")
    model = textbook.build_textbook("shiftvit", ours, plan.config)
    kernel = model.get_layer("stage1_block1__expand").kernel
    kernel.assign(kernel * 1.1)
    with pytest.raises(ValueError, match="not the same network"):
        textbook.check_equal(ours, model)


def test_a_weight_without_a_place_is_refused(textbook):
    _, ours = build("vit")
    shallow = plan_model("vit", **{**SMALL["vit"], "depth": 1}).config
    with pytest.raises(ValueError, match="without a place"):
        textbook.build_textbook("vit", ours, shallow)
