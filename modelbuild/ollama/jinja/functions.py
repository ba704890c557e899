"""What a chat template may call by name: globals, filters, tests and operators."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from modelbuild.ollama.jinja.values import (
    DATE,
    LONGEST_TEXT,
    UNDEFINED,
    Function,
    Namespace,
    Refused,
    Undefined,
    Unsupported,
    bounded,
    elements,
    item_of,
    join,
    printed,
    replace,
    require_text,
)


def _raise(message: object = "") -> Any:
    raise Refused(printed(message))


def _range(*bounds: int) -> list[int]:
    numbers = range(*bounds)
    if len(numbers) > LONGEST_TEXT:
        raise Unsupported("range")
    return list(numbers)


def _date(notation: str) -> str:
    return DATE[0] + notation + DATE[1]


GLOBALS: dict[str, Any] = {
    "raise_exception": Function(_raise),
    "range": Function(_range),
    "namespace": Function(lambda *given, **values: Namespace({**(given[0] if given else {}), **values})),
    "dict": Function(lambda **values: values),
    "strftime_now": Function(_date),
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
    "first": _first, "last": lambda items: _first(items, True), "join": join, "replace": replace, "default": _default,
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
        require_text(value)
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
