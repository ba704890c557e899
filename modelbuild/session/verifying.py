"""Whether the blobs of the cache and of a models folder are what their names say, and which models the others break."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from modelbuild import interrupt, page_cache
from modelbuild.digest import CHUNK
from modelbuild.engine.kept import Kept
from modelbuild.engine.store import ARTIFACT, Store
from modelbuild.errors import Error, Stopped
from modelbuild.files import open_plain, reason
from modelbuild.ollama.library import Library
from modelbuild.ollama.survey import survey
from modelbuild.publish.aside import Aside
from modelbuild.tuples import NamedTuple

Progress = Callable[[int, int], None]
"""Told bytes done and in all, from any thread."""


class Blob(NamedTuple):
    """A file that is to be hashed, with all its names: hard links are read once."""

    digest: str
    paths: tuple[str, ...]
    info: os.stat_result


class Wrong(NamedTuple):
    """A blob that is not what a model needs.

    paths   where it lies, or would lie
    models  the names that need it (`host/namespace/model/tag`)
    seen    its stat before it was read
    why     `damaged`, `missing`, `another size`, `a folder`, `not a plain file`, or why it cannot be read
    action  what becomes of it: `set aside` (the next build makes it again), `not ours`, or nothing
    """

    digest: str
    paths: tuple[str, ...]
    models: tuple[str, ...]
    why: str
    seen: os.stat_result | None = None
    action: str = ""


class Verified(NamedTuple):
    """What was looked at, and what is wrong with it."""

    files: int
    bytes: int
    wrong: Sequence[Wrong]
    faults: Sequence[Error]


def verify(store: Store, library: Library, jobs: int, progress: Progress, mend: bool = True) -> Verified:
    """Hash every blob, and hold the manifests against them. Damaged blobs of ours are set aside. Raises Error."""
    blobs = list(_blobs(store, library))
    damaged = _hashed(blobs, jobs, progress)
    found, users = survey(library), _users(library)
    wrong = [
        Wrong(blob.digest, blob.paths, tuple(users.get(blob.digest, {})), damaged[blob], blob.info)
        for blob in blobs
        if blob in damaged
    ]
    rotten = {blob.digest for blob in damaged}
    wrong += [each for each in _unfit(library, users) if each.digest not in rotten]
    if mend and damaged:
        # Ctrl-C is heard when nothing is half set aside.
        with interrupt.deferred(lambda: None):
            wrong = _mended(store, library, wrong)
    faults = [fault for fault in found.faults if not any(label == "missing" for label, _ in fault.facts)]
    return Verified(len(blobs), sum(blob.info.st_size for blob in blobs), wrong, faults)


def _blobs(store: Store, library: Library) -> Iterator[Blob]:
    found: dict[tuple[int, int, str], Blob] = {}
    for path, info in [*_of_folder(library), *store.contents().items()]:
        digest = os.path.basename(path).replace("-", ":", 1)
        known = found.get((info.st_dev, info.st_ino, digest))
        paths = (*known.paths, path) if known else (path,)
        found[info.st_dev, info.st_ino, digest] = Blob(digest, paths, info)
    # The largest first: no thread is busy with one when the others are done.
    return iter(sorted(found.values(), key=lambda blob: (-blob.info.st_size, blob.digest)))


def _of_folder(library: Library) -> Iterator[tuple[str, os.stat_result]]:
    try:
        names = os.listdir(library.blobs)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise Error(f"cannot list the models folder: {reason(error)}", path=library.blobs) from None
    for name in filter(ARTIFACT.fullmatch, names):
        path = os.path.join(library.blobs, name)
        try:
            info = os.stat(path)
        except OSError:
            continue
        if stat.S_ISREG(info.st_mode):
            yield path, info


def _users(library: Library) -> dict[str, dict[str, int]]:
    """digest -> the names that need it, each with the size that its manifest says."""
    found: dict[str, dict[str, int]] = {}
    for name in library.names():
        if (served := library.served(name.path())) is not None:
            for layer in served.layers:
                found.setdefault(layer.digest, {})[name.path()] = layer.size
    return found


def _unfit(library: Library, users: Mapping[str, Mapping[str, int]]) -> list[Wrong]:
    """The blobs that are not there, or not as large as a manifest says."""

    def look(users: Mapping[str, Mapping[str, int]]) -> dict[tuple[str, str], str]:
        found = {}
        for digest, names in users.items():
            there, path = library.size(digest), library.blob_path(digest)
            odd = (
                ""
                if there is None or os.path.isfile(path)
                else "a folder"
                if os.path.isdir(path)
                else "not a plain file"
            )
            for name, size in names.items():
                if odd or there != size:
                    found[digest, name] = odd or ("missing" if there is None else "another size")
        return found

    # A build may have replaced a manifest, and removed what it named, while we looked: what is wrong is so twice.
    first = look(users)
    again = look(_users(library)) if first else {}
    wrong: dict[tuple[str, str], list[str]] = {}
    for (digest, name), why in sorted(first.items()):
        if again.get((digest, name)) == why:
            wrong.setdefault((digest, why), []).append(name)
    return [Wrong(digest, (library.blob_path(digest),), tuple(names), why) for (digest, why), names in wrong.items()]


def _hashed(blobs: Sequence[Blob], jobs: int, progress: Progress) -> Mapping[Blob, str]:
    """What is wrong with those blobs that are not whole."""
    stop, mutex = threading.Event(), threading.Lock()
    total, done = sum(blob.info.st_size for blob in blobs), 0

    def read(count: int) -> None:
        nonlocal done
        if stop.is_set():
            raise Stopped
        with mutex:
            done += count
            now = done
        progress(now, total)

    wrong = {}
    with interrupt.deferred(stop.set), ThreadPoolExecutor(jobs, thread_name_prefix="hash") as pool:
        try:
            for blob, why in zip(blobs, pool.map(lambda blob: _fault(blob, read), blobs), strict=True):
                if why is not None:
                    wrong[blob] = why
        except BaseException as error:
            stop.set()
            pool.shutdown(cancel_futures=True)
            if not isinstance(error, Stopped):
                raise
    return wrong


def _fault(blob: Blob, read: Callable[[int], None]) -> str | None:
    """What is wrong with one file; None also for one that somebody has removed since."""
    sha = hashlib.sha256()
    try:
        with open_plain(blob.paths[0]) as file:
            while data := file.read(CHUNK):
                sha.update(data)
                read(len(data))
            page_cache.forget(file.fileno())
    except FileNotFoundError:
        return None
    except OSError as error:
        return reason(error)
    return None if "sha256:" + sha.hexdigest() == blob.digest else "damaged"


def _mended(store: Store, library: Library, wrong: Sequence[Wrong]) -> list[Wrong]:
    """Take the damaged blobs out of the way, as far as they are ours."""
    # Nobody may take it from a stat that there is nothing to do: bytes that rot on the disk change none.
    Kept(store.database).drop("stamp:")
    aside = Aside(library.root, store)
    found = []
    try:
        for each in wrong:
            try:
                found.append(each._replace(action=_taken(aside, each)) if each.why == "damaged" else each)
            except OSError as error:
                what = f"a damaged blob cannot be set aside: {reason(error)}"
                raise Error(what, path=each.paths[0]) from error
    finally:
        aside.tidy()
    return found


def _taken(aside: Aside, wrong: Wrong) -> str:
    """Take one damaged blob out of the way; returns what was done."""
    assert wrong.seen is not None
    for path in wrong.paths:
        if os.path.dirname(path) != aside.library.blobs:
            aside.take_own(wrong.digest, path, wrong.seen)
        elif aside.may_take(wrong.digest, wrong.models):
            aside.take(wrong.digest, path, wrong.seen)
        else:
            aside.distrust(wrong.digest, path)
            return "not ours"
    return "set aside"
