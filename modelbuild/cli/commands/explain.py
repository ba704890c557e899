"""Say why the steps of the targets would run: what changed since the last build, field by field.

Nothing is run. Sources that were never read are read to know their digests, as a build would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild.cli.dry_run import forecast
from modelbuild.cli.invocation import WRONG, Invocation

if TYPE_CHECKING:
    import click


def parameters() -> list[click.Parameter]:
    from modelbuild.cli.kinds import targets

    return [targets()]


def run(call: Invocation, targets: Sequence[str] = ()) -> int:
    selection = call.session.select(targets)
    code = forecast(call, selection, explain=True, models=False)
    return WRONG if selection.broken else code
