"""Learning-rate schedule."""

from __future__ import annotations

import math

import keras
from keras import ops


class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from zero, then a cosine to zero (Loshchilov & Hutter 2017, arXiv:1608.03983).

    Args:
        peak: highest learning rate, reached after the warm-up.
        warmup_steps: steps of warm-up.
        total_steps: steps in all; zero from there on.
    """

    def __init__(self, peak: float, warmup_steps: int, total_steps: int):
        super().__init__()
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        warm = (step + 1.0) / max(1, self.warmup_steps)
        length = max(1, self.total_steps - self.warmup_steps)
        progress = ops.clip((step - self.warmup_steps) / length, 0.0, 1.0)
        cosine = 0.5 * (1.0 + ops.cos(math.pi * progress))
        return self.peak * ops.where(step < self.warmup_steps, warm, cosine)

    def get_config(self):
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }
