"""A digest of our code: values kept between runs are valid only for the code that made them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

from modelbuild import __version__
from modelbuild.digest import xxh3


@cache
def fingerprint() -> str:
    """The version; in a checkout, where code changes without it, also a stat of each of the package's files."""
    package = os.path.dirname(os.path.abspath(__file__))
    if not os.path.isfile(os.path.join(os.path.dirname(package), "pyproject.toml")):
        return __version__
    return f"{__version__}+{xxh3(chr(0).join(sorted(_files(package))).encode())}"


def _files(folder: str) -> Iterator[str]:
    with os.scandir(folder) as scan:
        for entry in scan:
            if entry.name.endswith(".py"):
                info = entry.stat()
                yield f"{entry.path}\t{info.st_size}\t{info.st_mtime_ns}"
            elif entry.name.isidentifier() and not entry.name.startswith("__") and entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
