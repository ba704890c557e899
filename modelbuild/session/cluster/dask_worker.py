"""A worker of a Dask cluster that runs our tasks: by `modelbuild worker`, or as a preload of any worker that Dask starts.

    DASK_DISTRIBUTED__WORKER__PRELOAD='["modelbuild.session.cluster.dask_worker"]'

Only who has the extra imports this module.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import tempfile
from collections.abc import Callable
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker

from modelbuild.errors import Error
from modelbuild.session.cluster.serving import Means, Workshop, means, tokens
from modelbuild.session.settings import Settings
from modelbuild.words import plural

NAME = "modelbuild"


class _Shop(WorkerPlugin):  # type: ignore[misc]
    """Holds the workshop of a worker."""

    name = NAME

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop

    async def teardown(self, worker: Worker) -> None:
        await asyncio.to_thread(self.workshop.close)


def run(text: str) -> str:
    """Do a task on the worker that this is called on."""
    shop = get_worker().plugins.get(NAME)
    if shop is None:
        hint = "start workers with `modelbuild worker`, or with the preload that docs/cluster.md names"
        raise Error("a worker of the cluster is not one of modelbuild", hint=hint)
    return str(shop.workshop.run(text))


async def dask_setup(worker: Worker) -> None:
    """Make a worker that Dask has started one of ours, by the variables of its environment."""
    found = means(Settings(), None)
    await worker.plugin_add(_Shop(Workshop(found)))
    # Before it is known to the scheduler, which hears of them then.
    worker.state.total_resources.update(tokens(found))
    worker.state.available_resources.update(tokens(found))


def serve(address: str, means: Means, threads: int, say: Callable[[str], None], verbose: bool) -> None:
    """Work for the scheduler at an address until a signal comes, or it is gone. Raises Error where it cannot be reached."""
    logging.getLogger("distributed").setLevel(logging.ERROR)
    workshop = Workshop(means, say if verbose else lambda line: None)
    asyncio.run(_serve(address, workshop, {"nthreads": threads, "resources": dict(tokens(means))}, say))


async def _serve(address: str, workshop: Workshop, options: dict[str, Any], say: Callable[[str], None]) -> None:
    from modelbuild.engine.executors.dask import unreachable

    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    with tempfile.TemporaryDirectory(prefix="modelbuild-worker-") as folder:
        # Our own limit of memory holds; Dask's would count what the system may let go of.
        worker = Worker(
            address, local_directory=folder, memory_limit=0, plugins=(_Shop(workshop),), death_timeout=60, **options
        )
        try:
            await worker
        except (OSError, ValueError, TimeoutError) as fault:
            raise unreachable(address, fault) from None
        say(
            f"working for {address}: {plural(options['nthreads'], 'action')} at once, shared cache {workshop.remote.name}"
        )
        signalled = asyncio.ensure_future(ended.wait())
        finished = asyncio.ensure_future(worker.finished())
        await asyncio.wait((signalled, finished), return_when=asyncio.FIRST_COMPLETED)
        await worker.close(timeout=5)
    say("the worker has ended")
