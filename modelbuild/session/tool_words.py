"""What a program of the user's own said: its last lines, and why it failed."""

from __future__ import annotations

import contextlib

from modelbuild.errors import Error
from modelbuild.files import read_plain

SAID = 64 << 20
"""Bytes of it that are read."""
LINES = 5
"""Last lines that an error shows."""


def read(log: str) -> str:
    """All of it that is read; empty where there is nothing."""
    with contextlib.suppress(OSError):
        return read_plain(log, SAID)[0].decode("utf-8", "replace")
    return ""


def last(said: str, but: str = "") -> list[tuple[str, str]]:
    """The last lines, but one that is told already, and the frames of a traceback."""
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("Traceback", "  File", "    ")) and line.strip() != but]
    return [("last lines", "\n".join(line[:300] for line in lines[-LINES:]))] if lines else []


def failed(title: str, code: int, said: str, log: str) -> Error:
    """Say why a program failed: by the last line that names an error, else its very last one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    named = [line for line in lines[-50:] if "error" in line.lower() or "failed" in line.lower()]
    said_last = (named or lines or [""])[-1]
    why = f": {said_last[:300]}" if said_last else ""
    ended = "killed by signal" if code > 128 else "exit code"
    facts = [(ended, str(code - 128 if code > 128 else code)), *last(said, said_last), ("log", log)]
    return Error(f"{title} failed{why}", facts=facts, hint=_hint(said_last, code))


def _hint(line: str, code: int) -> str | None:
    if "No module named" in line:
        return "install it for the interpreter that `python` in [tools] names"
    if code == 137:
        return "the system ended it, most often for want of memory"
    if "pre-tokenizer was not recognized" in line:
        return "`pre` is set in what the converter makes, and names nothing to it: name a newer llama.cpp, or have it converted natively"
    if "is not supported" in line or "not found" in line:
        return "a newer llama.cpp may know it: name its folder in [tools]"
    return None
