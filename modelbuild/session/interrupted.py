"""What commands left for a later one: unfinished layers and downloads, in the cache and in models folders; and spare layers in these."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

from modelbuild.engine import garbage, spare
from modelbuild.engine.garbage import Held
from modelbuild.engine.store import Store
from modelbuild.files import PARTIAL, UNFINISHED, lock_file
from modelbuild.ollama.library import SCRATCH, Library
from modelbuild.registry.partial import JOURNAL, LOCK


def in_cache(store: Store) -> list[Held]:
    """The unfinished layers in the cache."""
    return list(_in(store.scratch))


def in_models(library: Library) -> list[Held]:
    """The unfinished layers and downloads of a models folder."""
    return [each for folder in _folders(library) for each in _in(folder)]


def layers(library: Library) -> list[Held]:
    """The unfinished layers of a models folder, as far as no command writes them."""
    return [each for each in in_models(library) if not _is_download(each.path) and not is_in_use(each)]


def in_models_folders(store: Store, folders: Iterable[str] = ()) -> list[Held]:
    """Those of every models folder that was written from this cache, and of some more."""
    return [each for library in _libraries(store, folders) for each in in_models(library)]


def spares(store: Store, library: Library) -> list[Held]:
    """The layers of a models folder that no model of it uses, and that are kept for a later build."""
    found = [each for folder in _folders(library) for each in spare.files(folder)]
    return garbage.placed(store, found)


def spares_of_all(store: Store, folders: Iterable[str] = ()) -> list[Held]:
    """Those of every models folder that was written from this cache, and of some more."""
    return [each for library in _libraries(store, folders) for each in spares(store, library)]


def _libraries(store: Store, folders: Iterable[str]) -> list[Library]:
    known = [folder for (folder,) in store.database.rows("select distinct folder from wrote")]
    return [Library(root) for root in dict.fromkeys(map(os.path.realpath, (*folders, *known)))]


def _folders(library: Library) -> list[str]:
    """Where commands leave files in a models folder."""
    folders = (os.path.realpath(os.path.join(each, SCRATCH)) for each in (library.root, library.blobs))
    return list(dict.fromkeys(folders))


def _in(folder: str) -> Iterator[Held]:
    with contextlib.suppress(OSError), os.scandir(folder) as scan:
        for entry in scan:
            is_ours = entry.name.startswith((UNFINISHED, PARTIAL)) and not entry.name.endswith((JOURNAL, LOCK))
            with contextlib.suppress(OSError):
                if is_ours and entry.is_file(follow_symlinks=False):
                    info = entry.stat(follow_symlinks=False)
                    yield Held(entry.path, None, 512 * info.st_blocks, 0.0, info.st_mtime)


def is_in_use(each: Held) -> bool:
    """Whether a command that runs writes the file."""
    import fcntl

    try:
        path = each.path + LOCK if _is_download(each.path) else each.path
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return not isinstance(error, FileNotFoundError)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def remove(each: Held) -> bool:
    """Remove a file, unless a command writes it; returns whether it is gone. Never raises."""
    if not _is_download(each.path):
        return garbage.unlink_unfinished(each.path)
    with contextlib.suppress(OSError), lock_file(each.path + LOCK, at_most=0):
        for path in (each.path + JOURNAL, each.path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        return True
    return False


def _is_download(path: str) -> bool:
    return os.path.basename(path).startswith(PARTIAL)
