"""An exported file against the float Keras model, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from edgevit.base.errors import ConfigError, ModelFileError
from edgevit.base.files import digest_path
from edgevit.base.progress import Progress, Status, tells_progress
from edgevit.core.golden_inputs import Draw, draw_inputs
from edgevit.core.layer_errors import (
    RECURRENT,
    FloatNetwork,
    LayerDiff,
    LayerError,
    list_suspects,
)
from edgevit.core.manifest import Manifest
from edgevit.core.reference import ReferenceSet, Samples
from edgevit.core.samples import Inputs
from edgevit.core.seal import find_damage
from edgevit.core.signature import InputSpec
from edgevit.core.target import Precision, Target
from edgevit.core.tolerance import ALL_8BIT, EXACT, HALF
from edgevit.data.evaluation import load_test
from edgevit.formats.registry import (
    FORMATS,
    choose_runtime,
    detect_format,
    find_target,
    open_intermediate,
    read_metadata,
)
from edgevit.formats.trial import try_out
from edgevit.frontend.opening import Opening, open_source
from edgevit.verbs.foreign import check_sizes, matched
from edgevit.verification.audit import list_contents
from edgevit.verification.layer_diff import compare_layers
from edgevit.verification.matching import guess_tolerance

if TYPE_CHECKING:
    import keras

    from edgevit.frontend.source import Source

IMAGES = 32
CHECKED = 32  # samples of an export's own look at its layers
CHECKED_VALUES = 160 << 20  # of layers' outputs; with larger ones fewer samples, FEWEST at least
# Beyond expectation, from which on an export calls a file wrong. Sound files reach 25 on so few
# samples: a class token has few values, and 16-bit activations let a table's rounding show.
SURELY_DB = 30.0
# Layers, of any kind, whose roundings together are no longer like those of one.
DEEP = 32
NEARLY_DB = 1.0  # between a layer's own error and that of all layers up to it: pixels are rounded
FEWEST = 8  # samples that tell something; so many own ones tell more than synthetic ones


@tells_progress
def diff(
    path: str | Path,
    model: str | Path | keras.Model | None = None,
    data: str | Path | None = None,
    limit: int | None = None,
    unsealed: bool = False,
    status: Status | None = None,
    progress: Progress | None = None,
    **opening: Unpack[Opening],
) -> LayerDiff:
    """Holds every layer of an exported file against the float Keras model.

    Both see the same images. The float model runs twice: on its own, and with every layer given
    what the file's own layers computed, which tells what each layer adds to the error.

    Args:
        path: a .tflite or .onnx file, of edgevit or of any other tool.
        model: the float model: anything that :func:`edgevit.frontend.opening.open_source` takes.
            None: the shipped weights of the architecture that the file's manifest names.
        data: a dataset whose test images are used; None: the samples of yours that travel inside
            the file, since an integer file is made for inputs like those, or else golden ones.
        limit: images; None: IMAGES.
        unsealed: look into a file although it changed since it was sealed.
        status: called with a line about what is being done.
        progress: called with (images done, images in all).
        **opening: see :class:`edgevit.frontend.opening.Opening`.

    Raises:
        ConfigError: a SavedModel, or a model with other weights than the file's.
        ModelFileError: no such file, damaged, without a manifest where no model is named, or
            without any layer of the model.
        RuntimeFailure: the runtime refuses the file.
    """
    say = status or (lambda line: None)
    path = Path(path)
    warnings = _check_seal(path, unsealed)
    with open_intermediate(path) as reader:
        manifest = reader.manifest
        lines: list[str] = []
        say("loading the float model")
        if manifest is None:
            source = _open_named(path, model, opening)
            precision, name = _guess_precision(path), "another tool's"
            reader = matched(source, lines)(reader)
        else:
            source = _open_float(manifest, path, model, opening)
            target = find_target(manifest.target)
            precision, name = target.precision, target.name
        own = None if manifest is None else _own_samples(path)
        inputs, origin = _load_inputs(source, manifest, own, data, limit or IMAGES, say)
        from edgevit.frontend.record_layers import record_layers

        say(f"looking for the layers of {source.name} in {path.name}")
        layers, unaligned, skipped = compare_layers(
            record_layers(source, inputs), reader, precision, inputs, say, progress
        )
        return LayerDiff(
            file=path.name,
            sha256=digest_path(path),
            model=source.name,
            target=name,
            runtime=reader.runtime,
            images=len(next(iter(inputs.values()))),
            source=origin,
            layers=layers,
            unaligned=unaligned,
            skipped=skipped,
            warnings=(*warnings, *lines),
        )


def find_suspects(
    path: Path,
    layers_of: Callable[[Inputs], FloatNetwork],
    target: Target,
    reference: ReferenceSet,
    status: Status,
) -> tuple[LayerError, ...]:
    """Layers of a file that add more error than its precision explains.

    Args:
        path: the file.
        layers_of: samples -> the layers of the float model that it was made of; see
            :func:`edgevit.frontend.record_layers.record_layers`.
        target: of the file.
        reference: whose samples are run: the user's own, else synthetic ones.
        status: called with a line about what is being done.

    Returns:
        The likeliest first; none for a format whose intermediate tensors cannot be read, or a file
        whose tensors are named after no layer.
    """
    if FORMATS[target.format].open_intermediate is None:
        return ()
    own = reference.own
    samples = own if own is not None and len(own) >= FEWEST else reference.synthetic
    network = layers_of(samples.first(CHECKED).inputs)
    values = sum(math.prod(layer.shape) for layer in network.layers if layer.shape)
    count = min(CHECKED, max(FEWEST, CHECKED_VALUES // max(1, values)))
    inputs = samples.first(count).inputs
    compare = partial(compare_layers, network, precision=target.precision, images=inputs)
    with open_intermediate(path) as reader:
        try:
            layers, _, _ = compare(reader=reader, status=status, totals=False)
            if max((row.excess_db for row in list_held(layers)), default=0.0) <= SURELY_DB:
                return ()
            layers, _, _ = compare(reader=reader, status=status)
        except ModelFileError:
            return ()
    return tuple(list_suspects(list_held(layers)))


def list_held(layers: Sequence[LayerError]) -> list[LayerError]:
    """The layers whose error is a fault if it is large.

    What lies beyond a range was not in the calibration: that costs something, and is no fault.
    Where no layer of a deep network has a tensor up to this one, as where each channel has a scale
    of its own, its error is that of all of them, which the verdict on the outputs is about.
    """
    sound = [row for row in layers if not row.clipped and row.kind not in RECURRENT]
    return [row for row in sound if not _is_of_all(row)]


def _is_of_all(row: LayerError) -> bool:
    """Whether a layer's own error is that of a deep network up to it."""
    if len(row.within) < DEEP or row.sqnr_db is None or row.total_sqnr_db is None:
        return False
    return row.sqnr_db - row.total_sqnr_db <= NEARLY_DB


def _check_seal(path: Path, unsealed: bool) -> tuple[str, ...]:
    detect_format(path)
    damage = find_damage(path)
    if not damage:
        return ()
    if not unsealed:
        raise ModelFileError(
            f"{path}: {damage}. Export it again, or give --unsealed to look for the layer that "
            "changed; a runtime may crash on a damaged file."
        )
    try_out(path, choose_runtime(path).name)
    return (f"{path.name}: {damage}",)


def _own_samples(path: Path) -> Samples | None:
    """The user's samples inside a file; None without any, or where they are damaged."""
    try:
        return read_metadata(path).reference.own
    except ModelFileError:
        return None


def _open_named(path: Path, model: str | Path | keras.Model | None, opening: Opening) -> Source:
    """The float model that the user named for another tool's file.

    Raises:
        ModelFileError: none is named.
    """
    if model is None:
        raise ModelFileError(
            f"{path}: carries no manifest, so it does not say which float model it came from. "
            f"Name it: edgevit diff {path.name} MODEL"
        )
    return open_source(model, **opening)


def _guess_precision(path: Path) -> Precision:
    """Of another tool's file, by what it holds."""
    found = guess_tolerance(list_contents(path))
    return {EXACT: Precision.FLOAT32, HALF: Precision.FLOAT16, ALL_8BIT: Precision.INT8}.get(
        found, Precision.MIXED
    )


def _open_float(
    manifest: Manifest, path: Path, model: str | Path | keras.Model | None, opening: Opening
) -> Source:
    """The float model with the file's own weights, outputs and preprocessing."""
    from edgevit.models import is_known

    if model is None and not is_known(manifest.model):
        raise ConfigError(
            f"{path.name} came from {manifest.model!r}, which is none of edgevit's own models. "
            f"Name it: edgevit diff {path.name} {manifest.model}.keras"
        )
    named = manifest.model if model is None else model
    if isinstance(named, (str, Path)) and (is_known(str(named)) or Path(named).is_dir()):
        opening["outputs"] = tuple(spec.name for spec in manifest.outputs)
    source = open_source(named, **opening)
    if source.weights_sha256 != manifest.weights_sha256:
        given = f"{named} holds" if model is not None else "the shipped weights are"
        raise ConfigError(
            f"{path.name} was exported from other weights (digest "
            f"{manifest.weights_sha256[:12]}...); {given} {source.weights_sha256[:12]}.... Name "
            f"the model it came from: edgevit diff {path.name} MODEL"
        )
    check_sizes(source, manifest, named)
    if manifest.signature is None and manifest.preprocess is not None:
        (only,) = source.signature.inputs
        inputs: tuple[InputSpec, ...] = (replace(only, preparation=manifest.preprocess),)
    else:
        inputs = manifest.model_signature.inputs
    return replace(source, signature=replace(source.signature, inputs=inputs))


def _load_inputs(
    source: Source,
    manifest: Manifest | None,
    own: Samples | None,
    data: str | Path | None,
    limit: int,
    say: Status,
) -> tuple[dict[str, np.ndarray], str]:
    """(N ... by the name of the input, where they came from)."""
    inputs = source.signature.inputs
    if data is None and own is not None and len(own) >= FEWEST:
        return dict(own.first(limit).inputs), "samples of yours inside the file"
    if data is None:
        return draw_inputs({spec.name: Draw.of(spec) for spec in inputs}, limit), "golden inputs"
    say("reading the test images")
    names = manifest.class_names if manifest else source.class_names
    dataset = load_test(data, source.picture_size, names, limit, channels=source.channels)
    return {inputs[0].name: dataset.images}, dataset.source
