"""AdamW as Keras computes it, and on torch the same in a few passes over memory.

Source: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization" (arXiv:1711.05101).

Keras' optimizer on torch makes a pass over all weights for each product, sum and root of an update.
With ten million weights and more, at the batches that a CPU can bear, that is up to two fifths of a
step. torch has the whole update as one pass.
"""

from __future__ import annotations

import math

import keras


def make_adamw(**options) -> keras.optimizers.AdamW:
    """Keras' AdamW, in the form that is fastest on the backend that runs.

    Args:
        **options: of ``keras.optimizers.AdamW``; of the clipping ones only ``global_clipnorm``.
    """
    if keras.backend.backend() == "torch":
        return FusedAdamW(**options)
    return keras.optimizers.AdamW(**options)


class FusedAdamW(keras.optimizers.AdamW):
    """``keras.optimizers.AdamW`` on torch: the same variables, and the same values up to rounding.

    For float32 weights without constraints, accumulated gradients or AMSGrad.
    """

    def _backend_apply_gradients(self, grads, trainable_variables):
        import torch
        from torch.optim.adamw import adamw
        from torch.optim.swa_utils import get_ema_multi_avg_fn

        first = int(self.iterations) == 0
        rate = float(self.learning_rate)
        # Keras adds epsilon to the root before the bias is corrected, torch behind it.
        correction = math.sqrt(1 - self.beta_2 ** (int(self.iterations) + 1))
        groups: dict[float, list[int]] = {}
        for number, variable in enumerate(trainable_variables):
            decay = self.weight_decay if self._use_weight_decay(variable) else 0.0
            groups.setdefault(decay or 0.0, []).append(number)
        places = [self._get_variable_index(variable) for variable in trainable_variables]
        with torch.no_grad():
            scale = None
            if self.global_clipnorm:
                norm = torch.nn.utils.get_total_norm(grads)
                scale = torch.clamp(norm / self.global_clipnorm, min=1.0)  # gradients are divided
            for decay, members in groups.items():
                adamw(
                    [trainable_variables[number].value for number in members],
                    [grads[number] for number in members],
                    [self._momentums[places[number]].value for number in members],
                    [self._velocities[places[number]].value for number in members],
                    [],
                    [torch.tensor(float(self.iterations)) for _ in members],
                    fused=True,
                    grad_scale=scale,
                    amsgrad=False,
                    beta1=self.beta_1,
                    beta2=self.beta_2,
                    lr=rate,
                    weight_decay=decay,
                    eps=self.epsilon / correction,
                    maximize=False,
                )
            if self.use_ema:
                average = get_ema_multi_avg_fn(0.0 if first else self.ema_momentum)
                average(
                    [found.value for found in self._model_variables_moving_average],
                    [found.value for found in self._trainable_variables],
                    None,
                )
