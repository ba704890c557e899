"""The names and blobs that we wrote into a models folder. Only this part of the cache cannot be made again: it says what we may remove."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping

from modelbuild.engine.database import Database
from modelbuild.publish.one_by_one import FEW
from modelbuild.tuples import NamedTuple


class Owner(NamedTuple):
    """Who wrote a name, as it is noted: the project of a file, or the one model that `-t` named on a command line.

    Nothing but that command line declares such a name, so no other build of the file may call it stale.
    """

    noted: str

    @classmethod
    def of(cls, file: str, named: str | None) -> Owner:
        return cls(f"{file} -t {named}" if named else file)

    @property
    def file(self) -> str:
        """The ModelBuild.toml or Modelfile. Its own name may look as if `-t` stood in it."""
        return self.noted if os.path.exists(self.noted) else self.noted.rpartition(" -t ")[0] or self.noted


class Written:
    """The names and blobs of the models folder `folder` that builds of any project wrote."""

    def __init__(self, database: Database, folder: str) -> None:
        self._database = database
        self._folder = folder

    def names(self, only: str | None = None) -> dict[str, tuple[Owner, str]]:
        """name -> (who wrote it, manifest digest), of all or of `only` one"""
        return self._owned("select name, project, manifest from wrote where folder = ?", only)

    def are_more(self, count: int) -> bool:
        """Whether there are more names than so many."""
        return bool(self._database.rows("select 1 from wrote where folder = ? limit 1 offset ?", (self._folder, count)))

    def putting(self, only: str | None = None) -> dict[str, tuple[Owner, str]]:
        """Names that were about to be written and were not noted since: they are ours if they say that manifest."""
        return self._owned("select name, project, manifest from putting where folder = ?", only)

    def _owned(self, query: str, only: str | None) -> dict[str, tuple[Owner, str]]:
        if only is None:
            rows = self._database.rows(query, (self._folder,))
        else:
            rows = self._database.rows(f"{query} and name = ?", (self._folder, only))
        return {name: (Owner(project), manifest) for name, project, manifest in rows}

    def blobs(self) -> set[str]:
        return {blob for (blob,) in self._rows("select blob from wrote_blob where folder = ?")}

    def ours(self, blobs: Collection[str]) -> set[str]:
        """Those of some blobs that builds of ours wrote."""
        if len(blobs) > FEW:
            return self.blobs().intersection(blobs)
        query = "select 1 from wrote_blob where folder = ? and blob = ?"
        return {blob for blob in blobs if self._database.rows(query, (self._folder, blob))}

    def loose(self) -> set[str]:
        """The blobs that no manifest may name any more, or yet."""
        return {blob for (blob,) in self._rows("select blob from loose where folder = ?")}

    def note_putting(self, manifests: Mapping[str, str], owner: Owner) -> None:
        """Names are about to say these manifests; noted before that, so that they are ours whenever we end."""
        rows = self._manifests(manifests, owner)
        self._database.change(("insert or replace into putting values (?, ?, ?, ?)", rows))

    def note(self, manifests: Mapping[str, str], owner: Owner) -> None:
        """Names say these manifests."""
        rows = self._manifests(manifests, owner)
        self._database.change(
            ("insert or replace into wrote values (?, ?, ?, ?)", rows),
            ("delete from putting where folder = ? and name = ?", [row[:2] for row in rows]),
        )

    def _manifests(self, manifests: Mapping[str, str], owner: Owner) -> list[tuple[str, str, str, str]]:
        return [(self._folder, name, owner.noted, manifest) for name, manifest in manifests.items()]

    def note_blobs(self, blobs: Iterable[str]) -> None:
        """These blobs are ours."""
        self._database.change(("insert or ignore into wrote_blob values (?, ?)", self._each(blobs)))

    def note_loose(self, blobs: Iterable[str], ours: bool = False) -> None:
        """Soon no manifest may name these blobs, or none does yet; noted before that, so that no death of ours leaks them."""
        rows = self._each(blobs)
        self._database.change(
            ("insert or ignore into wrote_blob values (?, ?)", rows if ours else []),
            ("insert or ignore into loose values (?, ?)", rows),
        )

    def forget(self, names: Iterable[str] = (), blobs: Iterable[str] = ()) -> None:
        named = self._each(names)
        self._database.change(
            ("delete from wrote where folder = ? and name = ?", named),
            ("delete from putting where folder = ? and name = ?", named),
            ("delete from wrote_blob where folder = ? and blob = ?", self._each(blobs)),
        )

    def forget_loose(self, blobs: Iterable[str]) -> None:
        self._database.change(("delete from loose where folder = ? and blob = ?", self._each(blobs)))

    def _rows(self, query: str) -> list[tuple[str, ...]]:
        return self._database.rows(query, (self._folder,))

    def _each(self, values: Iterable[str]) -> list[tuple[str, str]]:
        return [(self._folder, value) for value in values]
