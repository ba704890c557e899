"""Show the help of modelbuild, or of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelbuild.cli.invocation import Invocation, commands, is_command
from modelbuild.errors import Error
from modelbuild.words import did_you_mean, listed

if TYPE_CHECKING:
    import click


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import Command

    return [click.Argument(["command"], type=Command(), metavar="[COMMAND]", required=False)]


def run(call: Invocation, command: str | None = None) -> int:
    from modelbuild.cli import arguments, foreign

    if command is None or is_command(command):
        return arguments.run([command, "--help"] if command else ["--help"])
    if error := foreign.verb([command]):
        raise error
    raise Error(
        f"'{command}' is not a command",
        facts=[("known", listed(commands(), 30))],
        hint=did_you_mean(command, commands()),
    )
