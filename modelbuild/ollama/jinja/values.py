"""What the expressions of a chat template work on: text, numbers, lists, mappings, and what is in reach of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

LONGEST_TEXT = 1 << 16
"""Characters of any text made while rendering, and elements of any list."""


class Unsupported(Exception):
    """The template uses what is not read here, too much of it, or fails."""


class Refused(Exception):
    """The template refuses the conversation: `raise_exception`."""


class Undefined:
    """What a name stands for that nothing is known of: false, empty, printed as nothing."""

    def __bool__(self) -> bool:
        return False

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __str__(self) -> str:
        return ""


UNDEFINED = Undefined()


class Namespace:
    """The one value whose attributes can be set."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values


class Loop:
    """`loop` within a loop over some items; `at` is the index of the present one."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.at = 0

    def get(self, name: str) -> Any:
        at, size = self.at, len(self.items)
        values: dict[str, Any] = {
            "index": at + 1, "index0": at, "revindex": size - at, "revindex0": size - at - 1, "length": size,
            "first": at == 0, "last": at == size - 1, "depth": 1, "depth0": 0,
            "previtem": self.items[at - 1] if at else UNDEFINED,
            "nextitem": self.items[at + 1] if at + 1 < size else UNDEFINED,
        }  # fmt: skip
        return values.get(name, UNDEFINED)


class Function:
    """A callable of a template: a macro, a method bound to its value, a global."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call


DATE = ("\ue000", "\ue001")
"""A date is rendered as its format between these two: nothing a template knows of."""


def bounded(value: Any) -> Any:
    """The value. Raises Unsupported for one that is too long or too large."""
    if isinstance(value, (str, list, tuple, dict)):
        if len(value) > LONGEST_TEXT:
            raise Unsupported("too long a value")
    elif isinstance(value, int) and abs(value) >= 1 << 63:
        raise Unsupported("too large a number")
    return value


def printed(value: object) -> str:
    """How a value is printed. Mappings and lists are not: no chat template prints Python's form of them."""
    if isinstance(value, str):
        return value
    if value is None or value is UNDEFINED or isinstance(value, (bool, int, float)):
        return str(value)
    raise Unsupported("a printed list or mapping")


def elements(value: Any) -> list[Any]:
    """What a loop goes over: of a mapping its keys. Raises TypeError for a value that has no elements."""
    if isinstance(value, (str, list, tuple, dict, Undefined)):
        return list(value)
    raise TypeError("not iterable")


def attribute_of(value: Any, name: str) -> Any:
    """`value.name`: a method, or the entry of a mapping."""
    if value is UNDEFINED:
        raise TypeError(f"'{name}' of something undefined")
    if isinstance(value, Loop):
        return value.get(name)
    if isinstance(value, Namespace):
        return value.values.get(name, UNDEFINED)
    if isinstance(value, str) and name in _TEXT_METHODS:
        method = _TEXT_METHODS[name]
        return Function(lambda *given: method(value, *given))
    if isinstance(value, dict):
        if name in _MAPPING_METHODS:
            method = _MAPPING_METHODS[name]
            return Function(lambda *given: method(value, *given))
        if name in value:
            return value[name]
    if hasattr(type(value), name):
        raise Unsupported(f"method '{name}'")
    return UNDEFINED


def item_of(value: Any, key: Any) -> Any:
    """`value[key]`: an entry, or where there is none an attribute."""
    if isinstance(value, dict) and isinstance(key, (str, int)) and key in value:
        return value[key]
    if isinstance(value, (list, tuple, str)) and isinstance(key, int):
        return value[key] if -len(value) <= key < len(value) else UNDEFINED
    if isinstance(key, str):
        return attribute_of(value, key)
    if value is UNDEFINED:
        raise TypeError("an element of something undefined")
    return UNDEFINED


def require_text(*values: object) -> None:
    """Raise TypeError for a value that is no text."""
    if not all(isinstance(value, str) for value in values):
        raise TypeError("expected text")


def replace(text: str, old: str, new: str, count: int = -1) -> str:
    require_text(text, old, new)
    if (len(text) + 1) * (len(new) + 1) > LONGEST_TEXT * 64 and text.count(old) * len(new) > LONGEST_TEXT:
        raise Unsupported("too long a text")
    return text.replace(old, new, count)


def join(items: Any, by: str = "", attribute: Any = None) -> str:
    """Elements, or an attribute of each, printed with `by` between them."""
    parts = [printed(item if attribute is None else item_of(item, attribute)) for item in elements(items)]
    if sum(map(len, parts)) + len(by) * len(parts) > LONGEST_TEXT:
        raise Unsupported("too long a text")
    return by.join(parts)


_TEXT_METHODS: dict[str, Callable[..., Any]] = {
    "strip": str.strip, "lstrip": str.lstrip, "rstrip": str.rstrip, "split": str.split, "rsplit": str.rsplit,
    "startswith": str.startswith, "endswith": str.endswith, "upper": str.upper, "lower": str.lower, "title": str.title,
    "capitalize": str.capitalize, "find": str.find, "count": str.count, "splitlines": str.splitlines,
    "isdigit": str.isdigit, "isspace": str.isspace, "removeprefix": str.removeprefix, "removesuffix": str.removesuffix,
    "replace": replace, "join": lambda by, items: join(items, by),
}  # fmt: skip
_MAPPING_METHODS: dict[str, Callable[..., Any]] = {
    "items": lambda value: [tuple(pair) for pair in value.items()],
    "keys": lambda value: list(value),
    "values": lambda value: list(value.values()),
    "get": lambda value, key, other=None: value.get(key, other),
}
