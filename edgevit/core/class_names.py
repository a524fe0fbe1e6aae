"""What classes are called; names of well-known datasets, in the order of their labels."""

from __future__ import annotations

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def class_name(index: int, names: tuple[str, ...]) -> str:
    """The name of a class; its number where it has none."""
    return names[index] if index < len(names) else str(index)
