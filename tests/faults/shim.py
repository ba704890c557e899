"""The shim of this folder: compiled, put before a process, told what to do."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

KINDS = {
    name: 1 << bit
    for bit, name in enumerate(
        ["open", "write", "sync", "rename", "link", "unlink", "mkdir", "rmdir", "flock", "lock", "chmod", "truncate", "times", "clone"]
    )
}  # fmt: skip
"""The calls that are counted, as shim.c numbers them."""

COUNT, FAIL, FAIL_ON, KILL, INTERRUPT, PAUSE = range(6)
"""What happens at the Nth call: nothing, it fails, it and all after it fail, SIGKILL, SIGINT, a wait."""


def missing() -> str | None:
    """Why there can be no shim here; None where there can."""
    if sys.platform != "linux":
        return "LD_PRELOAD and /proc are Linux's"
    if not shutil.which("cc"):
        return "no C compiler (cc)"
    return None


def build(folder: Path) -> Path:
    """Compile the shim into a folder."""
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def environment(library: Path) -> dict[str, str]:
    """The environment of a process that the shim stands before, and that forks: nothing in it may start threads."""
    quiet = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **quiet, "LD_PRELOAD": str(library)}


def arm(
    roots: list[str], kinds: int, nth: int, what: int, error: int = 0, log: int = -1, ask: int = -1, go: int = -1
) -> None:
    """In a process with the shim: count calls of `kinds` below `roots` from now on (0: none yet), and act at the Nth."""
    text = "".join(f"{root}\n" for root in roots).encode()
    ctypes.CDLL(None).faults_arm(text, kinds, ctypes.c_long(nth), what, error, log, ask, go)


def loaded() -> bool:
    """Whether the shim stands before this process."""
    return hasattr(ctypes.CDLL(None), "faults_arm")
