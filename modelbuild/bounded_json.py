"""JSON from outside: parsed only if it needs a bounded amount of memory, which is estimated first, and is not nested too deeply."""

from __future__ import annotations

import gc
import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

from modelbuild.errors import Error

MEMORY_LIMIT = 450_000_000
"""Bytes that parsing may take. The largest real file, Gemma 3's tokenizer.json of 33 million bytes, takes some 340 million."""
DEPTH_LIMIT = 64
"""Lists and objects within one another; real files have ten."""

_LARGE = 1 << 20
"""Bytes; what is smaller takes a few megabytes at most, whatever it holds."""
_TOO_DEEP = "expected JSON that can be read: it is nested too deeply, or a number in it is too long"


def text(data: bytes, path: str) -> str:
    """The text of a JSON file. Raises Error for one that would take too much memory, and for what is not UTF-8."""
    if len(data) <= _LARGE:
        return decoded(data, path)
    values = check(data, path)
    data, wide = _narrowed(data)
    found = decoded(data, path)
    # The text, and what of it becomes strings: those with a character of four bytes take four for each.
    require(values + sys.getsizeof(found) * (3 if wide else 2), path)
    return found


def parse(text: str, path: str) -> Any:
    """Any JSON value. Raises Error, with the line where there is one."""
    try:
        with uncollected(len(text)):
            value = json.loads(text)
    except json.JSONDecodeError as error:
        if text.startswith("\ufeff"):
            raise Error("begins with a byte order mark", path=path, hint="save the file as UTF-8 without one") from None
        start = text.rfind("\n", 0, error.pos) + 1
        raise Error(
            f"expected JSON: {error.msg[:1].lower()}{error.msg[1:]}",
            path=path,
            line=error.lineno,
            column=error.colno,
            source=text[start : start + 200].split("\n")[0],
        ) from None
    except (RecursionError, ValueError):
        raise Error(_TOO_DEEP, path=path) from None
    if is_deep(value):
        raise Error(_TOO_DEEP, path=path)
    return value


@contextmanager
def uncollected(size: int = _LARGE + 1) -> Iterator[None]:
    """Leave garbage alone while a large file is read: it becomes a million objects, and to look at them again and again takes long.

    size  bytes of the file; whatever takes none is large
    """
    collecting = gc.isenabled() and size > _LARGE
    if collecting:
        gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def check(data: bytes, path: str) -> int:
    """The most memory that the values of a JSON text can take besides their texts. Raises Error where that is too much.

    It is what CPython needs for a list, an object, an item and a key, by their marks, those in strings too; of a small text, what it
    would need if all were marks.
    """
    if len(data) <= _LARGE:
        return 250 * len(data)
    memory = 80 * data.count(b"[") + 250 * data.count(b"{") + 72 * data.count(b",") + 80 * data.count(b":")
    require(memory, path)
    return memory


def require(memory: int, path: str) -> None:
    """Raise Error for what would take more memory than parsing may."""
    if memory > MEMORY_LIMIT:
        raise Error(
            "contains more than can be read",
            path=path,
            facts=[("memory", f"{memory:,} bytes"), ("at most", f"{MEMORY_LIMIT:,} bytes")],
            hint="no model file has so many values: the file is damaged or is not what its name says; download it again",
        )


_FOUR_BYTES = re.compile(rb"[\xf0-\xf4][\x80-\xbf]{3}")
_FEW = 1 << 19


def _narrowed(data: bytes) -> tuple[bytes, bool]:
    """The text with its characters of four bytes as escapes, if they are few: else one would have all of it take four times as much.

    Returns also whether there are any.
    """
    if data.isascii():
        return data, False
    count = sum(data.count(lead) for lead in (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4"))
    return (_FOUR_BYTES.sub(_escaped, data), True) if 0 < count <= _FEW else (data, False)


def _escaped(match: re.Match[bytes]) -> bytes:
    try:
        return json.dumps(match[0].decode())[1:-1].encode()
    except UnicodeDecodeError:
        return match[0]


def is_deep(value: Any) -> bool:
    """Whether lists and objects lie within one another deeper than in any real file."""
    level = [value] if isinstance(value, list | dict) else []
    for _ in range(DEPTH_LIMIT):
        if not level:
            return False
        items = chain.from_iterable(_items(each) for each in level if len(each) < _MANY or not _is_flat(each))
        level = [item for item in items if type(item) is dict or type(item) is list]
    return bool(level)


_MANY = 16


def _is_flat(value: Any) -> bool:
    """Whether neither lists nor objects lie in one."""
    return {dict, list}.isdisjoint(map(type, _items(value)))


def _items(value: Any) -> Iterable[Any]:
    return value.values() if type(value) is dict else value


def decoded(data: bytes, path: str) -> str:
    """UTF-8 as text. Raises Error for anything else."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Error(f"expected UTF-8, got byte 0x{data[error.start]:02x} at {error.start}", path=path) from None
