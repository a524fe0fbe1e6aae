"""Keras to TFLite: float32, float16 weights, dynamic-range int8 and integer-only int8."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.core.errors import ExportError
from edgevit.core.targets import Format, Precision, Target
from edgevit.export.quantize.integer import annotate_ranges, quantize
from edgevit.export.quantize.micro import suit_micro
from edgevit.export.quantize.ranges import RangeRecord, describe_graph, measure_ranges
from edgevit.export.source import ExportOptions, Source
from edgevit.export.trace import Traced, check_io_dtype, trace
from edgevit.runtimes.tflite_file import add_metadata, pack_model, parse_model


def export_tflite(
    source: Source, target: Target, options: ExportOptions, ranges: RangeRecord | None
) -> tuple[bytes, tuple[str, ...]]:
    """Lowers a model to one TFLite file.

    Args:
        source: what to export.
        target: a row of TARGETS with format tflite.
        options: batch, preprocessing, input type.
        ranges: activation ranges; needed for int8, ignored otherwise.

    Returns:
        (content, steps taken).

    Raises:
        ExportError: a converter refuses, or ranges are missing.
    """
    wanted = check_io_dtype(options, integer=target.precision is Precision.INT8)
    if target.precision is Precision.INT8:
        if ranges is None:
            raise ExportError(f"{target.name} needs activation ranges. Give --calibration PATH.")
        graph, steps = float_graph(source, options)
        data = quantize(annotate_ranges(graph, ranges.ranges), wanted, _output_type(wanted))
        used = f"activation ranges of {ranges.images} images ({ranges.source})"
        steps = (*steps, used, "int8 activations, int8 weights a channel, int32 biases")
        if options.micro:
            data, suited = suit_micro(data)
            steps += suited
        return data, steps
    traced = trace(source, Format.TFLITE, options, wanted)
    converter = _converter(traced)
    steps = traced.steps
    if target.precision is not Precision.FLOAT32:
        import tensorflow as tf

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if target.precision is Precision.FLOAT16:
            converter.target_spec.supported_types = [tf.float16]
            steps += ("weights rounded to float16",)
        else:
            steps += ("int8 weights a channel; activations quantised at run time",)
    return _convert(converter, source.name), steps


def float_graph(source: Source, options: ExportOptions) -> tuple[bytes, tuple[str, ...]]:
    """The float32 TFLite graph that calibration runs and that the quantiser starts from."""
    traced = trace(source, Format.TFLITE, options, "float32")
    return _convert(_converter(traced), source.name), traced.steps


def calibrate(
    source: Source,
    options: ExportOptions,
    images: np.ndarray,
    origin: str,
    digest: str,
    progress=None,
) -> RangeRecord:
    """Measures activation ranges of a model on raw images.

    Args:
        source: the model.
        options: preprocessing inside or not; the batch is one.
        images: uint8 B H W 3, training images only.
        origin: dataset, for the record.
        digest: of the images.
        progress: called with (images done, images in all).
    """
    options = ExportOptions(batch=1, preprocess=options.preprocess)
    graph, _ = float_graph(source, options)
    entering = images if options.preprocess else source.preprocess.apply(images)
    ranges = measure_ranges(graph, entering, progress)
    if options.preprocess:  # every raw level may come, whatever the sample held
        name = next(iter(ranges))
        ranges[name] = (0.0, 255.0)
    return RangeRecord(
        ranges=ranges,
        images=len(images),
        source=origin,
        images_sha256=digest,
        weights_sha256=source.weights_sha256,
        graph=describe_graph(source, options),
    )


def embed_tflite(data: bytes, documents: dict[str, str]) -> bytes:
    """The same file with text documents in its metadata."""
    model = parse_model(data, "export")
    add_metadata(model, documents)
    return pack_model(model)


def _converter(traced: Traced) -> Any:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.function], traced.module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]  # never Flex
    return converter


def _convert(converter: Any, name: str) -> bytes:
    try:
        return bytes(converter.convert())
    except Exception as error:  # the converter's own exceptions share no public base class
        text = " ".join(str(error).split())
        raise ExportError(
            f"{name}: TensorFlow's converter refuses it without Flex ops ({text[:300]})."
        ) from None


def _output_type(input_type: str) -> str:
    return "float32" if input_type == "float32" else "int8"
