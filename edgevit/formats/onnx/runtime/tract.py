"""ONNX files in tract, Sonos' runtime in Rust, which takes one thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.formats.onnx.runtime.session import Infer, OtherOnnxSession


class TractSession(OtherOnnxSession):
    """See :class:`edgevit.formats.onnx.runtime.session.OtherOnnxSession`."""

    library = "tract"

    def load(self, model: Any, threads: int) -> None:
        import tract

        if threads > 1:
            raise ValueError(f"it computes in one thread; {threads} were asked for")
        self._tensor = tract.Tensor
        self._model = tract.onnx().load(str(self.path)).into_model().into_runnable()

    def prepare(self, batch: dict[str, np.ndarray]) -> Infer:
        tensors = [self._tensor.from_numpy(batch[spec.name]) for spec in self.inputs]
        state = self._model.spawn_state()
        return lambda: [value.to_numpy() for value in state.run(tensors)]
