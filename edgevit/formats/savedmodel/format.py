"""The SavedModel format and its runtimes."""

from __future__ import annotations

from edgevit.base.packages import KERAS
from edgevit.core.format import Format, FormatSpec
from edgevit.core.runtime import Runtime

SPEC = FormatSpec(
    Format.SAVEDMODEL,
    suffix="",
    marker="saved_model.pb",
    inspect="edgevit.formats.savedmodel.runtime:inspect_savedmodel",
    read_metadata="edgevit.formats.savedmodel.runtime:read_metadata",
    options="edgevit.formats.savedmodel.options:SavedModelOptions",
    writer_needs=KERAS,
)

_SESSION = "edgevit.formats.savedmodel.runtime:SavedModelSession"

# The first of each device is the one that is used unless another is asked for.
RUNTIMES = (
    Runtime("tensorflow", Format.SAVEDMODEL, "cpu", _SESSION, "tensorflow", "tensorflow"),
    Runtime("tensorflow-gpu", Format.SAVEDMODEL, "gpu", _SESSION, "tensorflow", "gpu", "gpu"),
)
