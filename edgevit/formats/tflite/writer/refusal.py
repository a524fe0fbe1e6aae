"""Why TensorFlow's converter refuses a model, as one line a reader can act on."""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgevit.base.errors import in_one_line
from edgevit.formats.layer_names import layers_of_tensors

_FOREIGN = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")
LONGEST = 300


def describe_refusal(name: str, error: Exception, operations: Mapping[str, str]) -> str:
    """The converter's complaint without its paths and the graph around it.

    Args:
        name: of the model.
        error: of the converter; its text tells the operators that LiteRT has not.
        operations: of the traced graph: the name of one by its type.
    """
    text = str(error)
    foreign = list(dict.fromkeys(_FOREIGN.findall(text)))
    if not foreign:
        line = in_one_line(error)[:LONGEST]
        return f"{name}: TensorFlow's converter refuses it without Flex ops ({line})."
    found = layers_of_tensors([operations.get(kind, "") for kind in foreign])
    layers = dict(zip(foreign, found, strict=True))
    places = ", ".join(f"{kind} (in layer {at})" if at else kind for kind, at in layers.items())
    return (
        f"{name}: LiteRT has no operator for {places}. TensorFlow's own (Flex) is in no edge "
        "runtime. Replace the layer's operation, or export to savedmodel or onnx-float32."
    )
