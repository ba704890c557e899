"""Notes beside the store's artifacts: which action made one, and where its tensors lie. A database that is new learns from them."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from modelbuild.digest import checked, file_name, unchecked
from modelbuild.engine.action import ActionResult, Made, Range
from modelbuild.files import LARGEST, Temporary, read_plain
from modelbuild.tuples import NamedTuple

VERSION = 1

PLACES = 16
"""Paths of one artifact that are noted, the latest first."""

_SIZES = 1 << 63
"""Beyond every number of SQLite's."""

_ARTIFACT = "sha256:[0-9a-f]{64}"
_TENSOR = "xxh3:[0-9a-f]{32}"


class Note(NamedTuple):
    """What is known of an artifact without the database.

    places  where else it was put whole; what lies there is hashed before it is believed
    """

    action: str
    result: ActionResult
    tensors: tuple[tuple[str, Range], ...]
    places: tuple[str, ...] = ()

    def encode(self) -> bytes:
        ranges = [[key, at.offset, at.length, at.xxh3] for key, at in self.tensors]
        value = [VERSION, self.action, *self.result, self.places, ranges]
        return checked(json.dumps(value, separators=(",", ":")).encode())

    @staticmethod
    def decode(data: bytes) -> Note | None:
        """A note as it was written; None for what is damaged, or says what no note can."""
        value = unchecked(data)
        try:
            version, action, artifact, size, places, ranges = json.loads(value or b"")
            if version != VERSION or not re.fullmatch(_ARTIFACT, action) or not re.fullmatch(_ARTIFACT, artifact):
                return None
            if type(size) is not int or not 0 <= size < _SIZES or not all(map(_is_path, places)):
                return None
            tensors = tuple(_tensor(artifact, size, *each) for each in ranges)
            named = file_name(artifact)
            known = tuple(path for path in places if os.path.isabs(path) and os.path.basename(path) == named)
            return Note(action, ActionResult(artifact, size), tensors, known[:PLACES])
        except (ValueError, TypeError, AttributeError, RecursionError):
            return None


def _is_path(place: str) -> bool:
    """Whether a text can be a path that SQLite has as text. Raises UnicodeEncodeError, a ValueError, for a surrogate."""
    return b"\0" not in place.encode()


def _tensor(artifact: str, size: Any, key: Any, offset: Any, length: Any, xxh3: Any) -> tuple[str, Range]:
    """An entry of the index. Raises ValueError or TypeError for one that lies beyond its blob, or is none."""
    if {type(size), type(offset), type(length)} != {int} or min(offset, length) < 0 or offset + length > size:
        raise ValueError("not a range")
    if not re.fullmatch(_TENSOR, key) or not re.fullmatch(_TENSOR, xxh3):
        raise ValueError("not a digest")
    return key, Range(artifact, offset, length, xxh3)


class Notes:
    """The notes in a folder, one for each artifact that has tensors. None is needed, so what goes wrong with one is nobody's error.

    temporary  makes a file on the folder's file system, to be renamed
    """

    def __init__(self, folder: str, temporary: Callable[[], AbstractContextManager[Temporary]]) -> None:
        self.folder = folder
        self._temporary = temporary

    def write(self, action: str, made: Made) -> None:
        """Note what an action has made, if tensors lie in it."""
        if made.tensors:
            before = self.read(made.result.artifact)
            self._put(Note(action, made.result, made.tensors, before.places if before else ()))

    def placed(self, artifact: str, path: str) -> None:
        """Note that an artifact that has a note lies at `path`."""
        note = self.read(artifact)
        if note is not None and note.places[:1] != (path,):
            others = [place for place in note.places if place != path]
            self._put(note._replace(places=(path, *others)[:PLACES]))

    def read(self, artifact: str) -> Note | None:
        try:
            note = Note.decode(read_plain(self._path(artifact), LARGEST)[0])
        except OSError:
            return None
        return note if note is not None and note.result.artifact == artifact else None

    def all(self) -> Iterator[Note]:
        """Every note that can be believed, one at a time."""
        for artifact in self.names():
            if (note := self.read(artifact)) is not None:
                yield note

    def names(self) -> list[str]:
        """The artifacts that have a note."""
        try:
            names = [name.replace("-", ":", 1) for name in os.listdir(self.folder)]
        except OSError:
            return []
        return sorted(filter(re.compile(_ARTIFACT).fullmatch, names))

    def remove(self, artifacts: Sequence[str]) -> None:
        for artifact in artifacts:
            with contextlib.suppress(OSError):
                os.unlink(self._path(artifact))

    def _put(self, note: Note) -> None:
        with contextlib.suppress(OSError), self._temporary() as file:
            file.write(note.encode())
            os.replace(file.path, self._path(note.result.artifact))

    def _path(self, artifact: str) -> str:
        return os.path.join(self.folder, file_name(artifact))
