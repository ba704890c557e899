"""The remote cache of a session: joined with the store for one command, and left again."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modelbuild import digest as digests
from modelbuild.engine.build import Event
from modelbuild.engine.graph import Source, Step

if TYPE_CHECKING:
    from modelbuild.project.remote_cache import RemoteCache
    from modelbuild.session.session import Session
    from modelbuild.sharing.cache import SharedCache
    from modelbuild.sharing.contents import Running

_BLOB = re.compile("sha256-([0-9a-f]{64})")


@contextmanager
def joined(
    session: Session, tell: Callable[[Event], None], scratch: Callable[[], str | None] | None = None
) -> Iterator[SharedCache | None]:
    """Within, the session's cache asks the project's remote too; None where there is none, or it is not to be used.

    scratch  the folder that large artifacts are made in; None: they are made in the store
    """
    declared = session.remote_cache
    if not declared.url or declared.mode == "off" or (session.settings.offline and not _is_here(declared)):
        yield None
        return
    shared = _cache(session, declared, scratch or (lambda: None), tell)
    before = session.cache
    session.use(shared)
    try:
        yield shared
    finally:
        session.use(before)
        shared.close()


def _is_here(declared: RemoteCache) -> bool:
    """Whether a remote is reached without a network of ours."""
    return declared.url.startswith("file:")


def _cache(
    session: Session, declared: RemoteCache, scratch: Callable[[], str | None], tell: Callable[[Event], None]
) -> SharedCache:
    from modelbuild import remotes
    from modelbuild.engine.stat_cache import StatCache
    from modelbuild.sharing.cache import SharedCache, Terms
    from modelbuild.sharing.contents import Contents
    from modelbuild.sharing.keys import Keys

    contents = Contents(StatCache(session.store.database), _running, _absent)
    reads, writes = declared.mode in ("both", "read"), declared.mode in ("both", "write")
    terms = Terms(reads, writes, lambda step: is_shared(step, foreign=declared.foreign))
    remote = remotes.connect(declared.url)
    return SharedCache(session.store, remote, Keys(contents.sha256), terms, scratch, tell)


def is_shared(step: Step, *, foreign: bool) -> bool:
    """Whether a step's result is worth asking for: not what is made of a few words, nor what another run may make otherwise."""
    from modelbuild import steps

    makes = steps.module(step.kind).MAKES
    return bool(step.inputs) and makes != "manifest" and (foreign or makes != "foreign")


def _running(source: Source) -> Running:
    """Takes the engine's digest of a source whose bytes are given in their order."""
    if not source.is_weights:
        return digests.Xxh3()
    from modelbuild.tensors import formats

    return formats.get(source.form).running(source.path)


def _absent(source: Source) -> str | None:
    """The sha256 of a blob of a models folder that was removed: its name, by the manifest that the lock pins."""
    found = _BLOB.fullmatch(os.path.basename(source.path))
    return f"sha256:{found[1]}" if found else None
