"""AverageNet: the mean of the image through one Dense layer."""

from dataclasses import dataclass

from keras import layers

from edgevit.models.config import ModelConfig, choice, size


@dataclass(frozen=True)
class Config(ModelConfig):
    """Sizes of one AverageNet."""

    form: str = choice("paper", ("paper",))
    image_size: int = size(8)
    num_classes: int = size(10)


VARIANTS = {"small": {"image_size": 4}}
TINY = {"image_size": 4}


def forward(images, config):
    """Logits of images, B H W 3."""
    x = layers.GlobalAveragePooling2D(name="mean")(images)
    return {"logits": layers.Dense(config.num_classes, name="classifier")(x)}
