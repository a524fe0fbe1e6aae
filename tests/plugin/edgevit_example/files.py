"""Writes files with half of each output, and runs them."""

from dataclasses import replace

import keras

from edgevit.formats.tflite.runtime.litert import LiteRTSession
from edgevit.formats.tflite.writer.convert import write_float32


def write_halved(source, options, ranges, staged):
    """See :func:`edgevit.formats.tflite.writer.convert.write_float32`."""
    network = source.network
    halves = {name: 0.5 * value for name, value in network.output.items()}
    halved = replace(source, network=keras.Model(network.input, halves, name=network.name))
    written = write_float32(halved, options, ranges, staged)
    return replace(written, steps=(*written.steps, "outputs halved"))


class DoublingSession(LiteRTSession):
    """Twice of what LiteRT computes."""

    def __init__(self, path, kernels="doubled", threads=None):
        super().__init__(path, "builtin", threads)
        self.runtime = "litert-doubled"

    def run_chunk(self, batch):
        """Runs one batch."""
        return {name: 2 * value for name, value in super().run_chunk(batch).items()}
