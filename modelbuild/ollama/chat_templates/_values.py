"""What the expressions of a chat template work on: text, numbers, lists, mappings, and the functions by name that reach them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

LONGEST_TEXT = 1 << 16
"""Characters of any text made while rendering, and elements of any list."""


class Unsupported(Exception):
    """The template uses what is not read here, too much of it, or fails."""


class Refused(Exception):
    """The template refuses the conversation: `raise_exception`."""


class Undefined:
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
    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values


class Loop:
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


def _raise(message: object = "") -> Any:
    raise Refused(printed(message))


def _range(*bounds: int) -> list[int]:
    numbers = range(*bounds)
    if len(numbers) > LONGEST_TEXT:
        raise Unsupported("range")
    return list(numbers)


DATE = ("\ue000", "\ue001")
"""A date is rendered as its format between these two: nothing a template knows of."""


def _date(form: str) -> str:
    return DATE[0] + form + DATE[1]


GLOBALS: dict[str, Any] = {
    "raise_exception": Function(_raise),
    "range": Function(_range),
    "namespace": Function(lambda *given, **values: Namespace({**(given[0] if given else {}), **values})),
    "dict": Function(lambda **values: values),
    "strftime_now": Function(_date),
}


def bounded(value: Any) -> Any:
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


def _strings(*values: object) -> None:
    if not all(isinstance(value, str) for value in values):
        raise TypeError("expected text")


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    _strings(text, old, new)
    if (len(text) + 1) * (len(new) + 1) > LONGEST_TEXT * 64 and text.count(old) * len(new) > LONGEST_TEXT:
        raise Unsupported("too long a text")
    return text.replace(old, new, count)


def _join(items: Any, by: str = "", attribute: Any = None) -> str:
    parts = [printed(item if attribute is None else item_of(item, attribute)) for item in elements(items)]
    if sum(map(len, parts)) + len(by) * len(parts) > LONGEST_TEXT:
        raise Unsupported("too long a text")
    return by.join(parts)


_TEXT_METHODS: dict[str, Callable[..., Any]] = {
    "strip": str.strip, "lstrip": str.lstrip, "rstrip": str.rstrip, "split": str.split, "rsplit": str.rsplit,
    "startswith": str.startswith, "endswith": str.endswith, "upper": str.upper, "lower": str.lower, "title": str.title,
    "capitalize": str.capitalize, "find": str.find, "count": str.count, "splitlines": str.splitlines,
    "isdigit": str.isdigit, "isspace": str.isspace, "removeprefix": str.removeprefix, "removesuffix": str.removesuffix,
    "replace": _replace, "join": lambda by, items: _join(items, by),
}  # fmt: skip
_MAPPING_METHODS: dict[str, Callable[..., Any]] = {
    "items": lambda value: [tuple(pair) for pair in value.items()],
    "keys": lambda value: list(value),
    "values": lambda value: list(value.values()),
    "get": lambda value, key, other=None: value.get(key, other),
}


def _json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **others: Any) -> str:
    if others or (indent is not None and not 0 <= indent <= 16):
        raise Unsupported("tojson")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    return default_value if value is UNDEFINED or (boolean and not value) else value


def _chosen(keep: bool, by_attribute: bool) -> Callable[..., list[Any]]:
    def filter(items: Any, *given: Any) -> list[Any]:
        attribute, given = (given[0], given[1:]) if by_attribute else (None, given)
        name, arguments = (given[0], given[1:]) if given else (None, ())
        if name is not None and name not in TESTS:
            raise Unsupported(f"test '{name}'")
        chosen = []
        for item in elements(items or ()):
            value = item_of(item, attribute) if by_attribute else item
            if bool(TESTS[name](value, *arguments) if name else value) == keep:
                chosen.append(item)
        return chosen

    return filter


def _map(
    items: Any, name: str | None = None, *given: Any, attribute: Any = None, default: Any = UNDEFINED
) -> list[Any]:
    if attribute is not None:
        return [_default(item_of(item, attribute), default) for item in elements(items or ())]
    if name not in FILTERS:
        raise Unsupported(f"filter '{name}'")
    return [FILTERS[name](item, *given) for item in elements(items or ())]


def _first(items: Any, last: bool = False) -> Any:
    values = elements(items)
    return values[-1 if last else 0] if values else UNDEFINED


def _indent(text: str, width: int = 4, first: bool = False, blank: bool = False) -> str:
    lines = text.split("\n")
    if not isinstance(width, int) or len(lines) * width > LONGEST_TEXT or blank:
        raise Unsupported("indent")
    blanks = " " * width
    return "\n".join(blanks + line if line and (first or at) else line for at, line in enumerate(lines))


def _round_trip(value: Any, kind: Callable[[Any], Any], other: Any) -> Any:
    try:
        return kind(value) if isinstance(value, (str, int, float)) else other
    except (ValueError, OverflowError):
        return other


FILTERS: dict[str, Callable[..., Any]] = {
    "trim": lambda value, chars=None: printed(value).strip(chars),
    "length": len, "count": len, "list": elements, "string": printed, "safe": lambda value: value,
    "upper": lambda value: printed(value).upper(), "lower": lambda value: printed(value).lower(),
    "title": lambda value: printed(value).title(), "capitalize": lambda value: printed(value).capitalize(),
    "first": _first, "last": lambda items: _first(items, True), "join": _join, "replace": _replace, "default": _default,
    "d": _default, "tojson": _json, "indent": _indent, "map": _map, "abs": abs,
    "int": lambda value, other=0: _round_trip(value, int, other),
    "float": lambda value, other=0.0: _round_trip(value, float, other),
    "items": lambda value: [] if value is UNDEFINED else [tuple(pair) for pair in value.items()],
    "reverse": lambda value: value[::-1], "select": _chosen(True, False), "reject": _chosen(False, False),
    "selectattr": _chosen(True, True), "rejectattr": _chosen(False, True),
}  # fmt: skip

TESTS: dict[str, Callable[..., Any]] = {
    "defined": lambda value: value is not UNDEFINED,
    "undefined": lambda value: value is UNDEFINED,
    "none": lambda value: value is None,
    "string": lambda value: isinstance(value, str),
    "mapping": lambda value: isinstance(value, dict),
    "iterable": lambda value: isinstance(value, (str, list, tuple, dict, Undefined)),
    "sequence": lambda value: isinstance(value, (str, list, tuple, dict, Undefined)),
    "number": lambda value: isinstance(value, (int, float)),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": lambda value: isinstance(value, float),
    "boolean": lambda value: isinstance(value, bool),
    "true": lambda value: value is True,
    "false": lambda value: value is False,
    "odd": lambda value: value % 2 == 1,
    "even": lambda value: value % 2 == 0,
    "divisibleby": lambda value, by: value % by == 0,
    "callable": lambda value: isinstance(value, Function),
    "in": lambda value, items: _contains(items, value),
    "equalto": lambda value, other: value == other,
    "eq": lambda value, other: value == other,
    "ne": lambda value, other: value != other,
    "lt": lambda value, other: value < other,
    "gt": lambda value, other: value > other,
    "le": lambda value, other: value <= other,
    "ge": lambda value, other: value >= other,
    "sameas": lambda value, other: value is other,
}


def _contains(items: Any, value: Any) -> bool:
    if isinstance(items, str):
        _strings(value)
    elif not isinstance(items, (list, tuple, dict, Undefined)):
        raise TypeError("not iterable")
    return value in items


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, (str, list, tuple)) and isinstance(right, (str, list, tuple)):
        bounded(left if len(left) > len(right) else right)
    return left + right


def _times(left: Any, right: Any) -> Any:
    for text, count in ((left, right), (right, left)):
        if isinstance(text, (str, list, tuple)) and isinstance(count, int) and len(text) * count > LONGEST_TEXT:
            raise Unsupported("too long a value")
    return left * right


def _remainder(left: Any, right: Any) -> Any:
    if isinstance(left, str):
        raise Unsupported("formatted text")
    return left % right


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": _add, "-": lambda left, right: left - right, "*": _times, "/": lambda left, right: left / right,
    "//": lambda left, right: left // right, "%": _remainder,
    "==": lambda left, right: left == right, "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right, "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right, ">=": lambda left, right: left >= right,
    "in": lambda left, right: _contains(right, left), "not in": lambda left, right: not _contains(right, left),
}  # fmt: skip
