"""``edgevit``: the verbs, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from typing import NoReturn

import click

from edgevit import __version__
from edgevit.base import interrupt
from edgevit.base.documents import to_json
from edgevit.base.errors import EdgevitError, OutputError, UnknownNameError, in_one_line
from edgevit.base.lean import be_lean
from edgevit.base.workspace import open_workspace
from edgevit.cli import console
from edgevit.cli.benchmark import benchmark
from edgevit.cli.cache import cache
from edgevit.cli.calibrate import calibrate
from edgevit.cli.catalogue import models, targets
from edgevit.cli.completion import completion
from edgevit.cli.deploy import deploy
from edgevit.cli.diff import diff
from edgevit.cli.doctor import doctor
from edgevit.cli.evaluate import evaluate
from edgevit.cli.explain import explain
from edgevit.cli.export import export
from edgevit.cli.inspect import inspect
from edgevit.cli.predict import predict
from edgevit.cli.profile import profile
from edgevit.cli.report import report
from edgevit.cli.sweep import sweep
from edgevit.cli.train import train
from edgevit.cli.verify import verify

VERBS = (
    export,
    calibrate,
    verify,
    inspect,
    diff,
    profile,
    evaluate,
    benchmark,
    predict,
    deploy,
    explain,
    report,
    sweep,
    train,
    models,
    targets,
    doctor,
    cache,
    completion,
)


# Verbs that draw nothing, and train nothing on JAX.
LEAN = {"export", "calibrate", "verify", "diff", "evaluate", "predict"}
VERBOSE, QUIET = {"-v", "--verbose"}, {"-q", "--quiet"}  # before a verb and behind it
FULL = re.compile(r"No space left on device|Disk quota exceeded|Read-only file system")
SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True}


class Verbs(click.Group):
    """A group that lists its verbs in the order of use and names near misses."""

    def list_commands(self, context):
        return list(self.commands)

    def resolve_command(self, context, args):
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise UnknownNameError("verb", args[0], self.commands, "See 'edgevit --help'.")
        return super().resolve_command(context, args)


@click.group(cls=Verbs, commands=VERBS, context_settings=SETTINGS)
@click.version_option(__version__, "-V", "--version", prog_name="edgevit")
@click.option("-v", "--verbose", is_flag=True, help="Show what converters and runtimes print.")
@click.option("-q", "--quiet", is_flag=True, help="Leave out what is being done.")
@click.pass_context
def cli(context: click.Context, verbose: bool, quiet: bool) -> None:
    """Take a trained Keras vision model to the edge, and prove that it arrived.

    \b
    Export a model of your own, or the shipped ShiftViT, verified in the runtime it will meet:
      edgevit export my.keras --calibration photos/
      edgevit export shiftvit --format tflite-int8
    Look inside, check again, classify a picture:
      edgevit inspect exports/shiftvit-tflite-int8.tflite
      edgevit verify exports/shiftvit-tflite-int8.tflite
      edgevit predict exports/shiftvit-tflite-int8.tflite cat.jpg

    Every verb takes --json: one document on stdout, everything else on stderr. The exit code is 0
    only when the verdict is pass, 1 when something failed, 2 when the input cannot be used.
    """
    context.obj = {"verbose": verbose}


def main() -> NoReturn:
    """Entry point of the console script.

    Ends the process without taking the frameworks apart, object by object, which takes a second:
    what is registered for the end of a process runs, and all that was printed is out.
    """
    if not LEAN.isdisjoint(sys.argv[1:4]):  # behind a few options
        be_lean()
    try:
        run()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    if "tensorflow" not in sys.modules:
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def run() -> NoReturn:
    """Runs the verb that the command line names.

    Raises:
        SystemExit: always, with the exit code.
    """
    _set_environment()
    arguments = sys.argv[1:]
    verbose = not VERBOSE.isdisjoint(arguments)
    console.be_quiet(not QUIET.isdisjoint(arguments))
    arguments = [word for word in arguments if word not in VERBOSE | QUIET] or ["--help"]
    as_json = "--json" in arguments
    interrupt.listen()
    console.open_streams()
    code: int | None
    try:
        with console.native_output_hidden(verbose):
            try:
                with _scratch():
                    code = cli.main(args=arguments, prog_name="edgevit", standalone_mode=False)
            except click.ClickException as error:
                code = _fail(error.format_message(), 2, as_json)
            except click.exceptions.Abort:
                code = _fail("interrupted.", 130, False)
            except KeyboardInterrupt:
                code = _fail("interrupted; nothing half-written is left.", 130, False)
            except EdgevitError as error:
                code = _fail(str(error), error.exit_code, as_json)
            except MemoryError:
                code = _fail(
                    "not enough memory. Close other programs, or lower --batch.", 1, as_json
                )
            except BrokenPipeError:
                raise
            except Exception as error:
                if verbose:
                    console.say(traceback.format_exc())
                code = _fail(_explain(error), 1, as_json)
    except BrokenPipeError:
        code = 1
    sys.exit(code or 0)


def _explain(error: Exception) -> str:
    """One line for what no verb foresaw: the machine's fault where it is one, or else ours."""
    if isinstance(error, OSError):
        return f"{error.filename or tempfile.gettempdir()}: {error.strerror or error}"
    if isinstance(error, ImportError) and not (error.name or "edgevit").startswith("edgevit"):
        return (
            f"a package is missing or damaged ({in_one_line(error, 200)}). 'edgevit doctor' says "
            "what is installed."
        )
    full = FULL.search(str(error))
    if full:  # as the C++ of a converter says it
        return f"{tempfile.gettempdir()}: {full[0]}. Free space, or name another folder in TMPDIR."
    return (
        f"internal error: {type(error).__name__}: {in_one_line(error, 300)}. This is a defect of "
        "edgevit; 'edgevit --verbose ...' shows where."
    )


@contextlib.contextmanager
def _scratch() -> Iterator[None]:
    """One temporary folder for all that this process and its libraries write; gone afterwards."""
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(open_workspace())
        except OutputError:  # whoever needs one will say so
            yield
            return
        before = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = None
            os.environ.pop("TMPDIR")
            if before is not None:
                os.environ["TMPDIR"] = before


def _fail(message: str, code: int, as_json: bool) -> int:
    stopped = interrupt.exit_code()
    if stopped is not None:  # whatever a library made of it
        message, code = "interrupted; nothing half-written is left.", stopped
    message = " ".join(message.split())
    console.fail(message)
    if as_json:
        with contextlib.suppress(OutputError):
            console.answer({"error": message}, True, lambda: to_json({}))
    return code


def _set_environment() -> None:
    """Decides for the frameworks before any is imported; what the user set stays."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Same bits on every processor, where bytes are compared.
    if {"export", "sweep"} & set(sys.argv):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # train chooses another before it imports Keras


if __name__ == "__main__":
    main()
