"""Tables of model keys, merged; each value with its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modelbuild.project.keys import KEYS
from modelbuild.project.locate import Place
from modelbuild.tuples import NamedTuple


class Table(NamedTuple):
    """Keys of a model and their values, as one place says them."""

    values: Mapping[str, Any]
    place: Place


class Said(NamedTuple):
    """A value and its place; for the keys that merge, `value` holds one `Said` per entry."""

    value: Any
    place: Place


def lay(tables: Iterable[Table], over: Mapping[str, Said] | None = None) -> dict[str, Said]:
    """Merge tables, also with those merged before; the last one wins."""
    laid = dict(over or {})
    for values, place in tables:
        for key, value in values.items():
            put(laid, key, value, place.at(key))
    return laid


def put(laid: dict[str, Said], key: str, value: Any, place: Place) -> None:
    """Lay one value on top."""
    entries = KEYS[key].entries
    if entries:
        merged = dict(laid[key].value) if key in laid else {}
        merged.update((name, Said(item, place.at(*path))) for name, item, path in entries(value))
        laid[key] = Said(merged, place)
    else:
        laid[key] = Said(value, place)


def put_entry(laid: dict[str, Said], key: str, name: str, said: Said) -> None:
    """Lay one entry of a table that merges on top."""
    below = laid.get(key, Said({}, said.place))
    laid[key] = Said({**below.value, name: said}, below.place)


def in_defaults(place: Place) -> bool:
    """Whether [defaults] says it."""
    return place.key[:1] == ("defaults",)
