"""Object stores: S3 and all that speak its protocol, Google Cloud Storage and Azure, by obstore (the extra `remote`).

Who lets us in is said where their own tools read it: AWS_ACCESS_KEY_ID, AWS_PROFILE's role on a machine of theirs, AWS_ENDPOINT_URL,
GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME and so on (the object_store crate's `from_env`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from typing import Any, TypeVar
from urllib.parse import urlsplit

from modelbuild.errors import Error, Stopped
from modelbuild.registry.faults import Unreachable
from modelbuild.remotes import Missing, Pieces, checked_name
from modelbuild.words import shown

SCHEMES = ("s3", "gs", "az")

PART = 8 << 20
"""Bytes of a part of a large file: each is a request of its own, so that none takes long."""
PARTS = 9_000
"""Parts of one upload at most: S3 takes ten thousand."""
AHEAD = 4
"""Parts that are asked for before they are needed."""

_TIMEOUT = "60s"
_CONNECT = "5s"

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
    options = {"timeout": _TIMEOUT, "connect_timeout": _CONNECT, **_plain()}
    try:
        store = stores.from_url(url, client_options=options, retry_config={"max_retries": 2})
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
        self._stopped = threading.Event()

    def size(self, kind: str, digest: str) -> int | None:
        import obstore

        name = checked_name(kind, digest)
        try:
            return int(self._said(lambda: obstore.head(self._store, name))["size"])
        except Missing:
            return None

    def get(self, kind: str, digest: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        if length is None:
            size = self.size(kind, digest)
            if size is None:
                raise Missing
            length = max(0, size - start)
        name, end = checked_name(kind, digest), start + length
        if length <= PART:
            if length:
                yield self._range(name, start, end)
            return
        with ThreadPoolExecutor(AHEAD, thread_name_prefix="bucket") as pool:
            asked: deque[Future[bytes]] = deque()
            try:
                # Never a list of all: the store may say any size.
                for at in range(start, end, PART):
                    asked.append(pool.submit(self._range, name, at, min(at + PART, end)))
                    if len(asked) > AHEAD:
                        yield asked.popleft().result()
                while asked:
                    yield asked.popleft().result()
            finally:
                for future in asked:
                    future.cancel()

    def _range(self, name: str, start: int, end: int) -> bytes:
        import obstore

        return bytes(self._said(lambda: obstore.get_range(self._store, name, start=start, end=end)))

    def put(self, kind: str, digest: str, size: int, pieces: Pieces) -> None:
        import obstore

        name = checked_name(kind, digest)
        if size <= PART:
            data = b"".join(self._checked(pieces))
            self._said(lambda: obstore.put(self._store, name, data, use_multipart=False))
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

        try:
            self._said(lambda: obstore.put(self._store, name, watched(), chunk_size=part, max_concurrency=AHEAD))
        except Error:
            if failed:
                raise failed[0] from None
            raise

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        """obstore closes its connections by itself."""

    def _checked(self, pieces: Pieces) -> Iterator[bytes]:
        for piece in pieces():
            if self._stopped.is_set():
                raise Stopped
            yield piece

    def _said(self, ask: Callable[[], T]) -> T:
        """Ask, and say in our words what goes wrong: obstore's own may contain a URL with a secret."""
        from obstore import exceptions

        if self._stopped.is_set():
            raise Stopped
        try:
            return ask()
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
