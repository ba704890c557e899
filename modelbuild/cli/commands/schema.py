"""Print the JSON Schema of ModelBuild.toml, for editors.

--events prints that of the events of `--json`, for programs that read them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelbuild.cli.invocation import GOOD, Invocation

if TYPE_CHECKING:
    import click


def parameters() -> list[click.Parameter]:
    import click

    return [click.Option(["--events"], is_flag=True, help="Print the schema of the events of --json.")]


def run(call: Invocation, events: bool = False) -> int:
    if events:
        from modelbuild.cli import events as told

        call.report.data(told.json_schema())
        return GOOD
    from modelbuild.project.schema import json_schema

    call.report.data(json_schema())
    return GOOD
