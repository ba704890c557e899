"""The files that a project names, Modelfiles among them: each is read once, and shown as users see it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

from modelbuild.errors import Error, Problems
from modelbuild.files import reason, remedy
from modelbuild.observed import Observed
from modelbuild.ollama.modelfile.meaning import Modelfile, parse
from modelbuild.project.locate import Place


class Texts:
    """Reads the files of the project in the folder `root`. What a Modelfile is warned of goes to `problems`, once."""

    def __init__(self, root: str, observed: Observed, problems: Problems) -> None:
        self.root = root
        self.observed = observed
        self._problems = problems
        self._are_files: set[str] = set()
        self._modelfiles: dict[str, Modelfile | None] = {}
        self._faults: dict[str, list[Error]] = {}
        self._texts: dict[str, str] = {}

    def shown(self, path: str) -> str:
        """A path as users see it: relative to the project."""
        inside = self.root.rstrip(os.sep) + os.sep
        return (path[len(inside) :] if path.startswith(inside) else os.path.relpath(path, self.root)).replace(
            os.sep, "/"
        )

    def folder(self, place: Place) -> str:
        """What a relative path starts from that a place says: the folder of its TOML; of an option the project's."""
        above = os.path.dirname(place.file) if place.text else ""
        return os.path.join(self.root, above) if above else self.root

    def are_files(self, paths: Iterable[str]) -> None:
        """Note what a listing of folders has shown to be files, which need no second look."""
        self._are_files.update(paths)

    def read(self, path: str, place: Place | None = None) -> bytes:
        """The bytes of a file that `place` names; without one it is named as it is. Raises Error."""
        shown = self.shown(path) if place else path
        try:
            kind = "file" if path in self._are_files else self.observed.kind(path)
            if kind == "file":
                return self.observed.read(path)
        except (OSError, ValueError) as fault:
            what = f"'{shown}' cannot be read: {reason(fault)}"
            hint = remedy(fault)
            raise (place.error(what, hint=hint) if place else Error(what, hint=hint)) from None
        what = f"'{shown}' is a folder, expected a file" if kind == "folder" else f"no file '{shown}'"
        if place is None:
            raise Error(what)
        near = self.observed.meant(shown, self.root)
        raise place.error(what, hint=f"did you mean '{near}'?" if near else None)

    def text(self, path: str, place: Place) -> str:
        """The text of a `{ file = … }`, without a byte order mark. Raises Error."""
        if path not in self._texts:
            try:
                self._texts[path] = self.read(path, place).decode("utf-8-sig")
            except UnicodeDecodeError:
                raise place.error(f"'{self.shown(path)}' is not UTF-8", hint="save the file as UTF-8") from None
        return self._texts[path]

    def plain(self) -> Collection[str]:
        """The paths of the texts that were read."""
        return self._texts.keys()

    def has_parsed(self, path: str) -> bool:
        """Whether a Modelfile was read already, or was tried to."""
        return path in self._modelfiles

    def modelfile(self, path: str, place: Place) -> Modelfile | None:
        """Read a Modelfile; None where it cannot be used: `faults` says why."""
        if path not in self._modelfiles:
            self.parse_all([path], place)
        return self._modelfiles[path]

    def faults(self, path: str) -> list[Error]:
        """What is wrong with a Modelfile that was read, or tried to."""
        return self._faults.get(path, [])

    def parse_all(self, paths: Iterable[str], place: Place) -> None:
        """Read all, then parse all: a thousand in a row take half the time of one at a time among other work."""
        read: dict[str, bytes] = {}
        for path in paths:
            self._modelfiles[path] = None
            try:
                read[path] = self.read(path, place)
            except Error as error:
                self._faults[path] = [place.placed(error)]
        for path, data in read.items():
            self.take(path, data)

    def take(self, path: str, data: bytes) -> None:
        """Take the bytes of a Modelfile that was read already."""
        shown = self.shown(path)
        try:
            self._modelfiles[path] = parsed = parse(data, shown)
        except Error as error:
            self._modelfiles[path] = None
            self._faults[path] = [Place(shown).placed(error)]
            return
        self._problems.warn(*parsed.warnings)
        if parsed.errors:
            self._faults[path] = list(parsed.errors)
