"""Whether a models folder can be written: checked before any work; and the errors if a write fails later."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from modelbuild import ownership
from modelbuild.engine.graph import Output
from modelbuild.errors import Error
from modelbuild.files import ASIDE, GUEST, TEMPORARY, existing, free, reason
from modelbuild.ollama.library import SCRATCH, Library

LONGEST = 255
"""Bytes of the longest name of a file."""


def check_writable(library: Library) -> None:
    """Raise an Error that says what to do where a models folder cannot be written."""
    lock = os.path.join(library.root, ".modelbuild", "lock")
    for folder in map(existing, (library.root, library.blobs, library.manifests)):
        if not os.path.isdir(folder):
            raise refused(library.root, NotADirectoryError(errno.ENOTDIR, "not a folder", folder))
        if (error := denied(folder)) is not None:
            raise refused(library.root, error)
    scratch = os.path.join(library.root, SCRATCH)
    check_links(library, scratch, library.blobs, library.manifests)
    # The folder may be a link to another disk, the lock may not.
    _expect(scratch, "folder", os.stat, stat.S_ISDIR)
    _expect(lock, "regular file", os.lstat, stat.S_ISREG)


def _expect(path: str, expected: str, look: Callable[[str], os.stat_result], right: Callable[[int], bool]) -> None:
    """Raise an Error where something else stands; other builds make and remove both at any moment, so it is one look."""
    try:
        stands = right(look(path).st_mode)
    except OSError:
        stands = not os.path.islink(path)
    if not stands:
        what = f"the models folder cannot be written: its own '{os.path.basename(path)}' is not a {expected}"
        raise Error(what, path=path, hint="remove it; a build makes it again")


def check_links(library: Library, *folders: str) -> None:
    """Raise an Error where a folder of a models folder is reached by a link that root must not follow."""
    for folder in folders:
        link = ownership.stray_link(folder, library.root)
        if link is not None:
            import shlex

            user = owner(library.root)
            what = f"root does not follow this link of '{user}': '{os.readlink(link)}' does not belong to '{user}'"
            hint = f"run as that user (`sudo -u {user} modelbuild …`), or remove the link; if right: chown -h root {shlex.quote(link)}"
            raise Error(what, path=link, hint=hint)


def denied(folder: str) -> OSError | None:
    """The error with which the system would answer a write into a folder, as far as it tells."""
    if os.access(folder, os.W_OK | os.X_OK):
        return None
    number = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
    return OSError(number, os.strerror(number), folder)


def check_apart(library: Library, store: str) -> None:
    """Raise an Error where a models folder is where the store lies."""
    if _same_file(library.blobs, os.path.join(store, "blobs")):
        raise Error(
            "the cache and the models folder share a 'blobs' folder",
            path=library.root,
            hint="name a separate cache folder with --cache or $MODELBUILD_CACHE",
        )


def check_name(library: Library, name: str) -> None:
    """Raise an Error where the manifest of a name (`host/namespace/model/tag`) cannot be put."""
    if (error := _misplaced(library, name)) is not None:
        raise error


def misplaced(library: Library, output: Output) -> list[Error]:
    """What stands against writing the manifests of an output, as far as a look at its names tells."""
    return [error for name in output.names if (error := _misplaced(library, name)) is not None]


def _misplaced(library: Library, name: str) -> Error | None:
    for part in name.split("/"):
        if len(part.encode()) > LONGEST:
            return Error(
                f"the name '{name[:60]}…' has a part of {len(part.encode())} bytes, too long for a file name",
                path=library.root,
                hint=f"give each part of the name at most {LONGEST} bytes",
            )
    path = library.manifest_path(name)
    try:
        info = os.stat(path)
    except FileNotFoundError:
        above = existing(path)
        return None if os.path.exists(above) else _dangling(above)
    except NotADirectoryError:
        return Error("a file is in the place of a folder of manifests", path=existing(path), hint="move it away")
    except OSError as error:
        return refused(library.root, error)
    if stat.S_ISREG(info.st_mode):
        return None
    what = "a folder" if stat.S_ISDIR(info.st_mode) else "something that is not a file"
    return Error(f"{what} is in the place of the manifest of '{name}'", path=path, hint="move it away")


def refused(root: str, error: OSError) -> Error:
    """Say why a models folder cannot be written, and what to do."""
    place = named(error, root)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        left = free(root)
        return Error(
            "no space left for the models folder",
            path=root,
            facts=[("free", f"{left:,} bytes")] if left is not None else [],
            hint="free some space, or name another folder with --models; finished steps are cached",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "name your own folder with --models, $OLLAMA_MODELS or `models` in [project]"
        if (user := owner(root)) is not None:
            hint = f"the folder belongs to '{user}': run as that user (`sudo -u {user} modelbuild …`), or {hint}"
        why = "read-only file system" if error.errno == errno.EROFS else "permission denied"
        return Error(f"the models folder cannot be written: {why}", path=root, hint=hint)
    if isinstance(error, NotADirectoryError) and os.path.islink(place) and not os.path.exists(place):
        return _dangling(place)
    if isinstance(error, IsADirectoryError):
        what = "the models folder cannot be written: a folder is in the place of this file"
        return Error(what, path=place, hint="move this folder away; a build puts the file there")
    hint = "name another folder with --models, $OLLAMA_MODELS or `models` in [project]"
    return Error(f"the models folder cannot be written: {reason(error)}", path=place, hint=hint)


def _dangling(place: str) -> Error:
    what = f"'{os.path.basename(place)}' is a link to '{os.readlink(place)}', which does not exist"
    hint = "make that folder, or remove the link"
    return Error(f"the models folder cannot be written: {what}", path=place, hint=hint)


def named(error: OSError, otherwise: str) -> str:
    """The path that an error of the system is about, as users know it: no temporary file of ours."""
    # Of a rename the second name is what stands in the way.
    path = error.filename2 or error.filename
    if not isinstance(path, str) or any(
        part == SCRATCH or part.startswith((TEMPORARY, ASIDE, GUEST)) for part in path.split(os.sep)
    ):
        return otherwise
    return path


def owner(root: str) -> str | None:
    """The user that a folder, or the nearest one above it, belongs to; None where that is us, or root."""
    try:
        user = os.stat(existing(root)).st_uid
        if user in (0, os.geteuid()):
            return None
        import pwd

        return pwd.getpwuid(user).pw_name
    except (OSError, ImportError):
        return None
    except KeyError:
        return f"#{user}"


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)
