"""The remote cache of a session: joined with the store for one command, and left again."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from modelbuild import digest as digests
from modelbuild.engine.action import ABSENT
from modelbuild.engine.build import Event
from modelbuild.engine.graph import Graph, Source, Step
from modelbuild.errors import Error
from modelbuild.ollama.library import is_blob
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.project import lock
    from modelbuild.project.remote_cache import RemoteCache
    from modelbuild.session.session import Session
    from modelbuild.sharing.cache import SharedCache
    from modelbuild.sharing.contents import Contents, Running
    from modelbuild.sharing.signing import Signer

NOTING = ("both", "write")
"""The modes in which a build notes the digests of weights in the lock."""

MOST_TOLD = 4
"""Weights files that a warning names."""

_BLOB = re.compile("sha256-([0-9a-f]{64})")


class Shared(NamedTuple):
    """A remote cache that is joined, and the sha256 of the files that its keys are made of."""

    cache: SharedCache
    contents: Contents


@contextmanager
def joined(
    session: Session, tell: Callable[[Event], None], scratch: Callable[[], str | None] | None = None
) -> Iterator[Shared | None]:
    """Within, the session's cache asks the project's remote too; None where there is none, or it is not to be used.

    scratch  the folder that large artifacts are made in; None: they are made in the store
    """
    declared = session.remote_cache
    if not _is_used(session, declared):
        yield None
        return
    shared = connected(session, declared, tell, scratch)
    before = session.cache
    session.use(shared.cache)
    try:
        yield shared
        shared.cache.tell_faults()
    finally:
        session.use(before)
        shared.cache.close()


def check(session: Session) -> None:
    """Raise an Error where the remote cache that a build is to use can be none, whatever it would answer. Sends nothing."""
    declared = session.remote_cache
    if _is_used(session, declared):
        from modelbuild import remotes

        _signer(session, declared)
        remotes.connect(declared.url).close()


def _is_used(session: Session, declared: RemoteCache) -> bool:
    return bool(declared.url) and declared.mode != "off" and (not session.settings.offline or _is_here(declared))


def _signer(session: Session, declared: RemoteCache) -> Signer | None:
    """What signs the results that are sent; None where nothing does. Raises Error for a file that has no key."""
    # The home folder is that of whoever builds now, not of whoever read the project first.
    path = os.path.expanduser(declared.sign)
    # Who has no key of those that others trust may still read, unless told to write: a key lies on few machines.
    is_asked = declared.mode == "write" or session.settings.remote_cache == "both"
    if declared.mode not in ("both", "write") or not path or not (is_asked or os.path.lexists(path)):
        return None
    from modelbuild.sharing.signing import Signer

    return Signer(path)


def _is_here(declared: RemoteCache) -> bool:
    """Whether a remote is reached without a network of ours."""
    return declared.url.startswith("file:")


def connected(
    session: Session,
    declared: RemoteCache,
    tell: Callable[[Event], None],
    scratch: Callable[[], str | None] | None = None,
) -> Shared:
    """The cache of a session with a remote. Sends nothing yet."""
    from modelbuild import remotes
    from modelbuild.engine.stat_cache import StatCache
    from modelbuild.project import lock
    from modelbuild.session import pins
    from modelbuild.sharing.cache import SharedCache, Terms
    from modelbuild.sharing.contents import Contents
    from modelbuild.sharing.keys import Keys
    from modelbuild.sharing.signing import Trust

    pinned = lock.weights(pins.read(session), session.root)

    def absent(source: Source) -> str | None:
        """The sha256 of a source that is not here: by the lock, or by the name of a blob in the manifest that the lock pins."""
        if (known := pinned.get(source.path)) is not None:
            return known.sha256 if known.known == source.known else None
        found = _BLOB.fullmatch(os.path.basename(source.path))
        return f"sha256:{found[1]}" if found else None

    contents = Contents(StatCache(session.store.database), _running, absent, tell)
    reads, writes = declared.mode in ("both", "read"), declared.mode in ("both", "write")
    signer = _signer(session, declared)
    if signer is None and (declared.sign or declared.trust):
        writes = False
    trust = Trust(declared.trust) if declared.trust else None
    if signer is not None and trust is not None and not trust.has(signer):
        hint = f"add its line to trust: '{signer.public}'"
        what = "the key of [cache] sign is not in trust: this project takes nothing that it signs"
        tell({"event": "remark", "remark": Error(what, path=declared.sign, hint=hint), "minor": False})
    terms = Terms(reads, writes, lambda step: is_shared(step, foreign=declared.foreign), signer, trust)
    remote = remotes.connect(declared.url)
    keys = Keys(contents.sha256)
    where = scratch or (lambda: None)
    return Shared(SharedCache(session.store, remote, keys, terms, where, tell, contents.tensors), contents)


def forbidden(session: Session, what: str) -> Error:
    """The error for a use of the remote cache that the mode does not allow."""
    mode = session.remote_cache.mode
    if session.settings.remote_cache is not None:
        hint = "leave the option out, or give --remote-cache both"
        return Error(f"--remote-cache {mode} does not allow {what}", hint=hint)
    hint = "change it there, or give --remote-cache both for one command"
    return Error(f'[cache] mode = "{mode}" does not allow {what}', path=session.file, hint=hint)


def not_mutual(session: Session) -> Error | None:
    """Why the project's remote cache is not both read and written; None where it is, or there is none."""
    declared = session.remote_cache
    if not declared.url or session.cache.is_mutual:
        return None
    if declared.mode != "both":
        return forbidden(session, "--executor, whose workers need a cache that is read and written")
    what = "--executor needs a key that signs results, and this machine has none"
    return Error(what, hint="name its file: [cache] sign = PATH")


def is_shared(step: Step, *, foreign: bool) -> bool:
    """Whether a step's result is worth asking for: not what is made of a few words, nor what another run may make otherwise."""
    from modelbuild import steps

    makes = steps.module(step.kind).MAKES
    return bool(step.inputs) and makes != "manifest" and (foreign or makes != "foreign")


def pin_weights(
    session: Session, shared: Shared, graph: Graph, made: Collection[str] | None = None, *, whole: bool = True
) -> None:
    """Note in the lock the digests of the weights that a build has read: a machine without them finds what was made of them.

    Nothing is noted of weights that a step reads of which nothing was `made`; None: all was.
    Where that changes the lock, and the session's plan is the `whole` project's, pins of files go that no model is made of.

    Nothing is noted with --locked, nor where the lock cannot be written, or would be too long. Raises no Error.
    """
    from modelbuild.errors import Errors
    from modelbuild.project import lock
    from modelbuild.session import pins

    if session.settings.locked or session.remote_cache.mode not in NOTING:
        return
    with suppress(Error, Errors):
        new: dict[str, str | None] = {}
        heads: dict[str, Mapping[str, lock.Head]] = {}
        failed = {
            ref for step in graph.steps.values() if made is not None and step.name not in made for _, ref in step.inputs
        }
        for name, source in _pinnable(session, graph):
            if source in failed:
                continue
            with suppress(Error, OSError):
                if (pin := _pin(session, shared, source, heads)) is not None:
                    new[name] = pin
        before = pins.read(session)
        is_new = any(before.get(name) != pin for name, pin in new.items())
        if is_new and whole and not session.broken and pins.is_whole(session):
            new.update((name, None) for name in pins.unused_weights(session, before))
        after = {name: pin for name, pin in {**before, **new}.items() if pin is not None}
        if is_new and len(lock.encode(after)) <= lock.LIMIT:
            pins.write(session, new, over=True)


def send_made_before(session: Session, shared: Shared, graph: Graph) -> None:
    """Send too what was made by builds that might not send, of weights that the lock does not pin as they are.

    Otherwise the lock would tell of weights of which nothing can be found. Raises no Error.
    """
    from modelbuild.engine.action import Made
    from modelbuild.engine.standing import look_up
    from modelbuild.errors import Error

    if not shared.cache.writes or session.settings.locked or not unpinned(session, graph):
        return
    with suppress(Error):
        standing = look_up(graph, session.records, session.sources.read(graph.sources()))
        for name, result in standing.results.items():
            action = standing.actions[name].digest
            if shared.cache.shares(graph.steps[name]) and not shared.cache.uploads.took(action):
                with suppress(OSError):
                    if session.store.has(result):
                        note = session.store.notes.read(result.artifact)
                        shared.cache.uploads.add(action, Made(result, note.tensors if note is not None else ()))


def unpinned(session: Session, graph: Graph) -> list[lock.Change]:
    """What the lock would say otherwise of the weights that a build has read, by their engine's digests alone; nothing without a remote."""
    from modelbuild.errors import Error, Errors
    from modelbuild.project import lock
    from modelbuild.session import pins

    if not session.remote_cache.url:
        return []
    found = []
    with suppress(Error, Errors):
        before = pins.read(session)
        pinned = lock.weights(before, session.root)
        for name, source in _pinnable(session, graph):
            known = pinned.get(source.path)
            with suppress(Error, OSError):
                digest = session.sources.digest(source)
                if digest != ABSENT and (known is None or known.xxh3 != digest):
                    found.append(lock.Change(lock.shown_name(name), known.xxh3 if known else None, digest))
    return found


def owed(session: Session, graph: Graph, shared: Shared | None) -> list[str]:
    """The modes in which a build would note in the lock what this one may not, as a stamp has them."""
    if shared is not None and not session.settings.locked and session.remote_cache.mode in NOTING:
        return []
    modes = [*NOTING, *([""] if session.declared_cache.mode in NOTING else [])]
    return modes if unpinned(session, graph) else []


def warn_of_other_weights(session: Session, graph: Graph, tell: Callable[[Event], None]) -> None:
    """With --locked, say which weights are others than the lock pins: no error, since who makes them must be able to build."""
    if not session.settings.locked or not (found := unpinned(session, graph)):
        return
    from modelbuild.errors import Error
    from modelbuild.project import lock

    others = [change for change in found if change.before]
    pinned = "other weights than those that are here" if others else "no digests of some weights"
    facts = list(lock.told((others or found)[:MOST_TOLD]))
    if more := len(others or found) - len(facts):
        facts.append(("and", f"{more} more"))
    warning = Error(
        f"the lock pins {pinned}, and --locked is given",
        facts=facts,
        hint="build without --locked, and commit the lock: who has no weights finds what is made of them by it",
    )
    tell({"event": "remark", "remark": warning, "minor": False})


def _pinnable(session: Session, graph: Graph) -> Iterator[tuple[str, Source]]:
    """The weights of a graph that are here and that the lock may pin, by their names there."""
    from modelbuild.project import lock

    for source in _weights(graph):
        name = lock.weights_name(source.path, session.root)
        if name is not None and not is_blob(source.path) and not source.is_away():
            yield name, source


def _weights(graph: Graph) -> dict[Source, None]:
    """The weights that a graph is made from, and importance matrices."""
    inputs = (each for step in graph.steps.values() for each in step.inputs)
    return {ref: None for role, ref in inputs if isinstance(ref, Source) and (ref.is_weights or role == "imatrix")}


def _pin(session: Session, shared: Shared, source: Source, heads: dict[str, Mapping[str, lock.Head]]) -> str | None:
    """The pin of a weights file; None for one that is no longer what the build has read. Raises Error and OSError.

    heads  what is said of the checkpoints so far, by folder: to tell it of one takes the heads of all its files
    """
    from modelbuild.project import lock

    digest = session.sources.digest(source)
    sha256 = shared.contents.sha256(source, digest)
    if sha256 is None:
        return None
    head: lock.Head | None = None
    if source.form == "gguf":
        from modelbuild.checkpoint import ggufs

        head = ggufs.classify(source.path).spelled()
    elif source.is_weights:
        from modelbuild.plan import given

        folder, file = os.path.split(source.path)
        if folder not in heads:
            heads[folder] = given.for_lock(folder)
        head = heads[folder].get(file)
    if head is None:
        return f"{sha256} {digest}"
    # The head is that of this content.
    session.sources.holds(source, digest)
    return lock.with_head(f"{sha256} {digest}", head)


def _running(source: Source) -> Running:
    """Takes the engine's digest of a source whose bytes are given in their order."""
    if not source.is_weights:
        return digests.Xxh3()
    from modelbuild.tensors import formats

    return formats.get(source.form).running(source.path)
