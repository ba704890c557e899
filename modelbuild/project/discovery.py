"""Find projects, Modelfiles by glob, and the names of models."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence

from modelbuild.errors import Error
from modelbuild.files import first_bytes
from modelbuild.observed import Kind, Observed

PROJECT_FILE = "ModelBuild.toml"

GLOB = re.compile(r"[*?\[]")
WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""What a group or a mix can be named, and each part of a model's name."""
MODEL = re.compile(rf"{WORD.pattern}(?:/{WORD.pattern}){{0,2}}")
"""What a model can be named."""


def find(start: str) -> str | None:
    """The project that a folder belongs to: the next ModelBuild.toml above, else its own Modelfile, else itself if it is a checkpoint.

    The search ends with a folder that holds a `.git`.
    """
    folder = os.path.abspath(start)
    while True:
        if os.path.isfile(os.path.join(folder, PROJECT_FILE)):
            return os.path.join(folder, PROJECT_FILE)
        parent = os.path.dirname(folder)
        if parent == folder or os.path.exists(os.path.join(folder, ".git")):
            break
        folder = parent
    start = os.path.abspath(start)
    own = os.path.join(start, "Modelfile")
    return own if os.path.isfile(own) else start if is_checkpoint(start) else None


def is_checkpoint(path: str) -> bool:
    """Whether a folder looks like a checkpoint: a config and weights."""
    try:
        names = set(os.listdir(path)) if os.path.isfile(os.path.join(path, "config.json")) else set()
    except OSError:
        return False
    return any(name.endswith((".safetensors", ".safetensors.index.json")) for name in names)


def meant(path: str) -> str | None:
    """What a path means as a project: a ModelBuild.toml or Modelfile, in a folder or itself, or weights; None for anything else."""
    if os.path.isdir(path):
        for name in (PROJECT_FILE, "Modelfile"):
            if os.path.isfile(os.path.join(path, name)):
                return os.path.join(path, name)
        return path if is_weights(path) else None
    if not os.path.isfile(path):
        return None
    return path if path.endswith(".toml") or name_after(path) is not None or is_weights(path) else None


def is_weights(path: str) -> bool:
    """Whether a path is taken for weights: a folder that holds some, or a GGUF file, by its name or its first bytes."""
    try:
        if os.path.isdir(path):
            names = os.listdir(path)
            return "snapshots" in names or any(name.endswith((".safetensors", ".gguf")) for name in names)
        if path.lower().endswith(".gguf"):
            return True
        return first_bytes(path, 4) == b"GGUF"
    except OSError:
        return False


class Finder:
    """Looks for files below a project's root; each folder is listed once.

    Where a glob leaves the choice open, links, dot folders, the models folder, the cache and other projects are passed over; what it
    spells out is followed.
    """

    def __init__(self, root: str, models: str | None, observed: Observed) -> None:
        self.root = root
        self.models = models
        self.observed = observed
        self._listings: dict[str, dict[str, tuple[Kind, bool]]] = {}

    def files(self, pattern: str) -> Iterator[str]:
        """Absolute paths of the files that a glob matches. Raises Error without a place, and OSError."""
        start = os.path.abspath(os.sep) if pattern.startswith("/") else self.root
        segments = [segment for segment in pattern.split("/") if segment not in ("", ".")]
        if not segments or segments[-1] in ("**", "..") or "\0" in pattern:
            example = "/".join([*segments[:-1], "**", "Modelfile"]) if segments else "**/Modelfile"
            raise Error(f"'{pattern}' cannot match a file", hint=f'end it with the name of the files: "{example}"')
        todo: list[tuple[str, int, bool]] = []
        seen: set[tuple[str, int, bool]] = set()

        def visit(folder: str, at: int, chosen: bool) -> None:
            if (folder, at, chosen) not in seen:
                seen.add((folder, at, chosen))
                todo.append((folder, at, chosen))

        visit(start, 0, False)
        while todo:
            folder, at, chosen = todo.pop()
            segment, is_last = segments[at], at == len(segments) - 1
            if chosen or GLOB.search(segment):
                if chosen and self._is_passed_over(folder):
                    continue
                if segment == "**":
                    visit(folder, at + 1, True)
                for name in self._choices(folder, segment, is_last):
                    path = os.path.join(folder, name)
                    if is_last:
                        yield path
                    else:
                        visit(path, at if segment == "**" else at + 1, True)
            else:
                path = os.path.normpath(os.path.join(folder, segment))
                kind = self.observed.kind(path)
                if is_last and kind == "file":
                    yield path
                elif not is_last and kind == "folder":
                    visit(path, at + 1, False)

    def _choices(self, folder: str, segment: str, is_last: bool) -> list[str]:
        """Entries of a folder that a segment of a glob matches: files for the last segment, else folders."""
        listing = self._listing(folder)
        wanted = "file" if is_last else "folder"
        if segment == "**":
            return [name for name, found in listing.items() if found == ("folder", False) and name[0] != "."]
        if not GLOB.search(segment):
            return [segment] if listing.get(segment) == (wanted, False) else []
        matches = re.compile(fnmatch.translate(segment)).match
        return [
            name
            for name, (kind, is_link) in listing.items()
            if kind == wanted and not is_link and matches(name) and not (kind == "folder" and name.startswith("."))
        ]

    def _is_passed_over(self, folder: str) -> bool:
        if folder == self.root:
            return False
        return folder == self.models or folder in self.observed.ours or PROJECT_FILE in self._listing(folder)

    def _listing(self, folder: str) -> dict[str, tuple[Kind, bool]]:
        if folder not in self._listings:
            self._listings[folder] = {name: (kind, is_link) for name, kind, is_link in self.observed.entries(folder)}
        return self._listings[folder]


def name_after(path: str, template: str = "{name}") -> str | None:
    """The model that a Modelfile makes: `…/chat/Modelfile`, `chat.Modelfile` and `Modelfile.chat` make 'chat'.

    template  `discover_as`: {name} is that name, {folder} the Modelfile's folder, {parent} the folder around that one
    """
    folder, base = os.path.split(path)
    around, folder = os.path.split(folder)
    if base == "Modelfile":
        name = folder
    elif base.endswith(".Modelfile"):
        name = base.removesuffix(".Modelfile")
    elif base.startswith("Modelfile."):
        name = base.removeprefix("Modelfile.")
    else:
        return None
    if template == "{name}":
        return name
    values = {"{name}": name, "{folder}": folder, "{parent}": os.path.basename(around)}
    return re.sub(r"\{(?:name|folder|parent)\}", lambda found: values[found[0]], template)


def telling_apart(paths: Sequence[str]) -> str | None:
    """A `discover_as` that gives each Modelfile a name of its own."""
    for template in ("{parent}-{folder}", "{folder}-{name}", "{parent}-{folder}-{name}"):
        names = {name_after(path, template) for path in paths}
        if len(names) == len(paths) and None not in names:
            return template
    return None
