"""Unexpected exceptions: where in the code they happened, and how to report them."""

from __future__ import annotations

import os
import platform
import traceback

from modelbuild import __version__

SHOWN = "MODELBUILD_TRACEBACK"
"""The variable that asks for the whole traceback."""

WRITERS = ("cli/report.py", "cli/progress.py", "cli/terminal.py", "cli/transfer.py", "cli/main.py", "cli/arguments.py")
"""The only files of ours that write to the terminal."""

_PACKAGE = os.path.dirname(os.path.abspath(__file__))


def described(error: BaseException) -> str:
    """The lines that tell of an internal error."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _inside(frame.filename)]
    named = traceback.format_exception_only(error)[-1].strip()
    lines = [f"internal error: {named[:400]}"]
    lines += [f"  {'at' if not n else '':<7}  {_place(frame)}" for n, frame in enumerate(reversed(ours[-3:]))]
    lines += [
        f"  version  modelbuild {__version__}, Python {platform.python_version()}, {platform.system()}",
        "  hint     this is a bug in modelbuild: report it with these lines, the command, and its input files;",
        f"           {SHOWN}=1 shows the whole traceback; finished steps are cached",
    ]
    if os.environ.get(SHOWN):
        lines.insert(0, "".join(traceback.format_exception(error)).rstrip())
    return "\n".join(lines) + "\n"


def of_streams(error: OSError) -> bool:
    """Whether it was standard output or standard error that could not be written."""
    if error.filename is not None:
        return False
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if _inside(frame.filename)]
    return bool(ours) and _below(ours[-1].filename, _PACKAGE).replace(os.sep, "/") in WRITERS


# Python's own functions for paths ask for the working folder, which may have been removed.


def _inside(path: str) -> bool:
    return path.startswith(_PACKAGE + os.sep)


def _below(path: str, folder: str) -> str:
    return path.removeprefix(folder + os.sep)


def _place(frame: traceback.FrameSummary) -> str:
    return f"{_below(frame.filename, os.path.dirname(_PACKAGE))}:{frame.lineno} in {frame.name}"
