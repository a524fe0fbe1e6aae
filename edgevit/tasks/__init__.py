"""What models are for: each task is a file here and a row below."""

from __future__ import annotations

from edgevit.base.plugins import find_row
from edgevit.core.signature import Signature
from edgevit.tasks.classification import CLASSIFICATION
from edgevit.tasks.embedding import EMBEDDING
from edgevit.tasks.generic import GENERIC
from edgevit.tasks.regression import REGRESSION
from edgevit.tasks.segmentation import SEGMENTATION
from edgevit.tasks.task import Task

PLUGINS = "edgevit.tasks"
# In the order in which they are asked whether a model is theirs.
TASKS: dict[str, Task] = {
    task.name: task for task in (SEGMENTATION, CLASSIFICATION, EMBEDDING, REGRESSION, GENERIC)
}


def find_task(name: str) -> Task:
    """The task of this name.

    Raises:
        UnknownNameError: there is none; near misses are named.
        ConfigError: it is a plug-in's, which cannot be loaded.
    """
    return find_row("task", name, TASKS, PLUGINS, Task)  # type: ignore[type-abstract]


def guess_task(signature: Signature) -> Task:
    """The first task that suits the outputs of a model."""
    return next(task for task in TASKS.values() if task.suits(signature))
