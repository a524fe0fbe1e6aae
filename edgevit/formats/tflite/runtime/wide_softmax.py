"""Softmaxes whose integer kernels end the process on some inputs.

LiteRT's reference kernel adds up exponentials in fixed point and divides by the sum with a shift
that it asserts to be 31 at most (``RoundingDivideByPOT`` of gemmlowp): where 512 classes are nearly
equal, it aborts. Its optimised kernel looks exponentials up in floats; TensorFlow Lite Micro has
the reference kernel.
"""

from __future__ import annotations

from pathlib import Path

from edgevit.formats.tflite.runtime.file import read_schema

HELD = 511  # classes that may be equal


def find_wide_softmax(path: Path) -> str:
    """What of a file may end the process, such as "an 8-bit softmax over 1000 classes"; or empty.

    Args:
        path: a file that a runtime loads.
    """
    schema = read_schema()
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    eight_bits = (schema.TensorType.INT8, schema.TensorType.UINT8)
    widest = 0
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for operator in map(graph.Operators, range(graph.OperatorsLength())):
            code = model.OperatorCodes(operator.OpcodeIndex())
            kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            if kind != schema.BuiltinOperator.SOFTMAX:
                continue
            tensor = graph.Tensors(operator.Inputs(0))
            if tensor.Type() in eight_bits and tensor.ShapeLength():
                widest = max(widest, tensor.Shape(tensor.ShapeLength() - 1))
    if widest <= HELD:
        return ""
    return (
        f"an 8-bit softmax over {widest} classes, and this kernel, which microcontrollers have "
        f"too, does not hold the sum of more than {HELD} that are nearly equal"
    )
