"""Run as a script, starts the program of its arguments in namespaces of its own, and ends it when its own input ends.

    _contain.py DESCRIPTOR FOLDER PROGRAM ARGUMENT…

The program has no network, can write only in FOLDER, and everything that it starts ends with it: as far as the system gives an
ordinary user these namespaces. The descriptor hears what it gave, in words of `contained.Given`, a space between them.

Source: Linux unshare(2), user_namespaces(7), mount_setattr(2)
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Sequence

NEWNS, NEWUSER, NEWPID, NEWNET = 0x00020000, 0x10000000, 0x20000000, 0x40000000
_REC, _PRIVATE, _BIND = 0x4000, 0x40000, 0x1000
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _RDONLY = 442, -100, 0x8000, 1

WAYS: tuple[tuple[int, str], ...] = (
    # Of root alone, who reads the files of all users this way.
    (NEWNET | NEWNS | NEWPID, "network files processes"),
    (NEWUSER | NEWNET | NEWNS | NEWPID, "network files processes"),
    (NEWUSER | NEWNET, "network"),
    (0, ""),
)
"""What is tried, in order: namespaces, and what they keep the program from."""


class _Attributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def enter(flags: int, folder: str) -> None:
    """Put this process into new namespaces. Raises OSError where the system refuses; it is of no use then."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    _checked(libc.unshare(flags))
    maps = (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1"))
    for name, text in maps if flags & NEWUSER else ():
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    if flags & NEWNS:
        _checked(libc.mount(b"none", b"/", None, _REC | _PRIVATE, None))
        _set(libc, "/", _AT_RECURSIVE, _Attributes(set=_RDONLY))
        _checked(libc.mount(os.fsencode(folder), os.fsencode(folder), None, _BIND, None))
        _set(libc, folder, 0, _Attributes(clear=_RDONLY))


def _set(libc: ctypes.CDLL, path: str, flags: int, attributes: _Attributes) -> None:
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    _checked(
        libc.syscall(ctypes.c_long(_MOUNT_SETATTR), _AT_FDCWD, os.fsencode(path), flags, ctypes.byref(attributes), size)
    )


def start(folder: str, command: Sequence[str], told: int) -> int:
    """Start the program as well contained as can be, and tell how; returns the number of its process."""
    for flags, words in WAYS:
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ours)
            os.close(told)
            _become(flags, folder, command, theirs)
        os.close(theirs)
        with os.fdopen(ours, "rb") as ready:
            is_ready = bool(ready.read(1))
        if is_ready:
            # Whoever would hear it may be gone; then the end of the input ends the program.
            with contextlib.suppress(BrokenPipeError):
                os.write(told, words.encode())
            os.close(told)
            return child
        os.waitpid(child, 0)
    raise AssertionError


def _become(flags: int, folder: str, command: Sequence[str], ready: int) -> None:
    """Turn this process into the program, or into the one that waits for it. Does not return."""
    try:
        here = os.getcwd()
        if flags:
            enter(flags, folder)
        if flags & NEWPID:
            # Only a child is in the new namespace of processes: when it ends, so does everything in there.
            child = os.fork()
            if child:
                os.close(ready)
                os._exit(_code(os.waitpid(child, 0)[1]))
        # The folder that was entered before is the one that cannot be written.
        os.chdir(here)
    except (OSError, AttributeError):  # another system has no such calls
        os._exit(1)
    os.write(ready, b"+")
    os.close(ready)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    try:
        os.execv(command[0], [*command])
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(126)


def _code(status: int) -> int:
    """The exit code of a process, of one that a signal ended as a shell has it."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def main() -> int:
    told, folder, *command = sys.argv[1:]
    assert os.getpgrp() == os.getpid(), "it ends its whole group"
    child = start(folder, command, int(told))

    def listen() -> None:
        while os.read(0, 1 << 10):
            pass
        # Whoever started us is gone.
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=listen, daemon=True).start()
    return _code(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
