"""Files: which one a path means, whether one changed, temporary files that become whole by one rename, and locks."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from modelbuild import interrupt, ownership
from modelbuild.errors import Error

TICK = 0.02
"""Seconds within which two writes may leave the same time stamp: a file must be this old before it is hashed."""

DAY = 86400.0
TEMPORARY = ".tmp-"
GUEST = ".modelbuild-tmp-"
"""Begins the names of temporary files in folders that are not ours, where others may have some of the other kind."""

ASIDE = ".aside-"
"""Begins the names of blobs that are on their way out of a models folder, and may come back: only under its lock may one be removed."""

PARTIAL = ".partial-"
"""Begins the names of downloads that a later command goes on with."""

UNFINISHED = ".unfinished-"
"""Begins the names of artifacts that a later build goes on with."""

_LINK = ".link"

AGAIN = 1000
"""Tries of what fails because a folder went while we were about to use it: a server removes empty ones at any moment."""

PATIENCE = 1.0
"""Seconds of waiting for somebody else before we say so."""

LARGEST = 64 << 20
"""Bytes of the largest manifest, config, params or messages that is read. Real ones have some hundred."""

Waiting = Callable[[str], None]
"""Told, once, the path that is waited for."""

# Neither a link nor a FIFO that somebody put where we expect a file of ours may lead us elsewhere or hold us up.
_PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def signature(info: os.stat_result) -> str:
    """What of a stat must stay the same for the bytes to be taken as the same."""
    return f"{info.st_dev}:{info.st_ino}:{info.st_size}:{info.st_mtime_ns}:{info.st_ctime_ns}"


def unwritten(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether two stats are of one file that nobody wrote to between them: at most a link to it came or went."""
    return all(getattr(before, part) == getattr(after, part) for part in ("st_dev", "st_ino", "st_size", "st_mtime_ns"))


def young(info: os.stat_result, now: float) -> bool:
    """Whether a write at `now` might leave a file with the times that it has."""
    # Whole seconds come from file systems with coarse stamps (FAT, HFS+): give those two seconds.
    tick = 2.0 if info.st_mtime_ns % 1_000_000_000 == 0 else TICK
    # A time that lies days ahead was set by hand, or by a clock that has been put right: no write will give it.
    return any(now + 1e-6 < time + tick and time < now + DAY for time in (info.st_mtime, info.st_ctime))


def reason(error: OSError | ValueError) -> str:
    """What the system says went wrong, as it stands in a sentence of ours; a ValueError is Python's, of a path that can be none."""
    return (getattr(error, "strerror", None) or str(error)).lower()


_REMEDIES = {
    errno.EACCES: "make it readable for your user",
    errno.EPERM: "make it readable for your user",
    errno.ELOOP: "a link leads back to itself: put the file or folder in its place",
    errno.ENAMETOOLONG: "shorten the path",
    errno.EFBIG: "this is not what its name says: name another file",
    errno.EIO: "the disk reports a fault: get the file again, or copy it to another disk",
}


def remedy(error: OSError | ValueError) -> str | None:
    """What to do about a file that cannot be read, as a hint says it."""
    return _REMEDIES.get(error.errno or 0) if isinstance(error, OSError) else None


def existing(path: str) -> str:
    """The path, or the nearest folder above it that is there."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def expand(argument: str, folder: str) -> str:
    """The absolute path that a text means, as Ollama reads FROM, ADAPTER and DRAFT (parser/parser.go, expandPath).

    folder  what a relative path starts from: that of the Modelfile, or of the project
    Raises Error without a place.
    """
    if "\0" in argument:
        raise Error("path contains a NUL character")
    if os.path.isabs(argument) or argument.startswith(("/", "\\")):
        return os.path.abspath(argument)
    if argument.startswith("~"):
        user, _, rest = argument[1:].partition("/")
        return os.path.abspath(os.path.join(_home(user), rest.lstrip("/")))
    return os.path.abspath(os.path.join(folder, argument))


def _home(user: str) -> str:
    """The home folder that the system's list of users gives; $HOME only where there is no such list."""
    try:
        import pwd
    except ImportError:
        return os.path.expanduser("~" + user)
    try:
        return (pwd.getpwnam(user) if user else pwd.getpwuid(os.getuid())).pw_dir
    except KeyError:
        if not user and "HOME" in os.environ:
            return os.environ["HOME"]
        who = f"user '{user}'" if user else f"user number {os.getuid()}"
        raise Error(f"no {who} on this machine, so no home folder for '~{user}'") from None


def free(path: str) -> int | None:
    """Bytes that are free where `path` lies or would lie; None where the system does not tell, as of /proc."""
    import shutil

    try:
        usage = shutil.disk_usage(existing(path))
    except OSError:
        return None
    return usage.free if usage.total else None


def open_plain(path: str, buffering: int = -1) -> BinaryIO:
    """A regular file, links followed, open for reading. Raises OSError, also for a pipe, which would be waited for, or a device."""
    file = open(path, "rb", buffering, opener=_at_once)  # noqa: SIM115 (closed by its user)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", path)
    return file


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def first_bytes(path: str, count: int) -> bytes:
    """How a regular file begins. Raises OSError, also for what is no file."""
    with open_plain(path) as file:
        return file.read(count)


def read_plain(path: str, limit: int) -> tuple[bytes, os.stat_result]:
    """The bytes of a regular file, links followed, and its stat. Raises OSError, also for what is no file or is too large."""
    with open_plain(path) as file:
        info = os.fstat(file.fileno())
        if info.st_size > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        # Python sets aside what it is asked for; a file that grows meanwhile is not read to its end.
        return file.read(info.st_size + 1), info


def sync_folder(path: str) -> None:
    """Have a folder's entries on the disk. A folder that somebody removes meanwhile needs that no more."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Shared folders of virtual machines and old network file systems know no such call; SQLite and git go on, too.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


class Temporary:
    """A new file in a folder, locked while it is written: nobody takes it for what a killed build left."""

    def __init__(self, path: str) -> None:
        import fcntl

        self.path = path
        while True:
            self._descriptor = create(self.path, os.O_RDWR | os.O_EXCL)
            # Against a strict umask: a server of another user reads what becomes of this. Some file systems refuse.
            with contextlib.suppress(OSError):
                os.chmod(self._descriptor, 0o644)
            ownership.hand_over(self._descriptor, os.path.dirname(path))
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            # Somebody who clears up may have been quicker than the lock.
            if stands(self.path, self._descriptor):
                return
            os.close(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def link(self, source: str) -> bool:
        """Become a hard link to another file; False where that cannot be."""
        import fcntl

        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if not ownership.may_link(os.fstat(descriptor), os.path.dirname(self.path)):
                os.close(descriptor)
                return False
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            os.link(source, self.path + _LINK)
            os.replace(self.path + _LINK, self.path)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                return False
            raise
        os.close(self._descriptor)
        self._descriptor = descriptor
        return True

    def close(self) -> None:
        """Remove the file, unless it has been renamed. Never raises: what stays is removed by a later build."""
        remove_temporary(self.path)
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def reflink(source: int, target: int) -> bool:
    """Have an open file share another one's bytes on the disk (btrfs, XFS); False where the file system can't."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.ioctl(target, 0x40049409, source)
        return True
    return False


def cloned(source: str, descriptor: int) -> bool:
    """Whether a file is now one that shares the blocks of another; False where the file system cannot, or the other cannot be read."""
    with contextlib.suppress(OSError), open(source, "rb") as file:
        return reflink(file.fileno(), descriptor)
    return False


def remove_temporary(path: str) -> None:
    """Remove a temporary file that nobody cares for any more. Never raises."""
    for name in (path, path + _LINK):
        with contextlib.suppress(OSError):
            os.unlink(name)


def clear_temporaries(folder: str, mark: str = TEMPORARY) -> None:
    """Remove the temporary files that killed builds left in a folder; `mark` begins their names. Never raises."""
    for entry in abandoned(folder, mark):
        with contextlib.suppress(OSError):
            os.unlink(entry.path)


def abandoned(folder: str, mark: str) -> Iterator[os.DirEntry[str]]:
    """The files of a folder whose names begin with `mark` and that nobody writes, each locked while it is looked at. Never raises."""
    import fcntl

    # The store has a file for each artifact, and a build of one looks through all of their names: mostly there is none of these.
    with contextlib.suppress(OSError):
        if f"\0{mark}" not in "\0".join(["", *os.listdir(folder)]):
            return
    with contextlib.suppress(OSError), os.scandir(folder) as scan:
        for entry in [entry for entry in scan if entry.name.startswith(mark)]:
            with contextlib.suppress(OSError):
                if entry.is_file(follow_symlinks=False):
                    descriptor = os.open(entry.path, os.O_RDONLY | _PLAIN)
                    try:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        yield entry
                    finally:
                        os.close(descriptor)


@contextlib.contextmanager
def lock_file(path: str, waiting: Waiting | None = None, at_most: float = math.inf) -> Iterator[None]:
    """Hold an exclusive lock on a file that is there only while somebody holds it; any death frees it.

    Raises BlockingIOError where somebody else holds it for longer than `at_most` seconds.
    """
    descriptor = _acquire(path, waiting, at_most)
    try:
        yield
    finally:
        _release(path, descriptor)


def _acquire(path: str, waiting: Waiting | None, at_most: float) -> int:
    while True:
        descriptor = _open_lock(path)
        try:
            _wait(path, descriptor, waiting, at_most)
        except BaseException:
            os.close(descriptor)
            raise
        # Whoever held the lock before may have removed the file: then ours is a lock on nothing.
        if stands(path, descriptor):
            return descriptor
        os.close(descriptor)


def _wait(path: str, descriptor: int, waiting: Waiting | None, at_most: float) -> None:
    """Take the lock. Not by a call that blocks: Ctrl-C must be heard while a stopped process holds it."""
    import fcntl

    pause, waited = 0.0005, 0.0
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            interrupt.check()
            if waited >= at_most:
                raise
        time.sleep(pause)
        if waiting is not None and waited <= PATIENCE < waited + pause:
            waiting(path)
        waited += pause
        pause = min(2 * pause, 0.05)


def _open_lock(path: str) -> int:
    try:
        descriptor = create(path, os.O_RDWR)
    except PermissionError:
        if not os.path.lexists(path):
            raise
        # One that another user's killed build left, in a folder that is shared: reading is enough for a lock.
        descriptor = os.open(path, os.O_RDONLY | _PLAIN)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "the lock file is a link", path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "the lock file is not a regular file", path)
    return descriptor


def stands(path: str, descriptor: int) -> bool:
    """Whether an open file is the one that stands at `path`."""
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def make_folder(path: str) -> None:
    """Make a folder and those above it, whatever is removed meanwhile. Raises OSError, as where something else stands in its place."""
    for left in reversed(range(AGAIN)):
        try:
            ownership.make_folders(path)
            return
        except (FileNotFoundError, FileExistsError):
            # Either went meanwhile: a folder above it, or the one that was there already.
            if not left or _is_taken(path):
                raise


def _is_taken(path: str) -> bool:
    """Whether something that is no folder stands there, told by one look."""
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return os.path.islink(path)


def create(path: str, flags: int) -> int:
    """Open a file, made with its folder where it is not there; no link is followed."""
    for _ in range(AGAIN):
        try:
            return os.open(path, flags | os.O_CREAT | _PLAIN, 0o644)
        except FileNotFoundError:
            # A build that ends removes the folder of temporary files when it is empty.
            make_folder(os.path.dirname(path))
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _release(path: str, descriptor: int) -> None:
    with contextlib.suppress(OSError):
        if stands(path, descriptor):
            os.unlink(path)
    with contextlib.suppress(OSError):
        os.close(descriptor)
