"""Say why the steps of the targets would run.

Shows what changed since the last build. No step runs. New and changed sources are read for their digests, as in a
build.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild.cli.dry_run import forecast
from modelbuild.cli.fetched import wrong
from modelbuild.cli.invocation import FAILED, Invocation

if TYPE_CHECKING:
    import click


def parameters() -> list[click.Parameter]:
    from modelbuild.cli.kinds import targets

    return [targets()]


def run(call: Invocation, targets: Sequence[str] = ()) -> int:
    selection = call.session.select(targets)
    code = forecast(call, selection, explain=True, models=False)
    return FAILED if wrong(selection.broken) else code
