"""The .onnx file as objects, and what it declares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgevit.base.errors import ModelFileError, in_one_line, needed
from edgevit.core.tensors import TensorSpec

GRAPH, INITIALIZER = 7, 5  # fields of ModelProto and of GraphProto, onnx.proto
_LARGE = 1 << 12  # bytes of a constant that no shape depends on
_RENAMED = {"float": "float32", "double": "float64"}  # ONNX's names -> numpy's


def read_model(path: Path, purpose: str = "Reading an .onnx file", shapes: bool = False) -> Any:
    """The file as a ``ModelProto``.

    Args:
        path: the file.
        purpose: what it is read for, for the message that onnx is missing.
        shapes: infer the sizes and element types of intermediate tensors.

    Raises:
        MissingDependencyError: onnx is not installed.
        ModelFileError: the file is damaged.
    """
    with needed("onnx", "onnx", purpose):
        import onnx
    with damage_told(path):
        model = onnx.load(str(path))
        if shapes:
            _add_shapes(model)
        return model


def copy_without_weights(model: Any) -> Any:
    """A copy that onnx can check and infer shapes in for little memory.

    Args:
        model: ModelProto; its large constants become inputs of the copy.
    """
    from onnx import ModelProto
    from onnx.helper import make_tensor_value_info

    light = ModelProto()
    copy_fields(model, light, lambda number: number != GRAPH)
    copy_fields(model.graph, light.graph, lambda number: number != INITIALIZER)
    for tensor in model.graph.initializer:
        if tensor.ByteSize() < _LARGE:
            light.graph.initializer.append(tensor)
        else:
            declared = make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            light.graph.input.append(declared)
    return light


def copy_fields(source: Any, target: Any, wanted: Callable[[int], bool]) -> None:
    """Copies what a message says in some of its fields, by their numbers in the schema."""
    for field, value in source.ListFields():
        if not wanted(field.number):
            continue
        if hasattr(value, "MergeFrom"):
            getattr(target, field.name).MergeFrom(value)
        else:
            setattr(target, field.name, value)


def _add_shapes(model: Any) -> None:
    """Writes sizes and element types of intermediate tensors and of outputs into a model."""
    from onnx.shape_inference import infer_shapes

    inferred = infer_shapes(copy_without_weights(model)).graph
    for own, found in (
        (model.graph.value_info, inferred.value_info),
        (model.graph.output, inferred.output),
    ):
        del own[:]
        own.extend(found)


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Turns whatever onnx raises while it reads a file into one line.

    Raises:
        ModelFileError: the line.
    """
    try:
        yield
    except Exception as error:  # protobuf's and onnx's errors share no public base class
        reason = in_one_line(error, 200)
        raise ModelFileError(f"{path}: the ONNX file is damaged ({reason}).") from None


def element_type(code: int) -> str:
    """numpy's name of an element type, such as "float32"."""
    from onnx import TensorProto

    name = TensorProto.DataType.Name(code).lower()
    return _RENAMED.get(name, name)


def declared_specs(model: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """(inputs, outputs) as the file declares them, without a runtime."""
    constants = {tensor.name for tensor in model.graph.initializer}

    def spec(value: Any) -> TensorSpec:
        kind = value.type.tensor_type
        sizes = tuple(size.dim_value or None for size in kind.shape.dim)
        return TensorSpec(value.name, sizes, element_type(kind.elem_type))

    inputs = [value for value in model.graph.input if value.name not in constants]
    return tuple(map(spec, inputs)), tuple(map(spec, model.graph.output))


def metadata_of(model: Any) -> dict[str, str]:
    """Text documents that travel inside a ``ModelProto``, by key."""
    return {entry.key: entry.value for entry in model.metadata_props}
