"""Work for a cluster: run actions of builds that name it.

SCHEDULER is the address of a Dask scheduler, such as tcp://scheduler:8786. The worker has a cache of its own, and takes from and
gives to the shared cache that the builds use too. It ends when the scheduler does, or on Ctrl-C; what it ran then runs elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild.cli.invocation import GOOD, Invocation

if TYPE_CHECKING:
    import click

AT_ONCE = 2
"""Actions of one worker: while one computes, another one's bytes are on their way."""


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import Count

    return [
        click.Argument(["scheduler"]),
        click.Option(["--remote"], metavar="URL", help="The shared cache; default: $MODELBUILD_REMOTE."),
        click.Option(["--sign"], type=click.Path(), metavar="FILE", help="The key that signs what is shared."),
        click.Option(["--trust"], multiple=True, metavar="KEY", help="Take only what this public key signed."),
        click.Option(["-j", "--jobs"], type=Count(), metavar="N", help=f"Run N actions at once; default: {AT_ONCE}."),
    ]


def run(
    call: Invocation,
    scheduler: str,
    remote: str | None = None,
    sign: str | None = None,
    trust: Sequence[str] = (),
    jobs: int | None = None,
) -> int:
    from modelbuild.engine.executors.dask import SCHEME, missing
    from modelbuild.session.cluster import serving

    means = serving.means(call.settings, remote, sign, trust)
    try:
        from modelbuild.session.cluster import dask_worker
    except ModuleNotFoundError as absent:
        if (absent.name or "").partition(".")[0] != "distributed":
            raise
        raise missing("modelbuild worker") from None
    address = scheduler.removeprefix(SCHEME)
    dask_worker.serve(address, means, jobs or AT_ONCE, call.report.note, call.report.verbose)
    return GOOD
