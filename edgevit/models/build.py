"""From a name and a config to a keras.Model."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, fields, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgevit.base.errors import ConfigError, check_names
from edgevit.base.packages import KERAS, require
from edgevit.core.tensors import Preprocess
from edgevit.models import MODELS, find_model
from edgevit.models.spec import ModelSpec

if TYPE_CHECKING:
    import keras

CIFAR_SIZE = (32, 32)


@dataclass(frozen=True)
class Plan:
    """Everything about a network that is known before it is built.

    Attributes:
        spec: the architecture.
        config: its frozen sizes.
        preprocess: raw pixels to network input.
        outputs: names of the outputs; "logits" among them.
    """

    spec: ModelSpec
    config: Any
    preprocess: Preprocess
    outputs: tuple[str, ...] = ("logits",)


def plan_model(
    name: str,
    variant: str | None = None,
    input_size: tuple[int, int] | None = None,
    outputs: tuple[str, ...] | None = None,
    **config: Any,
) -> Plan:
    """Decides sizes and preprocessing, without building anything.

    Arguments and errors are those of :func:`build`; "form" is a field of the config.
    """
    spec = find_model(name)
    module = import_architecture(spec)
    check_names(f"variant of {name}", () if variant is None else (variant,), module.VARIANTS)
    check_names(f"option of {name}", config, {field.name for field in fields(module.Config)})
    try:
        sizes = module.Config(**{**(module.VARIANTS[variant] if variant else {}), **config})
    except TypeError as error:
        raise ConfigError(f"{name}: {error}") from None
    contract = sizes.preprocess()
    if input_size is None:
        input_size = (
            CIFAR_SIZE if (variant or "cifar").startswith("cifar") else contract.network_size
        )
    contract = replace(contract, input_size=tuple(input_size))
    return Plan(spec, sizes, contract, choose_outputs(spec, outputs))


def choose_outputs(spec: ModelSpec, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    """The outputs that were asked for, "logits" first, each once.

    Args:
        spec: the architecture.
        wanted: names; "all" among them is every output. None: those that are always there.

    Raises:
        UnknownNameError: the architecture has no such output.
    """
    if wanted is None:
        return spec.outputs
    available = (*spec.outputs, *spec.extra_outputs)
    if "all" in wanted:
        return available
    check_names(f"output of {spec.name}", wanted, available)
    return tuple(name for name in available if name == "logits" or name in wanted)


def build(
    name: str,
    form: str = "paper",
    preprocess: bool = False,
    variant: str | None = None,
    input_size: tuple[int, int] | None = None,
    outputs: tuple[str, ...] | None = None,
    **config: Any,
) -> keras.Model:
    """Builds an architecture with freshly initialised weights.

    Args:
        name: an architecture, such as "shiftvit".
        form: "paper", or "tutorial" for what the published Keras code computes; the latter's
            weights are in the tutorial's order, so ``set_weights`` takes its checkpoints.
        preprocess: whether the model takes raw images (uint8 B H W 3, 0..255) and resizes and
            scales them itself. Otherwise it takes float B H W 3 as the network expects them.
        variant: a published size; None is the tutorial's.
        input_size: (rows, columns) of the raw image, used with ``preprocess=True``. None: 32x32,
            CIFAR's, for the tutorial's sizes and those named after CIFAR; the network's own for
            the others.
        outputs: names of the outputs, such as ("logits", "attention"), or ("all",); None: those
            that the architecture always has (see ``ModelSpec.outputs`` and ``extra_outputs``).
        **config: fields of the architecture's config that differ from the variant's, such as
            ``num_classes=100``.

    Returns:
        A functional keras.Model with one input "images" and a dict of named outputs, "logits"
        (float B classes) among them.

    Raises:
        UnknownNameError: no such architecture, variant, output or config field.
        ConfigError: sizes that make no sense.
    """
    plan = plan_model(name, variant, input_size, outputs, form=form, **config)
    return build_plan(plan, preprocess)


def build_plan(plan: Plan, preprocess: bool = False) -> keras.Model:
    """Builds what :func:`plan_model` decided; see :func:`build`."""
    import keras

    from edgevit.layers.preprocessing import Preprocessing

    module = import_architecture(plan.spec)
    size = plan.preprocess.input_size if preprocess else plan.preprocess.network_size
    images = keras.Input((*size, 3), dtype="uint8" if preprocess else "float32", name="images")
    x = Preprocessing.of(plan.preprocess)(images) if preprocess else images
    found = module.forward(x, plan.config)
    return keras.Model(images, {name: found[name] for name in plan.outputs}, name=plan.spec.name)


def find_variant(plan: Plan) -> str | None:
    """The published size that a config is, whatever its classes; None for the tutorial's or ours.

    Where several fit, the one that says most.
    """
    own = {field.name: getattr(plan.config, field.name) for field in fields(plan.config)}
    published = {
        name: {field: value for field, value in sizes.items() if field != "num_classes"}
        for name, sizes in import_architecture(plan.spec).VARIANTS.items()
    }
    found = [
        name
        for name, sizes in published.items()
        if sizes and all(own[field] == value for field, value in sizes.items())
    ]
    return max(found, key=lambda name: len(published[name]), default=None)


def import_architecture(spec: ModelSpec) -> ModuleType:
    """The module that builds this architecture. Imports Keras.

    Raises:
        MissingDependencyError: Keras is not installed.
    """
    require(f"Building {spec.name}", KERAS[:1])  # whichever backend Keras has
    return importlib.import_module(spec.module)


def custom_objects() -> dict[str, type]:
    """Every layer class of this package by name, for ``keras.saving.load_model``."""
    from keras.layers import Layer

    import edgevit.layers as room

    names = [f"{room.__name__}.{module.name}" for module in pkgutil.iter_modules(room.__path__)]
    modules = [importlib.import_module(name) for name in names]
    modules += [import_architecture(spec) for spec in MODELS.values()]
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Layer)
        and value.__module__ == module.__name__
    }
