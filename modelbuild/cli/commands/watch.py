"""Build the targets again on every change.

Goes on until it is interrupted. If a build fails, its error is shown, and the next change starts the next build.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelbuild.cli.commands import build
from modelbuild.cli.invocation import Invocation
from modelbuild.cli.watching import until_interrupted

if TYPE_CHECKING:
    import click


def parameters() -> list[click.Parameter]:
    import click

    given = [
        parameter for parameter in build.parameters() if parameter.name not in ("dry_run", "watch", "ollama", "profile")
    ]
    return [*given, click.Option(["--poll"], is_flag=True, help="Poll files; for disks that report no changes.")]


def run(call: Invocation, poll: bool = False, **options: Any) -> int:
    return until_interrupted(call, build.Rebuild(build.Request(**options)), poll)
