"""Print the JSON Schema of ModelBuild.toml, for editors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelbuild.cli.invocation import GOOD, Invocation

if TYPE_CHECKING:
    import click


def parameters() -> list[click.Parameter]:
    return []


def run(call: Invocation) -> int:
    from modelbuild.project.schema import json_schema

    call.report.data(json_schema())
    return GOOD
