"""The page that `modelbuild --help` prints: commands and options in groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import click

EXAMPLES = (
    ("modelbuild", "build the default targets, or everything"),
    ("modelbuild chat:q4_K_M", "build one variant"),
    ("modelbuild run chat", "build it and talk to it"),
    ("modelbuild -f Modelfile -t me/chat -q q4_K_M", "build one Modelfile"),
    ("modelbuild help COMMAND", "show the options of a command"),
)

COMMANDS: Mapping[str, Sequence[str]] = {
    "Build": ("build", "run", "export", "watch"),
    "Look": ("status", "list", "show", "check", "log", "explain", "affected", "diff", "graph", "quality"),
    "Registries": ("pull", "push", "whoami"),
    "Installed models": ("cp", "rm"),
    "Start and tidy up": ("init", "clean", "du", "gc", "verify"),
}
"""Title -> commands; any other command is in the last group."""

OPTIONS: Mapping[str, Sequence[str]] = {
    "Options for choosing the project": ("folder", "file", "name", "quantize", "sets", "vars"),
    "Options for folders and memory": ("models", "cache", "memory"),
    "Options for output": ("as_json", "quiet", "verbose", "color"),
}
"""Title -> options of every command, by the names of their parameters; any other option is in the last group."""


COMPLETION = (
    ("~/.bashrc", 'eval "$(_MODELBUILD_COMPLETE=bash_source modelbuild)"'),
    ("~/.zshrc", 'eval "$(_MODELBUILD_COMPLETE=zsh_source modelbuild)"'),
)
"""File of a shell -> the line by which it completes."""


def write(
    formatter: click.HelpFormatter, ctx: click.Context, commands: Mapping[str, click.Command], default: str
) -> None:
    """Write everything below the usage and the first sentence; `default` is the command that needs no name."""
    _section(formatter, "Examples", EXAMPLES)
    for title, names in _grouped(COMMANDS, commands, "More"):
        _section(formatter, title, [(name, summary(commands[name])) for name in names])
    building = [each for each in commands[default].params if isinstance(each, click.Option) and not each.hidden]
    _section(formatter, "Options of a build", _records(building, ctx))
    options = {str(each.name): each for each in ctx.command.get_params(ctx) if isinstance(each, click.Option)}
    for title, names in _grouped(OPTIONS, options, "More options"):
        _section(formatter, title, _records((options[name] for name in names), ctx))
    _section(formatter, "Completion", COMPLETION)


def summary(command: click.Command) -> str:
    """The first line of a command's help."""
    return (command.help or "").split("\n")[0]


def _grouped(groups: Mapping[str, Sequence[str]], known: Iterable[str], rest: str) -> list[tuple[str, list[str]]]:
    taken = {name for names in groups.values() for name in names}
    known = list(known)
    found = [(title, [name for name in names if name in known]) for title, names in groups.items()]
    return [*found, (rest, [name for name in known if name not in taken])]


def _records(options: Iterable[click.Option], ctx: click.Context) -> list[tuple[str, str]]:
    return [record for option in options if (record := option.get_help_record(ctx))]


def _section(formatter: click.HelpFormatter, title: str, rows: Sequence[tuple[str, str]]) -> None:
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)
