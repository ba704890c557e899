"""The globs of `[project] include`: the ModelBuild.tomls that they take into a project, and the project that takes one in."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence

from modelbuild.errors import Error
from modelbuild.files import read_plain
from modelbuild.observed import Observed
from modelbuild.project.discovery import GLOB, PROJECT_FILE
from modelbuild.tuples import NamedTuple

PARTS = 10_000
"""Parts of one project."""
FOLDERS = 100_000
"""Folders that one glob looks into."""
_LENGTH = 16_000_000
"""Bytes of a ModelBuild.toml that is asked whether it includes another; `document` takes a fourth in characters."""
_SEGMENTS = 50
"""Of one glob; each may be open at every folder."""


class Include(NamedTuple):
    """A glob of folders, name by name. A state is the numbers of the names that may come next; the last number is the end."""

    segments: tuple[str, ...]

    @property
    def start(self) -> frozenset[int]:
        return self._open({0})

    def is_end(self, state: frozenset[int]) -> bool:
        return len(self.segments) in state

    def step(self, state: frozenset[int], name: str, *, is_link: bool = False) -> frozenset[int]:
        """The state in a folder within. Wildcards match no links, and no names that begin with a dot."""
        found = set()
        for at in state:
            segment = self.segments[at] if at < len(self.segments) else ""
            if not GLOB.search(segment):
                found |= {at + 1} if segment == name else set()
            elif not is_link and not name.startswith("."):
                if segment == "**":
                    found.add(at)
                elif re.fullmatch(fnmatch.translate(segment), name):
                    found.add(at + 1)
        return self._open(found)

    def literals(self, state: frozenset[int]) -> list[str] | None:
        """The names that alone can come next; None where there are wildcards."""
        nexts = [self.segments[at] for at in state if at < len(self.segments)]
        return None if any(map(GLOB.search, nexts)) else nexts

    def _open(self, state: set[int]) -> frozenset[int]:
        todo = list(state)
        while todo:
            at = todo.pop()
            if at < len(self.segments) and self.segments[at] == "**" and at + 1 not in state:
                state.add(at + 1)
                todo.append(at + 1)
        return frozenset(state)


def parse(glob: str) -> Include:
    """Read a glob of `include`. Raises Error, without a place."""
    *folders, last = [segment for segment in glob.split("/") if segment not in ("", ".")] or [""]
    if glob.startswith(("/", "~")) or ".." in folders or "\0" in glob:
        what = f"'include' takes files below this folder, got '{glob}'"
        raise Error(what, hint="move the ModelBuild.toml above its parts")
    if "${" in glob:
        raise Error(f"'include' takes no variables, got '{glob}'", hint="use wildcards: teams/*/ModelBuild.toml")
    if last != PROJECT_FILE:
        whole = "/".join([*folders, *([last] if last else []), PROJECT_FILE])
        raise Error(f"'include' expects files named {PROJECT_FILE}, got '{glob}'", hint=f"did you mean '{whole}'?")
    if len(folders) > _SEGMENTS:
        raise Error(f"a glob of 'include' has {len(folders)} folders, expected at most {_SEGMENTS}")
    return Include(tuple(folders))


def files(include: Include, root: str, models: str | None, observed: Observed) -> Iterator[str]:
    """The files that a glob takes, less the project's own. Raises Error, without a place, and OSError.

    Whatever is a project itself is looked into all the same. `models` is the models folder, which is passed over.
    """
    todo = [(root, include.start)]
    looked = 0
    while todo:
        folder, state = todo.pop()
        if include.is_end(state) and folder != root:
            file = os.path.join(folder, PROJECT_FILE)
            if observed.kind(file) == "file":
                yield file
        within = include.literals(state)
        if within is not None:
            paths = {name: os.path.join(folder, name) for name in within}
            todo += [
                (path, include.step(state, name)) for name, path in paths.items() if observed.kind(path) == "folder"
            ]
            continue
        looked += 1
        if looked > FOLDERS:
            what = f"a glob of 'include' looks into more than {FOLDERS:,} folders"
            raise Error(what, hint="name the folder that contains the parts: teams/*/ModelBuild.toml")
        for name, kind, is_link in observed.entries(folder):
            path = os.path.join(folder, name)
            if kind == "folder" and path != models and (more := include.step(state, name, is_link=is_link)):
                todo.append((path, more))


def project_of(file: str) -> str | None:
    """The ModelBuild.toml above that includes a file; None for one that stands alone. `file` has no links.

    Nobody else's files may take it in, as one in a folder that all write to would: it is the file's owner's, or root's. One that
    cannot be read as TOML and speaks of `include` counts as one that includes: built alone, the part would get other names.
    """
    if os.path.basename(file) != PROJECT_FILE:
        return None
    names: list[str] = []
    folder = os.path.dirname(file)
    while True:
        above, name = os.path.split(folder)
        if above == folder:
            return None
        folder = above
        names.insert(0, name)
        other = os.path.join(folder, PROJECT_FILE)
        if os.path.isfile(other) and _is_of_one_owner(other, file) and _includes(other, names):
            return other


def left_out_by(file: str) -> str | None:
    """The ModelBuild.toml above a file that includes others, and not this one; None without one."""
    folder = os.path.dirname(os.path.dirname(file))
    while os.path.basename(file) == PROJECT_FILE:
        other = os.path.join(folder, PROJECT_FILE)
        if os.path.isfile(other) and _is_of_one_owner(other, file) and _globs(other):
            return other
        folder, before = os.path.dirname(folder), folder
        if folder == before:
            break
    return None


def _is_of_one_owner(other: str, file: str) -> bool:
    try:
        return os.stat(other).st_uid in (0, os.stat(file).st_uid)
    except OSError:
        return False


def _includes(file: str, names: Sequence[str]) -> bool:
    globs = _globs(file)
    return globs is None or any(_matches(glob, names) for glob in globs)


def _globs(file: str) -> list[str] | None:
    """The globs of `include`; None where the file speaks of it and cannot be read as TOML."""
    import tomllib

    try:
        data, _ = read_plain(file, _LENGTH)
    except OSError:
        return []
    if b"include" not in data:
        return []
    try:
        document = tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    project = document.get("project")
    globs = project.get("include") if isinstance(project, dict) else None
    return [glob for glob in globs if isinstance(glob, str)] if isinstance(globs, list) else []


def _matches(glob: str, names: Sequence[str]) -> bool:
    try:
        include = parse(glob)
    except Error:
        return False
    state = include.start
    for name in names:
        state = include.step(state, name)
    return include.is_end(state)
