"""The file that a wrong path was meant for: searched in the existing part of the path."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from modelbuild.tuples import NamedTuple

SCANNED = 10_000
"""Names of one folder that are looked at."""

COMPARED = 1_000
"""Names of one folder that are compared letter by letter, or looked into."""

FOLDERS = 32
"""Folders that are listed for one path."""

ABOVE = 4
"""Folders above the one where a path starts that it may have been written for."""

DEPTH = 64
"""Parts of a path; a longer one is not looked for."""


class Wanted(NamedTuple):
    """What the path should lead to.

    loosely  also names that are only nearly the same; else those that differ in case, blanks, suffix and the like
    """

    files: bool = True
    folders: bool = False
    loosely: bool = True


FILE = Wanted()
FOLDER = Wanted(files=False, folders=True)
WEIGHTS = Wanted(folders=True)


def path(text: str, folder: str, wanted: Wanted = FILE) -> str | None:
    """The path that `text` was meant for, spelled as `text` is: relative to `folder`, or absolute. None where none is near.

    Raises nothing: it is for a hint.
    """
    try:
        found = _found(text, folder, _Search(wanted))
    except (OSError, ValueError):  # ValueError: a NUL
        return None
    return _spelled(found, text, folder) if found else None


def hint(text: str, folder: str, wanted: Wanted = FILE) -> str | None:
    """`did you mean 'that file'?`, or None."""
    near = path(text, folder, wanted)
    return f"did you mean '{near}'?" if near else None


def _found(text: str, folder: str, search: _Search) -> str | None:
    plain = _cleaned(text)
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if not parts or len(parts) > DEPTH:
        return None
    if plain.startswith("~"):
        return search.walk(os.path.expanduser("~"), parts[1:]) if parts[1:] else None
    is_absolute = plain.startswith("/")
    if found := search.walk("/" if is_absolute else folder, parts):
        return found
    if search.wanted.loosely or len(parts) > 1:
        return next((there for there in _elsewhere(parts, folder, is_absolute) if search.fits(there)), None)
    return None


def _elsewhere(parts: Sequence[str], folder: str, is_absolute: bool) -> Iterator[str]:
    """Where a path may lead that was written for another folder or another machine."""
    for number in range(0 if is_absolute else 1, len(parts)):
        yield os.path.join(folder, *parts[number:])
    if is_absolute:
        return
    above = folder
    for _ in range(ABOVE):
        above = os.path.dirname(above)
        yield os.path.join(above, *parts)
    if len(parts) > 1:
        yield os.path.join("/", *parts)


class _Names(NamedTuple):
    """What a folder holds: all names, and the first name of each spelling, whole and before each of its points."""

    names: Sequence[str]
    by_fold: Mapping[str, str]
    by_stem: Mapping[str, str]


class _Search:
    """Looks for one path; lists each folder once, and not many of them."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._listings: dict[str, _Names] = {}

    def fits(self, path: str) -> bool:
        """Whether what is wanted stands there."""
        return (self.wanted.files and os.path.isfile(path)) or (self.wanted.folders and os.path.isdir(path))

    def walk(self, folder: str, parts: Sequence[str], spare: int = 2) -> str | None:
        """Follow a path part by part, by names that are alike. `spare` folders may be left out, or be too many."""
        part, rest = parts[0], parts[1:]
        for name in self._alike(folder, part, is_last=not rest):
            there = os.path.normpath(os.path.join(folder, name))
            if not rest and self.fits(there):
                return there
            if rest and os.path.isdir(there) and (found := self.walk(there, rest, spare)):
                return found
        if not spare:
            return None
        if rest and (found := self.walk(folder, rest, spare - 1)):
            return found
        names = [name for name in self._listing(folder).names if _may_mean(part, name)]
        inside = [os.path.join(folder, name) for name in names[:COMPARED]]
        if found := next((there for each in inside if self.fits(there := os.path.join(each, *parts))), None):
            return found
        for each in inside:
            if len(self._listings) >= FOLDERS:
                break
            if os.path.isdir(each) and (found := self.walk(each, parts, spare - 1)):
                return found
        return None

    def _alike(self, folder: str, part: str, *, is_last: bool) -> Iterator[str]:
        """Entries of a folder that a part of a path may mean, the likeliest first."""
        if os.path.lexists(os.path.join(folder, part)):
            yield part
            if not is_last:
                return
        _, by_fold, by_stem = self._listing(folder)
        folded = _fold(part)
        if name := by_fold.get(folded):
            yield name
        if is_last:
            # A suffix that is left out, is another, or one too many.
            stem = os.path.splitext(folded)[0]
            yield from filter(None, (by_stem.get(folded), by_fold.get(stem), by_stem.get(stem)))
        if self.wanted.loosely:
            from difflib import get_close_matches

            compared = [key for key in by_fold if _may_mean(part, key)][:COMPARED]
            for key in get_close_matches(folded, compared, n=2, cutoff=0.7):
                yield by_fold[key]

    def _listing(self, folder: str) -> _Names:
        if folder not in self._listings:
            names: list[str] = []
            if len(self._listings) < FOLDERS:
                with suppress(OSError), os.scandir(folder) as scan:
                    names = sorted(entry.name for entry, _ in zip(scan, range(SCANNED), strict=False))
            by_fold: dict[str, str] = {}
            by_stem: dict[str, str] = {}
            for name in names:
                folded = _fold(name)
                by_fold.setdefault(folded, name)
                for end in (at for at, char in enumerate(folded) if char == "." and at):
                    by_stem.setdefault(folded[:end], name)
            self._listings[folder] = _Names(names, by_fold, by_stem)
        return self._listings[folder]


def _may_mean(part: str, name: str) -> bool:
    """Whether a name may be what was meant: a hidden one only by a name that begins with a dot, too."""
    return part.startswith(".") or not name.startswith(".")


def _cleaned(text: str) -> str:
    """A path without what other systems, shells and browsers put into it."""
    from urllib.parse import unquote

    text = text.strip().strip("\"'`“”‘’").strip()
    text = unquote(re.sub(r"^file:(//)?", "", text)) if "%" in text or text.startswith("file:") else text
    text = re.sub(r"^(\$HOME|\$\{HOME\})(?=/|$)", "~", text)
    text = re.sub(r"\\(?=[ '\"()&])", "", text).replace("\\", "/")
    text = re.sub(r"^(\./)+(?=~/)", "", text)
    return re.sub(r"^[A-Za-z]:(?=/)", "", text)


def _fold(name: str) -> str:
    """What the spellings of one name have in common."""
    import unicodedata
    from urllib.parse import unquote

    plain = unicodedata.normalize("NFKC", unquote(name) if "%" in name else name).casefold()
    plain = plain.replace("sha256:", "sha256-").strip(" \t\"'`")
    return re.sub(r"[\s_-]+", "-", plain)


def _spelled(found: str, text: str, folder: str) -> str:
    """A path from where `text` starts, with a leading `./` if `text` has one."""
    home = os.path.expanduser("~").rstrip("/") + "/"
    if _cleaned(text).startswith("~") and found.startswith(home):
        return "~/" + found.removeprefix(home)
    near = os.path.relpath(found, folder)
    if text.startswith("/") or len(near) > len(found):
        return found
    return f"./{near}" if text.startswith("./") and not near.startswith("..") else near
