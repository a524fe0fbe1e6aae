"""Layers that no exported file can hold, by name and with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgevit.base.errors import ModelFileError

if TYPE_CHECKING:
    import keras


def check_layers(origin: str, network: keras.Model) -> None:
    """Refuses layers that Keras quantised, and layers whose channels come first.

    Raises:
        ModelFileError: the first of them.
    """
    for layer in network._flatten_layers():
        reason = _find_reason(layer)
        if reason:
            raise ModelFileError(
                f"{origin}: layer {layer.name!r} ({type(layer).__name__}) {reason}"
            )


def _find_reason(layer: Any) -> str | None:
    mode = layer.quantization_mode
    if mode is not None:
        return (
            f"is quantised by Keras ({mode}). edgevit quantises float networks itself: export the "
            "model as it was before model.quantize()."
        )
    planes = type(layer).__name__.endswith(("2D", "3D", "Conv1D", "Conv1DTranspose"))
    if planes and getattr(layer, "data_format", None) == "channels_first":
        return (
            "takes pictures with the channels first, which kernels on the edge do not. Build it "
            "with data_format='channels_last' and load the same weights into it: they have the "
            "same shapes."
        )
    return None
