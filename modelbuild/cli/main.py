"""The command line: start quickly, run one command, turn every end into an exit code."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelbuild import __version__
from modelbuild.cli.invocation import (
    BROKEN_PIPE,
    COMPLETE,
    FAILED,
    GOOD,
    INTERNAL,
    INTERRUPTED,
    WRONG,
    guarded,
)

if TYPE_CHECKING:
    from typing import TextIO

WINDOWS = (
    "modelbuild runs on Linux and macOS; on Windows, install and run it inside WSL (the Windows Subsystem for Linux)"
)


def program() -> int:
    """The entry point of the program. Objects of imports are not garbage, so the collector is off until a command begins."""
    if sys.platform == "win32":
        # Before anything else is imported: file locks, and much else that is needed, are not there.
        sys.stderr.write(f"error: {WINDOWS}\n")
        return WRONG
    gc.disable()
    return main()


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = sys.argv[1:] if args is None else list(args)
    if sys.stdout is None or sys.stderr is None:
        _stand_in()
    try:
        if COMPLETE in os.environ:
            from modelbuild.cli import arguments

            code = arguments.run(words)
        elif words == ["--version"]:
            sys.stdout.write(f"modelbuild {__version__}\n")
            code = GOOD
        elif any("\udc80" <= char <= "\udcff" for word in words for char in word):
            code = _refuse_bytes(words)
        elif (plain := _plain(words)) is not None:
            code = _build(plain)
        else:
            from modelbuild.cli import arguments

            code = arguments.run(words)
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        return _interrupted(error)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        _forget(sys.stdout)
        return BROKEN_PIPE
    except Exception as error:
        return _foreseen_by_nobody(error)
    except BaseException as error:
        # A panic of a library in Rust is none of Python's exceptions.
        if isinstance(error, SystemExit | GeneratorExit):
            raise
        return _foreseen_by_nobody(error)
    return code


def _interrupted(error: KeyboardInterrupt) -> int:
    """Say that the work is not done, and what its notes say is kept of it. The exit code is a shell's for the signal."""
    number, what = INTERRUPTED - 128, "interrupted"
    if error.args:
        import signal

        number = error.args[0]
        what = f"ended by {signal.Signals(number).name}"
    # After a SIGHUP the terminal is gone.
    with contextlib.suppress(OSError, ValueError):
        # The terminal has written `^C` where the cursor was.
        begin = "\n" if number == INTERRUPTED - 128 and sys.stderr.isatty() else ""
        sys.stderr.write(f"{begin}{'; '.join([what, *getattr(error, '__notes__', ())])}\n")
        sys.stderr.flush()
    return 128 + number


def _foreseen_by_nobody(error: BaseException) -> int:
    """The last handler: say where an unexpected exception happened and how to report it."""
    from contextlib import suppress

    from modelbuild import internal_error
    from modelbuild.files import reason

    code, text = INTERNAL, internal_error.described(error)
    if isinstance(error, FileNotFoundError) and _is_nowhere():
        code, text = WRONG, "error: the working folder was removed\n  hint  change to a folder that exists\n"
    elif isinstance(error, OSError) and internal_error.of_streams(error):
        code, text = FAILED, f"error: the output cannot be written: {reason(error)}\n"
        with suppress(OSError, ValueError):
            _forget(sys.stdout)
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            _forget(sys.stderr)
    return code


def _is_nowhere() -> bool:
    """Whether the working folder has been removed."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _stand_in() -> None:
    """Open a closed stdout or stderr: otherwise the next opened file would get its number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 (as long as the process)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _forget(stream: TextIO) -> None:
    """What is still buffered must not complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _plain(words: Sequence[str]) -> dict[str, Any] | None:
    from modelbuild.cli import plain

    return plain.read(words)


def _refuse_bytes(words: Sequence[str]) -> int:
    """Name the argument that is not text: undecodable bytes of a file name are lone surrogates in it."""
    from modelbuild.cli.report import Report
    from modelbuild.errors import Error

    bad = next(word for word in words if any("\udc80" <= char <= "\udcff" for char in word))
    shown = bad.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    Report().error(Error(f"argument '{shown}' is not UTF-8", hint="rename the file, or set a UTF-8 locale"))
    return WRONG


def _build(values: dict[str, Any]) -> int:
    from modelbuild.cli.commands import build
    from modelbuild.cli.invocation import invoked
    from modelbuild.cli.paths import aimed

    given = {name: value for name, value in values.items() if name in build.Request._fields}
    return guarded(invoked(values), lambda call: build.run(call, **aimed(call, given)))
