"""Remotes are stores that several machines share: they keep bytes by kind and sha256, one file for each way to reach them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import import_module
from typing import Protocol, cast

from modelbuild.errors import Error
from modelbuild.words import did_you_mean, listed, shown

RECORDS, BLOBS = "ac", "cas"
"""The kinds of what is kept, as Bazel's caches over HTTP name them: what an action made, and bytes by their own sha256."""

CHUNK = 1 << 20
"""Bytes that are read from, or given to, a remote at once."""

_DIGEST = re.compile("[0-9a-f]{64}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://)?")

Pieces = Callable[[], Iterable[bytes]]
"""Gives the bytes to send from their beginning, once for each try."""


class Missing(Exception):
    """The remote does not have what was asked for."""


class Remote(Protocol):
    """A store that several machines share; used by several threads at once. Nothing that it says is believed by those who use it.

    A digest is 64 hex digits. All raise Error for a fault of the store or the way to it, and Stopped once `stop` was called.
    """

    name: str
    """As messages show it: without user, password and query."""

    def size(self, kind: str, digest: str, /) -> int | None:
        """Bytes of what is there by this kind and digest; None if nothing is."""

    def get(self, kind: str, digest: str, start: int = 0, length: int | None = None, /) -> Iterator[bytes]:
        """The bytes from `start` on, `length` of them or all, as they arrive. Raises Missing at the first piece.

        There may be fewer or others than were asked for: who asks counts and hashes them.
        """

    def put(self, kind: str, digest: str, size: int, pieces: Pieces, /) -> None:
        """Keep bytes. Nobody sees a part of them; what is there already may be replaced."""

    def stop(self) -> None:
        """End all that is under way in other threads; safe in a handler of a signal."""

    def close(self) -> None:
        """Close all connections. Never raises."""


class Kind(Protocol):
    """A module of this folder.

    SCHEMES  of the URLs that it takes
    """

    SCHEMES: tuple[str, ...]

    def connect(self, url: str, /) -> Remote:
        """The remote that a URL means. Sends nothing yet. Raises Error for a URL that it cannot be."""


@cache
def schemes() -> dict[str, str]:
    """The module of each scheme."""
    files = (entry.removesuffix(".py") for entry in os.listdir(os.path.dirname(__file__)) if entry.endswith(".py"))
    names = sorted(name for name in files if not name.startswith("_"))
    return {scheme: name for name in names for scheme in _module(name).SCHEMES}


def connect(url: str) -> Remote:
    """The remote that a URL means. Sends nothing yet. Raises Error, which shows no password of the URL."""
    module = _module(_checked(url))
    try:
        return module.connect(url)
    except ValueError:  # of urlsplit, whose words show the host with user and password
        raise Error("the URL of the remote cache has no host that can be one", hint="write https://host/path") from None


def check(url: str) -> None:
    """Raise an Error for a URL that no remote can be reached by, as far as it tells by itself."""
    _checked(url)
    rest = url.partition(":")[2].removeprefix("//")
    if "@" in re.split("[/?#]", rest, maxsplit=1)[0]:
        hint = "leave it out: docs/remote-cache.md says where each store reads them"
        raise Error("the URL of the remote cache contains a user or password", hint=hint)


def _checked(url: str) -> str:
    """The module for a URL."""
    found = _SCHEME.match(url)
    known = schemes()
    scheme = found[1].lower() if found else ""
    if scheme not in known:
        got = (
            f"'{shown(scheme)}:'"
            if scheme
            else "one with a user"
            if "@" in url
            else f"'{shown(url.partition('?')[0])}'"
        )
        hint = did_you_mean(scheme, known) or "a folder is written as file:///path/of/the/folder"
        what = (
            f"expected the URL of a remote cache, beginning with {listed([f'{each}://' for each in known])}, got {got}"
        )
        raise Error(what, hint=hint)
    return known[scheme]


def checked_name(kind: str, digest: str) -> str:
    """The path of something below the remote's own: what stands in a URL or on a disk comes from nowhere else."""
    assert kind in (RECORDS, BLOBS) and _DIGEST.fullmatch(digest), "not a name of a remote"
    return f"{kind}/{digest}"


def _module(name: str) -> Kind:
    return cast(Kind, import_module(f"{__name__}.{name}"))
