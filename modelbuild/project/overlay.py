"""Tables of model keys laid over one another, each value with the place that said it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from modelbuild.checkpoint.metadata import flat
from modelbuild.project.locate import Place

MERGED = ("parameters", "metadata", "matrix", "default")
"""Keys whose tables merge by key when one layer lies over another; every other value replaces."""


class Layer(NamedTuple):
    table: Mapping[str, Any]
    place: Place


class Said(NamedTuple):
    """A value and its place; for the keys that merge, `value` holds one `Said` per key."""

    value: Any
    place: Place


def lay(layers: Iterable[Layer], over: Mapping[str, Said] | None = None) -> dict[str, Said]:
    """Lay tables over one another (and over what was laid before), the last on top."""
    laid = dict(over or {})
    for table, place in layers:
        for key, value in table.items():
            put(laid, key, value, place.at(key))
    return laid


def put(laid: dict[str, Said], key: str, value: Any, place: Place) -> None:
    """Lay one value on top."""
    if key in MERGED:
        merged = dict(laid[key].value) if key in laid else {}
        if key == "metadata":
            merged.update((name, Said(item, place.at(*path))) for name, item, path in flat(value))
        else:
            merged.update((name, Said(item, place.at(name))) for name, item in value.items())
        laid[key] = Said(merged, place)
    else:
        laid[key] = Said(value, place)
