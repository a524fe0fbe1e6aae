"""Models that a user's own Python code builds: ``package.module:function`` or ``module:model``."""

from __future__ import annotations

import inspect
import re
import sys
import sysconfig
import traceback
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevit.base.errors import EdgevitError, ModelFileError, in_one_line, suggest
from edgevit.base.loading import import_from_here

if TYPE_CHECKING:
    import keras

PLACE = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*(?:\.\w+)*)")
AUTOMATIC = re.compile(r"(functional|sequential|model)(_\d+)?")  # names that Keras makes up


def read_object(place: str) -> tuple[keras.Model, str]:
    """Imports a module and takes a model out of it.

    Args:
        place: "module:attribute"; the attribute is a keras.Model, or a function or class that
            makes one without arguments.

    Returns:
        The model, and what its files are called.

    Raises:
        ModelFileError: no such module or attribute, the code raises, or it makes something else.
    """
    match = PLACE.fullmatch(place)
    assert match is not None  # the table asks for such names only
    module, attribute = match["module"], match["attribute"]
    if module.endswith(".py"):
        raise ModelFileError(f"{place}: name the module, not the file: {module[:-3]}:{attribute}.")
    if not has_module(module):
        raise ModelFileError(
            f"{place}: there is no module {module.split('.')[0]!r} in this folder, and none is "
            "installed. Run edgevit in the folder that holds it."
        )
    value = _run(place, lambda: import_from_here(module))
    for part in attribute.split("."):
        value = _take(place, value, part)
    model = value if _is_model(value) else _call(place, value)
    if not _is_model(model):
        raise ModelFileError(f"{place}: {_describe(model)}, and no keras.Model. {_remedy(model)}")
    automatic = AUTOMATIC.fullmatch(model.name)
    return model, f"{module.split('.')[-1]}-{attribute}" if automatic else model.name


def has_module(module: str) -> bool:
    """Whether the package of a module is in this folder or installed. Imports nothing."""
    package = module.split(".")[0]
    sys.path.insert(0, str(Path.cwd()))
    try:
        return package in sys.modules or find_spec(package) is not None
    except (ImportError, ValueError):
        return False
    finally:
        sys.path.pop(0)


def _take(place: str, value: Any, part: str) -> Any:
    if hasattr(value, part):
        return getattr(value, part)
    name = getattr(value, "__name__", type(value).__name__)
    hint = suggest(part, [known for known in dir(value) if not known.startswith("_")])
    raise ModelFileError(f"{place}: {name} has no {part!r}. {hint}".rstrip())


def _call(place: str, value: Any) -> Any:
    if not callable(value):
        raise ModelFileError(f"{place}: {_describe(value)}, and no keras.Model. {_remedy(value)}")
    try:
        parameters = [*inspect.signature(value).parameters.values()]
    except (TypeError, ValueError):  # a builtin
        parameters = []
    optional = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    needed = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.kind not in optional
    ]
    if needed:
        raise ModelFileError(
            f"{place}: takes the arguments {', '.join(needed)}, and is called without any. Write a "
            "function that calls it with those, and name that one."
        )
    return _run(place, value)


def _run(place: str, call: Any) -> Any:
    """Runs the user's code; what it raises becomes a line that says where."""
    try:
        with redirect_stdout(sys.stderr):  # standard output is for the answer
            return call()
    except EdgevitError:
        raise
    except (Exception, SystemExit) as error:
        reason = in_one_line(error, 240) or "no message"
        where = find_line(error)
        raise ModelFileError(
            f"{place}: raised {type(error).__name__}: {reason.rstrip('.')}"
            f"{f' ({where})' if where else ''}."
        ) from None


def find_line(error: BaseException) -> str:
    """The last line of the user's own code behind an error: "nets.py, line 12"; or nothing."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename)}, line {error.lineno}"
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    others = (*libraries, str(Path(__file__).parents[2]), "<frozen")
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(others)
    ]
    return f"{_shown(frames[-1].filename)}, line {frames[-1].lineno}" if frames else ""


def _shown(path: str) -> str:
    """A path as seen from the current folder."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _is_model(value: Any) -> bool:
    import keras

    return isinstance(value, keras.Model)


def _describe(value: Any) -> str:
    kind = value if isinstance(value, type) else type(value)
    return f"is a {kind.__module__}.{kind.__qualname__}"


_REMEDIES = {
    "tf_keras": "Build it with Keras 3, or save it with model.save('model.h5') and give the file.",
    "torch": "edgevit exports Keras models: build the network in Keras and set the weights.",
    "builtins": "Return the model that the function builds.",
}


def _remedy(value: Any) -> str:
    kinds = value.__mro__ if isinstance(value, type) else type(value).__mro__
    packages = [kind.__module__.split(".")[0] for kind in kinds[:-1]]
    found = next((_REMEDIES[package] for package in packages if package in _REMEDIES), None)
    return found or "Name a keras.Model, or a function that returns one."
