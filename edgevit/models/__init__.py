"""The architectures. Importing this table imports no framework."""

from __future__ import annotations

from pathlib import Path

from edgevit.core.errors import find_named
from edgevit.core.models import CIFAR10_CLASSES, ModelSpec

ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts"

MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="shiftvit",
            title="ShiftViT",
            paper="Wang et al. 2022, arXiv:2201.10801",
            module="edgevit.models.shiftvit",
            outputs=("logits",),
            variants=("cifar", "tiny", "small", "base"),
            class_names=CIFAR10_CLASSES,
        ),
        ModelSpec(
            name="patchconvnet",
            title="PatchConvNet",
            paper="Touvron et al. 2021, arXiv:2112.13692",
            module="edgevit.models.patchconvnet",
            outputs=("logits", "attention"),
            variants=("cifar", "s60", "s120", "b60"),
            class_names=CIFAR10_CLASSES,
        ),
        ModelSpec(
            name="focalnet",
            title="FocalNet",
            paper="Yang et al. 2022, arXiv:2203.11926",
            module="edgevit.models.focalnet",
            outputs=("logits",),
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
            outputs=("logits",),
            extra_outputs=("attention",),
            variants=("cifar", "xxtiny", "xtiny", "tiny", "small", "base", "large"),
            resizable=False,  # position biases or embeddings
            class_names=CIFAR10_CLASSES,
        ),
        ModelSpec(
            name="vit",
            title="ViT",
            paper="Dosovitskiy et al. 2020, arXiv:2010.11929",
            module="edgevit.models.vit",
            outputs=("logits",),
            extra_outputs=("attention",),
            variants=("cifar", "tiny", "small", "base"),
            resizable=False,  # position biases or embeddings
            class_names=CIFAR10_CLASSES,
        ),
    )
}


def find_model(name: str) -> ModelSpec:
    """The architecture of this name.

    Raises:
        UnknownNameError: there is none; near misses are named.
    """
    return find_named("model", name, MODELS, "Run 'edgevit models' for the list.")
