"""The architectures: a row here and a file each. Loads no framework; plug-ins may add some."""

from __future__ import annotations

from edgevit.base.errors import UnknownNameError, check_names
from edgevit.base.plugins import find_row, list_names, list_rows
from edgevit.core.class_names import CIFAR10_CLASSES
from edgevit.models.spec import ModelSpec

MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="shiftvit",
            title="ShiftViT",
            paper="Wang et al. 2022, arXiv:2201.10801",
            module="edgevit.models.shiftvit",
            variants=("cifar", "nano", "tiny", "small", "base"),
            class_names=CIFAR10_CLASSES,
        ),
        ModelSpec(
            name="patchconvnet",
            title="PatchConvNet",
            paper="Touvron et al. 2021, arXiv:2112.13692",
            module="edgevit.models.patchconvnet",
            outputs=("logits", "attention"),
            variants=("cifar", "nano", "s60", "s120", "b60"),
            class_names=CIFAR10_CLASSES,
        ),
        ModelSpec(
            name="focalnet",
            title="FocalNet",
            paper="Yang et al. 2022, arXiv:2203.11926",
            module="edgevit.models.focalnet",
            extra_outputs=("gates", "modulator"),
            variants=(
                "cifar",
                "tiny_srf",
                "tiny_lrf",
                "small_srf",
                "small_lrf",
                "base_srf",
                "base_lrf",
            ),
            class_names=CIFAR10_CLASSES,
        ),
        ModelSpec(
            name="gcvit",
            title="GCViT",
            paper="Hatamizadeh et al. 2022, arXiv:2206.09959",
            module="edgevit.models.gcvit",
            extra_outputs=("attention",),
            variants=("cifar", "cifar64", "xxtiny", "xtiny", "tiny", "small", "base", "large"),
            resizable=False,  # position biases or embeddings
            ported="edgevit.models.gcvit_weights",
            class_names=CIFAR10_CLASSES,
        ),
        ModelSpec(
            name="vit",
            title="ViT",
            paper="Dosovitskiy et al. 2020, arXiv:2010.11929",
            module="edgevit.models.vit",
            extra_outputs=("attention",),
            variants=("cifar", "tiny", "small", "base"),
            resizable=False,  # position biases or embeddings
            class_names=CIFAR10_CLASSES,
        ),
        ModelSpec(
            name="resnet",
            title="ResNet",
            paper="He et al. 2015, arXiv:1512.03385",
            module="edgevit.models.resnet",
            variants=("cifar", "mlperf", "wide"),
            class_names=CIFAR10_CLASSES,
        ),
    )
}


MODEL_PLUGINS = "edgevit.architectures"


def find_model(name: str) -> ModelSpec:
    """The architecture of this name.

    Raises:
        UnknownNameError: there is none; near misses are named.
        ConfigError: it is a plug-in's, which cannot be loaded.
    """
    hint = "Run 'edgevit models' for the list."
    return find_row("model", name, MODELS, MODEL_PLUGINS, ModelSpec, hint)


def list_models() -> dict[str, ModelSpec]:
    """Every architecture by name, those of plug-ins last.

    Raises:
        ConfigError: a plug-in cannot be loaded.
    """
    return list_rows(MODELS, MODEL_PLUGINS, ModelSpec)


def has_model(name: str) -> bool:
    """Whether there is an architecture of this name. Loads no plug-in."""
    return name in list_names(MODELS, MODEL_PLUGINS)


def split_name(name: str) -> tuple[str, str | None]:
    """("shiftvit", "nano") of "shiftvit:nano"; no size is None.

    A hyphen does for the colon: it is what the names of files and folders have.

    Raises:
        UnknownNameError: no such architecture, or it has no such size.
    """
    typed = name if ":" in name else name.replace("-", ":", 1)
    model, separator, variant = typed.partition(":")
    if not separator or not has_model(model):
        return find_model(name).name, None
    variants = find_model(model).variants
    check_names(f"size of {model}", (variant,), variants)
    return model, variant


def is_known(name: str) -> bool:
    """Whether this is an architecture, or one of its sizes."""
    try:
        split_name(name)
    except UnknownNameError:
        return False
    return True
