"""The files that programs of llama.cpp consist of: a script with its packages, a binary with the libraries beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from modelbuild.tools import Closure, Entries

_LIBRARY = re.compile(r"lib[\w.+-]+\.(so(\.[\d.]+)?|dylib)|ggml[\w.-]*\.(so|dll)|[\w.-]+\.dll")
_PLACES = ("", "bin", "build/bin")
"""Where in a folder of llama.cpp its binaries may lie: that of a release, of an installation, of a build."""
_DEPTH = 5


def of_script(folder: str, entries: Entries, script: str) -> Closure:
    """A converter: its scripts, `conversion`, `gguf-py/gguf`, and the chat templates and vocabularies that some classes take."""
    top = [name for name, kind, _ in entries(folder) if kind == "file" and re.fullmatch(r"convert_\w+\.py", name)]
    files = [
        *top,
        *_below(folder, "conversion", (".py",), entries),
        *_below(folder, "gguf-py/gguf", (".py",), entries),
        *_below(folder, "models", (".jinja", ".gguf"), entries),
    ]
    return Closure(folder, tuple(files), script if script in top else "")


def of_binary(folder: str, entries: Entries, name: str) -> Closure:
    """A compiled program, with the libraries in its folder."""
    for place in _PLACES:
        here = os.path.join(folder, *place.split("/")) if place else folder
        files = [each for each, kind, _ in entries(here) if kind == "file"]
        main = next((each for each in (name, f"{name}.exe") if each in files), "")
        if main:
            return Closure(here, (main, *(each for each in files if _LIBRARY.fullmatch(each))), main)
    return Closure(folder, (), "")


def _below(folder: str, sub: str, endings: tuple[str, ...], entries: Entries, depth: int = _DEPTH) -> Iterator[str]:
    for name, kind, _ in entries(os.path.join(folder, *sub.split("/"))):
        if kind == "folder" and name != "__pycache__" and not name.startswith(".") and depth:
            yield from _below(folder, f"{sub}/{name}", endings, entries, depth - 1)
        elif kind == "file" and name.endswith(endings):
            yield f"{sub}/{name}"
