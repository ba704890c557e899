"""Whole exports: the files of a shape, all made first and then renamed one after the other, so that none is half there."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Iterable, Sequence

from modelbuild import page_cache
from modelbuild.digest import sha256
from modelbuild.engine.action import ActionResult
from modelbuild.engine.kept import Kept
from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.files import LARGEST, Temporary, read_plain, reflink
from modelbuild.publish import spliced
from modelbuild.publish.exported import Exported, Replaces, is_gguf
from modelbuild.publish.scratch import copy
from modelbuild.shapes._finished import Content, Copy, Entry, Spliced, Text
from modelbuild.shapes._seal import is_whole
from modelbuild.tuples import NamedTuple


class Laid(NamedTuple):
    """A file of an export that stands now, its bytes, and whether it was written."""

    path: str
    size: int
    changed: bool


class _Ready(NamedTuple):
    path: str
    file: Temporary
    artifact: str
    opens: bool


class ExportedTree(Exported):
    """Writes the trees of shapes into a folder, for one owner.

    links  whether files may be hard links to the cache, for files that nobody edits
    """

    way_out = "move it away, or give the export another folder"

    def __init__(self, store: Store, owner: str, replaces: Replaces = "own", *, links: bool = False) -> None:
        super().__init__(store, owner, replaces)
        self._kept = Kept(store.database)
        self._links = links

    # Before the work

    def obstacles(
        self, root: str, entries: Iterable[Entry], sources: Collection[str], ours: Iterable[str]
    ) -> list[Error]:
        """What stands against writing a tree, as far as a look tells; `sources` and `ours` are as `misplaced` has them."""
        folders = [os.path.realpath(folder) for folder in ours]
        found: list[Error] = []
        for entry in entries:
            path = path_of(root, entry)
            error = self._in_the_way(path, entry.content, sources, folders)
            if error is not None and not any(str(error) == str(known) for known in found):
                found.append(error)
        return found

    def _in_the_way(
        self, path: str, content: Content, sources: Collection[str], folders: Sequence[str]
    ) -> Error | None:
        if (os.path.realpath(path) in sources) and self._is_own(path):
            sources = ()
        error = self._misplaced(path, sources, folders, any_file=not path.endswith(".gguf"))
        if error is not None or not isinstance(content, Text):
            return error
        try:
            if content.certain or self._noted(path) is not None:
                self.may_write(path, content.data)
        except Error as refused:
            return refused
        return None

    def _is_own(self, path: str) -> bool:
        """Whether a file that the build reads is one that this owner wrote before: a Modelfile that the project finds."""
        noted = self._noted(path)
        return noted is not None and noted.owner == self._owner and not is_gguf(path)

    # Writing

    def lay(self, root: str, entries: Sequence[Entry]) -> list[Laid]:
        """Write the files that do not stand already. Raises Error, and Damaged for an artifact that has to be made again.

        What opens a set of files, as the first part of a split one, is taken away before any file of the set is replaced, and put last.
        """
        with contextlib.ExitStack() as stack:
            ready: list[_Ready] = []
            for entry in entries:
                path = path_of(root, entry)
                if not self._is_there(path, entry.content):
                    self._check_owner(path)
                    ready.append(self._made(stack, path, entry))
            for each in ready:
                if each.opens:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(os.path.realpath(each.path))
            for each in sorted(ready, key=lambda each: each.opens):
                self._move(each.file, each.path)
                self._note(each.path, each.artifact)
        written = {each.path for each in ready}
        paths = [path_of(root, entry) for entry in entries]
        return [Laid(path, entry.content.size, path in written) for path, entry in zip(paths, entries, strict=True)]

    def standing(self, root: str, entries: Iterable[Entry]) -> dict[str, os.stat_result] | None:
        """The files of a tree and their stats; None where one is not as we left it."""
        found = {}
        for entry in entries:
            path = path_of(root, entry)
            artifact = self._artifact(entry.content)
            if artifact is None or not self.stands(path, artifact):
                return None
            found[path] = os.stat(path)
        return found

    def _is_there(self, path: str, content: Content) -> bool:
        artifact = self._artifact(content)
        return artifact is not None and (
            self.stands(path, artifact) or self._is(path, ActionResult(artifact, content.size))
        )

    def _artifact(self, content: Content) -> str | None:
        """The digest of a file to be; None for one that was never put together."""
        if isinstance(content, Copy):
            return content.digest
        if isinstance(content, Text):
            return sha256(content.data)
        return spliced.known(content, self._kept)

    def _made(self, stack: contextlib.ExitStack, path: str, entry: Entry) -> _Ready:
        """A temporary file beside the file to be, with its bytes."""
        file = stack.enter_context(self._new(path))
        content = entry.content
        if isinstance(content, Text):
            file.write(content.data)
            os.fsync(file.fileno())
            artifact = sha256(content.data)
        elif isinstance(content, Copy):
            self._copied(file, content)
            artifact = content.digest
        else:
            artifact = self._spliced(file, content)
        return _Ready(path, file, artifact, entry.opens)

    def _copied(self, file: Temporary, content: Copy) -> None:
        with self._store.open(content.digest) as source:
            self._store.verify(content.digest, source)
            before = os.fstat(source.fileno())
            if self._links and file.link(source.name):
                self._store.touched(content.digest, source.fileno(), before)
                return
            if reflink(source.fileno(), file.fileno()):
                os.fsync(file.fileno())
            else:
                copy(source, file)
            page_cache.forget(source.fileno())

    def _spliced(self, file: Temporary, content: Spliced) -> str:
        """Put a file together; returns its digest."""
        sha = hashlib.sha256()
        for data in spliced.pieces(content, self._store):
            sha.update(data)
            file.write(data)
        os.fsync(file.fileno())
        page_cache.forget(file.fileno())
        artifact = "sha256:" + sha.hexdigest()
        spliced.note(content, self._kept, artifact)
        return artifact

    def _move(self, file: Temporary, path: str) -> None:
        if os.fstat(file.fileno()).st_nlink > 1:
            # A link to the cache: its rights are those of all names that it has.
            self._replace(file, path)
        else:
            super()._move(file, path)

    def _is_ours_by_sight(self, path: str) -> bool:
        if is_gguf(path):
            return True
        try:
            data, _ = read_plain(path, LARGEST)
        except OSError:
            return False
        return is_whole(data)

    # What is ours to remove

    def remove_own(self, paths: Iterable[str]) -> list[str]:
        """Remove files that this owner wrote and nobody has changed since; returns which. Folders that are empty then go too."""
        removed = self.remove(paths)
        for path in removed:
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(path))
        return removed


def path_of(root: str, entry: Entry) -> str:
    """Where a file of a tree lies."""
    return os.path.join(root, *entry.path.split("/"))
