"""SavedModel folders as float networks: what Keras exports, and what TensorFlow saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from edgevit.base.documents import read_json
from edgevit.base.errors import ConfigError, ModelFileError, in_one_line
from edgevit.base.files import digest_path
from edgevit.core.metadata import MANIFEST_KEY, SAVEDMODEL_FOLDER
from edgevit.frontend.names import safe_name
from edgevit.frontend.sources.network import check_finite
from edgevit.models.weights import TrainedModel, digest_weights

SIGNATURE = "serving_default"
GRAPH = "saved_model.pb"


def read_saved_model(path: Path) -> TrainedModel:
    """Wraps the signature of a SavedModel into a network with the same inputs and outputs.

    Args:
        path: the folder.

    Raises:
        ConfigError: Keras does not run on TensorFlow in this process.
        ModelFileError: damaged, without a signature, an export of edgevit's own, or with inputs
            that no network takes.
    """
    import tensorflow as tf

    _check_foreign(path)
    if keras.backend.backend() != "tensorflow":
        raise ConfigError(
            f"{path}: a SavedModel runs on TensorFlow, and Keras on {keras.backend.backend()} "
            "here. Set KERAS_BACKEND=tensorflow before Keras is imported."
        )
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises many types for damaged folders
        reason = in_one_line(error, 200)
        raise ModelFileError(f"{path}: TensorFlow cannot load it ({reason}).") from None
    title = safe_name(path.resolve().name)
    network = _wrap(path, title, loaded, _find_signature(path, loaded.signatures))
    check_finite(str(path), network)
    weights = network.get_weights()
    digest = digest_weights(weights) if weights else digest_path(path / GRAPH)
    return TrainedModel(None, network, (), digest, None, title)


def _check_foreign(path: Path) -> None:
    """Refuses what edgevit itself wrote: an export starts from the model behind it."""
    manifest = path / SAVEDMODEL_FOLDER / f"{MANIFEST_KEY}.json"
    if not manifest.exists():
        return
    try:
        model = read_json(manifest)["model"]
    except (ModelFileError, KeyError, TypeError):
        model = "a model"
    raise ModelFileError(
        f"{path}: is an export of {model} that edgevit wrote. Name the model that it came from; "
        "'edgevit inspect' and 'edgevit verify' take this folder."
    )


def _find_signature(path: Path, signatures: Any) -> Any:
    """The serving signature, or the only one."""
    names = [name for name in signatures if not name.startswith("__")]
    if SIGNATURE in names:
        return signatures[SIGNATURE]
    if len(names) == 1:
        return signatures[names[0]]
    held = f"only {', '.join(names)}" if names else "none"
    raise ModelFileError(
        f"{path}: has no signature {SIGNATURE!r}, {held}. Save it with model.export(folder) of "
        "Keras, or with tf.saved_model.save(module, folder, signatures=function)."
    )


class SignatureCall(keras.layers.Layer):
    """Calls a signature: a dict of tensors by name to a dict of tensors by name.

    Args:
        loaded: what TensorFlow loaded; it owns the variables.
        function: one of its signatures.
        names: of the inputs, by the names of the arguments.
    """

    def __init__(self, loaded: Any, function: Any, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self._loaded = loaded
        self._function = function
        for variable in function.variables:
            tracked = keras.Variable(
                initializer=variable,
                trainable=variable.trainable,
                dtype=variable.dtype.name,
                name=variable.name.split(":")[0].replace("/", "_"),
            )
            self._track_variable(tracked)
        self.built = True

    def call(self, tensors):
        return self._function(**tensors)


def _wrap(path: Path, title: str, loaded: Any, function: Any) -> keras.Model:
    """A functional model of one call."""
    _, arguments = function.structured_input_signature  # in no order
    arguments = dict(sorted(arguments.items()))
    for name, spec in arguments.items():
        if spec.shape.rank is None or not (spec.dtype.is_floating or spec.dtype.is_integer):
            raise ModelFileError(
                f"{path}: its input {name!r} is {spec.dtype.name} of the shape {spec.shape}. A "
                "network takes numbers, and as many axes each time."
            )
    inputs = {
        name: keras.Input(
            batch_shape=spec.shape.as_list(), dtype=spec.dtype.name, name=safe_name(name)
        )
        for name, spec in arguments.items()
    }
    try:
        found = SignatureCall(loaded, function, name="signature")(inputs)
    except Exception as error:  # likewise
        raise ModelFileError(
            f"{path}: TensorFlow cannot run it ({in_one_line(error, 200)})."
        ) from None
    outputs = {safe_name(name): found[name] for name in sorted(found)}
    entries = [*inputs.values()]
    return keras.Model(entries[0] if len(entries) == 1 else entries, outputs, name=title)
