"""The start of a training run: fresh weights, or weights that were trained before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import keras
import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.data.datasets import ImageDataset
from edgevit.models.build import Plan, build_plan, find_variant, plan_model
from edgevit.models.history import describe_origin, read_run, share_unseen
from edgevit.models.resolution import fit_positions
from edgevit.models.weights import (
    digest_weights,
    find_weights,
    is_ported,
    load_ported,
    load_weights,
)
from edgevit.training.recipe import Recipe


@dataclass(frozen=True)
class Start:
    """A network to train, and the weights that it starts from.

    Attributes:
        plan: of the network.
        weights: in ``get_weights`` order; None: fresh ones.
        origin: file, sha256 and run behind the weights, and fields that differ from theirs; None
            for fresh ones.
    """

    plan: Plan
    weights: list[np.ndarray] | None = None
    origin: dict[str, Any] | None = None


def open_start(
    name: str,
    form: str | None = None,
    variant: str | None = None,
    initial: str | Path | None = None,
    fields: dict[str, Any] | None = None,
) -> Start:
    """Reads initial weights, which bring their sizes along, or plans a fresh network.

    Args:
        name: an architecture.
        form: "paper" (None with fresh weights) or "tutorial".
        variant: a published size, for fresh or ported weights; None is the tutorial's.
        initial: weights to start from: a .safetensors file, a run's folder or the name of what
            ships, such as "shiftvit:nano"; or weights that others published for this architecture
            (``ModelSpec.ported``), as a file or a URL.
        fields: other values for fields of the architecture's config. Beside weights such as leave
            all but positions as they are (:func:`edgevit.models.resolution.fit_positions`).

    Raises:
        ConfigError: the weights are of another architecture, or of another form than asked for, or
            do not fit the fields.
        ModelFileError: the weights cannot be read.
    """
    if initial is None:
        return Start(plan_model(name, variant, **{"form": form or "paper", **(fields or {})}))
    if is_ported(str(initial)):
        plan = plan_model(name, variant, form=form or "paper")
        weights = load_ported(plan, str(initial))
        file_name = Path(urlparse(str(initial)).path).name
        origin = {"file": file_name, "sha256": digest_weights(weights), "run": None}
        return _with_fields(Start(plan, weights, origin), fields)
    file = find_weights(str(initial))
    trained = load_weights(file)
    assert trained.plan is not None  # load_weights always plans
    found = trained.plan
    if found.spec.name != name:
        raise ConfigError(f"{file}: holds weights of {found.spec.name}, not of {name}.")
    if variant not in (None, find_variant(found)) or form not in (None, found.config.form):
        raise ConfigError(
            f"{file}: initial weights bring their sizes and their form ({found.config.form!r}) "
            "along. Drop --variant and --form."
        )
    start = Start(found, trained.network.get_weights(), describe_origin(file))
    return _with_fields(start, fields)


def _with_fields(start: Start, fields: dict[str, Any] | None) -> Start:
    """The same trained weights in a network with other values for some fields of its config."""
    if not fields:
        return start
    assert start.weights is not None
    if "form" in fields:
        raise ConfigError("Initial weights bring their form along. Drop --set form.")
    name, before = start.plan.spec.name, start.plan
    known = {
        field.name: getattr(before.config, field.name) for field in dataclass_fields(before.config)
    }
    after = plan_model(name, None, before.preprocess.input_size, **{**known, **fields})
    try:
        weights = fit_positions(start.weights, build_plan(before), build_plan(after))
    except ConfigError as error:
        raise ConfigError(
            f"The initial weights do not fit --set: {error}. With --init it takes image_size (with "
            "gcvit window_sizes too) and rates; leave the others, or start without --init."
        ) from None
    return replace(
        start, plan=after, weights=weights, origin={**(start.origin or {}), "fields": fields}
    )


def fit_start(start: Start, dataset: ImageDataset, seed: int) -> Start:
    """The same start for the images and classes of a dataset.

    Where the number of classes differs, the head gets fresh weights; all others stay.

    Args:
        start: of :func:`open_start`.
        dataset: images to train on.
        seed: of a fresh head.
    """
    rows, columns = dataset.images.shape[1:3]
    config = replace(start.plan.config, num_classes=len(dataset.class_names))
    contract = replace(start.plan.preprocess, input_size=(rows, columns))
    plan = replace(start.plan, config=config, preprocess=contract)
    if start.weights is None or config == start.plan.config:
        return replace(start, plan=plan)
    keras.utils.set_random_seed(seed)
    fresh = build_plan(plan).get_weights()
    weights = [
        own if own.shape == new.shape else new
        for own, new in zip(start.weights, fresh, strict=True)
    ]
    return replace(start, plan=plan, weights=weights)


def hold_out(recipe: Recipe, data: str, start: Start, teachers: Sequence[str]) -> Recipe:
    """The recipe, validating on no image that initial weights or teachers have learnt from.

    Args:
        recipe: says which share of the training images to hold out at most.
        data: name of the dataset (``ImageDataset.source``).
        start: its origin tells what the initial weights have seen.
        teachers: as :func:`edgevit.training.distillation.open_teacher` takes them.

    Raises:
        UnknownNameError: no such teacher.
        ModelFileError: a damaged run's file beside a teacher.
    """
    taught = [read_run(find_weights(teacher).parent) for teacher in teachers]
    runs = [(start.origin or {}).get("run"), *taught]
    return replace(recipe, held_out=share_unseen(runs, data, recipe.held_out))
