"""Have calls run by the workers of a Dask cluster. All that is known of Dask on the side of a build is here."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from modelbuild.errors import Error, Stopped
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from queue import SimpleQueue

    from distributed import Client

SCHEME = "dask://"

TRIES = 5
"""Times that a call is given to the cluster whose workers die. Each is tried by several workers."""

FRESH = 5.0
"""Seconds for which what the workers offer is believed."""

PATIENCE = 15
"""Seconds for which a scheduler is tried to be reached."""

LEAST, MOST = 32, 1024
"""Calls that are under way at once: at least so many, since machines may join, and at most."""

Offer = Mapping[str, float]
"""Tokens by name: what a worker has of something, or a call takes while it runs."""


class Call(NamedTuple):
    """A call to be run somewhere: it takes a text, and gives one.

    key       two calls of one key run once, whoever asks
    needs     the tokens that it takes
    priority  calls of a higher one run first
    """

    key: str
    text: str
    needs: Offer
    priority: float


class SchedulerLost(Exception):
    """The scheduler is gone. Nothing more can be run there."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.what)
        self.error = error


class Workers(NamedTuple):
    """The workers of a cluster now: how many there are, how many calls they run at once, and the tokens of each."""

    number: int
    threads: int
    offers: tuple[Offer, ...]


class Cluster:
    """A Dask cluster that runs `function`; used by many threads at once, each of which waits for its call."""

    def __init__(self, client: Client, function: Callable[[str], str], address: str) -> None:
        self._client = client
        self._function = function
        self._mutex = threading.Lock()
        self._stopped = False
        self._waiting: set[SimpleQueue[object]] = set()
        self._seen = -FRESH
        self._workers = Workers(0, 0, ())
        self.address = address

    def workers(self) -> Workers:
        """Who is there, as far as is worth asking for again. Raises SchedulerLost."""
        with self._mutex:
            if time.monotonic() - self._seen >= FRESH:
                try:
                    found = self._client.scheduler_info(n_workers=-1)["workers"].values()
                except Exception as fault:
                    raise self._lost() from fault
                threads = sum(int(each["nthreads"]) for each in found)
                self._workers = Workers(len(found), threads, tuple(each["resources"] for each in found))
                self._seen = time.monotonic()
            return self._workers

    @property
    def places(self) -> int:
        """Calls to have under way at once: a worker that is done has the next one already."""
        return max(LEAST, min(MOST, 2 * self.workers().threads))

    def run(self, call: Call) -> str:
        """Wait for what a call gives.

        Raises SchedulerLost, Stopped after `stop`, an Error where workers die of it, and what it raises itself.
        """
        for attempt in range(TRIES):
            found = self._run(call, call.key if not attempt else f"{call.key}-{attempt}")
            if found is not None:
                return found
        raise Error(
            f"the workers died that ran this action, {TRIES} times in a row",
            facts=[("cluster", self.address)],
            hint="their logs may say why; too little memory is a common reason",
        )

    def _run(self, call: Call, key: str) -> str | None:
        """One try; None where several workers died of it."""
        from concurrent.futures import CancelledError
        from queue import SimpleQueue

        from distributed import KilledWorker

        needs = affordable(call.needs, self.workers().offers)
        heard: SimpleQueue[object] = SimpleQueue()
        self._waiting.add(heard)
        future = None
        try:
            if self._stopped:
                raise Stopped
            future = self._client.submit(
                self._function, call.text, key=key, resources=dict(needs) or None, priority=call.priority
            )
            future.add_done_callback(heard.put)
            if heard.get() is None:
                raise Stopped
            return str(future.result())
        except KilledWorker:
            return None
        except CancelledError as fault:
            raise self._lost() from fault
        except Exception as fault:
            if isinstance(fault, Stopped) or self._client.status == "running":
                raise
            raise self._lost() from fault
        finally:
            self._waiting.discard(heard)
            if future is not None:
                # Nobody else may wait for it: then it is not begun any more.
                future.release()

    def _lost(self) -> SchedulerLost:
        return SchedulerLost(
            Error(
                f"the scheduler of the cluster at {self.address} is gone",
                hint="finished steps are cached: start it again and build again, or build here without --executor",
            )
        )

    def stop(self) -> None:
        """Have all that wait give up. What workers run is finished, and is in the shared cache then. Safe in a handler of a signal."""
        self._stopped = True
        for heard in list(self._waiting):
            heard.put(None)

    def close(self) -> None:
        """Leave the cluster. Never raises."""
        with contextlib.suppress(Exception):
            self._client.close(timeout=1)


def connect(url: str, function: Callable[[], Callable[[str], str]]) -> Cluster:
    """The cluster whose scheduler a `dask://HOST:PORT` names; `function` gives what its workers are to run.

    Raises Error where Dask is not installed, or the scheduler does not answer.
    """
    import logging

    address = address_of(url)
    try:
        from distributed import Client
    except ImportError:
        raise missing("--executor dask://…") from None
    try:
        # What Dask would log of a lost connection is said by our own errors.
        for name in ("distributed", "distributed.client", "tornado.application"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        client = Client(address, set_as_default=False, timeout=PATIENCE)
    except (OSError, ValueError, TypeError) as fault:
        raise unreachable(address, fault) from None
    return Cluster(client, function(), client.scheduler.address)


def address_of(url: str) -> str:
    """The address of a scheduler as Dask has it: with TLS if its configuration says so, or `dask://tls://HOST:PORT`. Raises Error."""
    if not url.startswith(SCHEME) or not url.removeprefix(SCHEME).strip("/"):
        raise Error(f"expected an executor like 'dask://scheduler:8786', got '{url}'")
    return url.removeprefix(SCHEME).rstrip("/")


def missing(what: str) -> Error:
    """The error where the extra is not installed."""
    return Error(f"{what} needs Dask, which is not installed", hint="pip install 'modelbuild[dask]'")


def unreachable(address: str, fault: Exception) -> Error:
    """The error where no scheduler answers."""
    return Error(
        f"no Dask scheduler answers at {address}",
        facts=[("reason", " ".join(str(fault).split())[:200] or type(fault).__name__)],
        hint="start one with `dask scheduler`; with TLS, Dask's configuration names the certificates",
    )


def affordable(needs: Offer, offers: tuple[Offer, ...]) -> Offer:
    """The tokens to ask for: not more than the best worker has, or the call would wait for ever; nothing that no worker has."""
    most = {name: max((float(offer.get(name, 0)) for offer in offers), default=0.0) for name in needs}
    return {name: min(float(needed), most[name]) for name, needed in needs.items() if needed > 0 and most[name] > 0}
