"""Object stores: S3 and all that speak its protocol, Google Cloud Storage and Azure, by obstore (the extra `remote`).

Who lets us in is said where their own tools read it: AWS_ACCESS_KEY_ID, AWS_PROFILE's role on a machine of theirs, AWS_ENDPOINT_URL,
GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME and so on (the object_store crate's `from_env`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from modelbuild.errors import Error, Stopped
from modelbuild.interrupt import Stop
from modelbuild.registry.faults import Unreachable
from modelbuild.remotes import Missing, Pieces, checked_name
from modelbuild.words import shown

if TYPE_CHECKING:
    import asyncio

SCHEMES = ("s3", "gs", "az")

PART = 8 << 20
"""Bytes of a part of a large file: each is a request of its own, so that none takes long."""
PARTS = 9_000
"""Parts of one upload at most: S3 takes ten thousand."""
AHEAD = 4
"""Parts that are asked for before they are needed."""

SILENCE, FLOOR = 20.0, 200_000
"""Seconds that an answer may take, and the bytes a second that are reckoned besides."""

_NO_BUCKET = ("NoSuchBucket", "The specified bucket does not exist", "ContainerNotFound")
"""What the answers of S3, of Google and of Azure contain where the bucket itself is missing."""

_CONNECT = "5s"
_LOOK = 0.05
"""Seconds between two looks whether to go on waiting."""

T = TypeVar("T")


def connect(url: str) -> Bucket:
    """The bucket of a URL `s3://bucket/prefix`, `gs://…` or `az://account/container/prefix`. Raises Error without obstore."""
    parts = urlsplit(url)
    if not parts.netloc or "@" in parts.netloc or parts.query or parts.fragment:
        hint = f"write {parts.scheme}://bucket/prefix; credentials come from the environment"
        raise Error(f"'{parts.scheme}://' expects a bucket and a prefix, and nothing else", hint=hint)
    try:
        stores: Any = import_module("obstore.store")
    except ImportError:
        what = f"a remote cache at '{parts.scheme}://' needs the package obstore"
        raise Error(what, hint="pip install 'modelbuild[remote]'") from None
    options = {"timeout": f"{SILENCE + PART / FLOOR:.0f}s", "connect_timeout": _CONNECT, **_plain()}
    retries = {"max_retries": 2, "retry_timeout": timedelta(seconds=SILENCE)}
    try:
        store = stores.from_url(url, client_options=options, retry_config=retries)
    except Exception as error:
        raise Error(f"'{shown(url)}' cannot be a remote cache", facts=[("reason", type(error).__name__)]) from None
    return Bucket(shown(url), store)


def _plain() -> dict[str, bool]:
    """Whether the endpoint is one of plain http: whoever writes that means it."""
    import os

    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
    return {"allow_http": True} if endpoint.startswith("http://") else {}


class Bucket:
    """The remote in a bucket."""

    def __init__(self, name: str, store: Any) -> None:
        self.name = name
        self._store = store
        self._stop = Stop()
        self._loop = _Loop()
        self._is_there = False

    def size(self, kind: str, digest: str) -> int | None:
        import obstore

        name = checked_name(kind, digest)
        try:
            size = int(self._said(self._ask(lambda: obstore.head_async(self._store, name)))["size"])
        except Missing:
            self._reach(name)
            return None
        self._is_there = True
        return size

    def _reach(self, name: str) -> None:
        """Raise an Error if the bucket is not there. The answer to GET tells this from a missing object, and that to HEAD does not."""
        if self._is_there:
            return
        import obstore
        from obstore import exceptions

        async def asked() -> str:
            try:
                await obstore.get_async(self._store, name)
            except (FileNotFoundError, exceptions.NotFoundError) as error:
                return str(error)
            return ""

        answer = self._said(self._ask(asked))
        if any(word in answer for word in _NO_BUCKET):
            raise self._no_bucket()
        self._is_there = True

    def _no_bucket(self) -> Error:
        bucket = urlsplit(self.name).netloc
        hint = "make it, or correct its name in [cache] remote, or the endpoint in the environment"
        return Error(f"the bucket '{bucket}' of '{self.name}' is not there", hint=hint)

    def get(self, kind: str, digest: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        if length is None:
            size = self.size(kind, digest)
            if size is None:
                raise Missing
            length = max(0, size - start)
        name, end = checked_name(kind, digest), start + length
        asked: deque[Future[Any]] = deque()
        try:
            # Never a list of all: the store may say any size.
            for at in range(start, end, PART):
                asked.append(self._range(name, at, min(at + PART, end)))
                if len(asked) > AHEAD:
                    yield bytes(self._said(asked.popleft(), PART))
            while asked:
                yield bytes(self._said(asked.popleft(), PART))
        finally:
            for future in asked:
                future.cancel()

    def _range(self, name: str, start: int, end: int) -> Future[Any]:
        import obstore

        return self._ask(lambda: obstore.get_range_async(self._store, name, start=start, end=end))

    def put(self, kind: str, digest: str, size: int, pieces: Pieces) -> None:
        try:
            self._put(kind, digest, size, pieces)
        except Missing:
            # Nothing else can be missing where something is put.
            raise self._no_bucket() from None
        self._is_there = True

    def _put(self, kind: str, digest: str, size: int, pieces: Pieces) -> None:
        import obstore

        name = checked_name(kind, digest)
        if size <= PART:
            data = b"".join(self._checked(pieces))
            self._said(self._ask(lambda: obstore.put_async(self._store, name, data, use_multipart=False)), size)
            return
        part = max(PART, -(-size // PARTS))
        failed: list[BaseException] = []

        def watched() -> Iterator[bytes]:
            """The pieces; what goes wrong with them ends the upload, and is no fault of the store's."""
            try:
                yield from self._checked(pieces)
            except BaseException as error:
                failed.append(error)
                raise

        def send() -> Awaitable[Any]:
            sent: Awaitable[Any] = obstore.put_async(
                self._store, name, watched(), chunk_size=part, max_concurrency=AHEAD
            )
            return sent

        try:
            self._said(self._ask(send), size)
        except (Error, Missing):
            if failed:
                raise failed[0] from None
            raise

    def stop(self) -> None:
        self._stop.set()

    def close(self) -> None:
        """obstore closes its connections by itself."""
        self._loop.close()

    def _checked(self, pieces: Pieces) -> Iterator[bytes]:
        for piece in pieces():
            if self._stop.is_set:
                raise Stopped
            yield piece

    def _ask(self, ask: Callable[[], Awaitable[T]]) -> Future[T]:
        """Begin a request."""
        if self._stop.is_set:
            raise Stopped
        return self._loop.run(ask)

    def _said(self, asked: Future[T], size: int = 0) -> T:
        """The answer of a request for so many bytes; says in our words what goes wrong: obstore's own may contain a URL with a secret."""
        from obstore import exceptions

        self._await(asked, SILENCE + size / FLOOR)
        try:
            return asked.result()
        except (FileNotFoundError, exceptions.NotFoundError):
            raise Missing from None
        except (PermissionError, exceptions.PermissionDeniedError, exceptions.UnauthenticatedError):
            hint = "check the credentials in the environment, and what they allow"
            raise Error(f"'{self.name}' does not let us in", hint=hint) from None
        except (Error, Stopped):
            raise
        except Exception as error:
            facts = [("reason", type(error).__name__)]
            raise Unreachable(
                f"'{self.name}' cannot be used", facts=facts, hint="check the network and the name"
            ) from None

    def _await(self, asked: Future[Any], seconds: float) -> None:
        """Wait for an answer, but neither after a stop nor for ever."""
        end = time.monotonic() + seconds
        while not asked.done():
            wait([asked], _LOOK)
            if self._stop.is_set:
                asked.cancel()
                raise Stopped
            if time.monotonic() > end:
                asked.cancel()
                raise Unreachable(f"'{self.name}' stopped answering", hint="try again later")


class _Loop:
    """Runs requests in a thread of its own: there they can be given up, whoever waits for them."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, ask: Callable[[], Awaitable[T]]) -> Future[T]:
        import asyncio

        async def asked() -> T:
            return await ask()

        with self._mutex:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._work, args=(self._loop,), name="bucket", daemon=True).start()
            return asyncio.run_coroutine_threadsafe(asked(), self._loop)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.run_forever()
        loop.close()

    def close(self) -> None:
        """Give up all that is under way, and end the thread."""
        import asyncio

        with self._mutex:
            loop, self._loop = self._loop, None
        if loop is None:
            return

        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        with suppress(Exception):
            asyncio.run_coroutine_threadsafe(end(), loop).result(1.0)
        loop.call_soon_threadsafe(loop.stop)
