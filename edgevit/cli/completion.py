"""``edgevit completion``, and what it completes."""

from __future__ import annotations

import sys

import click
from click.shell_completion import CompletionItem, get_completion_class

VARIABLE = "_EDGEVIT_COMPLETE"  # by which the shell asks; the name is click's
SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes verbs, options, models and targets in SHELL.

    \b
    bash: eval "$(edgevit completion bash)" in ~/.bashrc
    zsh:  eval "$(edgevit completion zsh)" in ~/.zshrc
    fish: edgevit completion fish > ~/.config/fish/completions/edgevit.fish
    """
    found = get_completion_class(shell)
    assert found is not None  # click knows the three
    sys.stdout.write(found(context.find_root().command, {}, "edgevit", VARIABLE).source())


def complete_models(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of what ships and of architectures, and files."""
    from edgevit.models import MODELS
    from edgevit.models.shipped import list_shipped

    names = dict.fromkeys([*list_shipped(), *MODELS])
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return [*found, CompletionItem(incomplete, type="file")]


def complete_targets(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of targets, also behind a comma."""
    from edgevit.formats.registry import ALL, TARGETS

    before, comma, begun = incomplete.rpartition(",")
    return [
        CompletionItem(before + comma + name) for name in (*TARGETS, ALL) if name.startswith(begun)
    ]
