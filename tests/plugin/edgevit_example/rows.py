"""What this package offers, in the rows of edgevit's tables. Nothing heavy is imported here."""

from dataclasses import replace

from edgevit.core.format import Format
from edgevit.core.runtime import Runtime
from edgevit.core.signature import Role
from edgevit.core.target import Precision, Target
from edgevit.core.tolerance import EXACT
from edgevit.models.spec import ModelSpec
from edgevit.tasks.regression import Regression

TARGET = Target(
    "tflite-halved",
    Format.TFLITE,
    Precision.FLOAT32,
    suffix=".tflite",
    runtimes=("litert-doubled",),
    write="edgevit_example.files:write_halved",
    tolerance=replace(EXACT, reason="twice the half is the whole"),
    summary="half of each output, for runtimes that double it",
)

RUNTIME = Runtime(
    "litert-doubled",
    Format.TFLITE,
    "doubled",
    session="edgevit_example.files:DoublingSession",
    library="ai_edge_litert.interpreter",
    extra="litert",
)

TASK = Regression("counting", "how many of something a picture shows", (Role.VALUES,))

ARCHITECTURE = ModelSpec(
    name="averagenet",
    title="AverageNet",
    paper="nobody 2026",
    module="edgevit_example.averagenet",
    outputs=("logits",),
    variants=("small",),
    class_names=(),
)
