"""ResNet in float64, from the paper."""

from __future__ import annotations

import numpy as np

from reference import layers


def resnet_in_numpy(images, named, config):
    """Figure 2 and section 4.2 of the paper, or with "merged" stages. B H W 3 -> B classes."""

    def normed(x, name, stride):
        x = layers.conv(x, named[f"{name}/convolution/kernel"], stride)
        return layers.batch_norm(x, named, f"{name}/norm", config.epsilon)

    x = np.maximum(normed(images.astype(np.float64), "stem", 1), 0)
    for stage, (depth, stride) in enumerate(zip(config.depths, config.strides, strict=True), 1):
        if config.downsampling == "merged":
            x, stride = np.maximum(normed(x, f"stage{stage}_merge", stride), 0), 1
        for block in range(1, depth + 1):
            name, by = f"stage{stage}_block{block}", stride if block == 1 else 1
            y = np.maximum(normed(x, f"{name}/conv1", by), 0)
            y = normed(y, f"{name}/conv2", 1)
            projected = f"{name}/shortcut/convolution/kernel" in named
            x = np.maximum((normed(x, f"{name}/shortcut", by) if projected else x) + y, 0)
    return x.mean(axis=(1, 2)) @ named["classifier/kernel"] + named["classifier/bias"]
