"""The metadata of a project, merged into those of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelbuild.checkpoint.metadata import FIELDS, GENERAL, TABLES, fitting
from modelbuild.tensors.formats.gguf import encode_value, type_name

Values = Mapping[str, bytes]


def describe(metadata: Values, given: Mapping[str, Any]) -> dict[str, bytes]:
    """Set keys as `convert_hf_to_gguf.py --metadata` does: each at its place in the file; `""` and `[]` take a key away.

    A key that is there keeps its place and its type, a new one that the converter doesn't know comes last.
    Raises Error for a value of another type. Source: gguf-py metadata.py (Metadata.load, set_gguf_meta_model)
    """
    values = dict(metadata)
    for key, value in given.items():
        stem = f"{TABLES[key]}." if key in TABLES else None
        names = list(values)
        old = [name for name in names if name == key or (stem and name.startswith(stem))]
        at = names.index(old[0]) if old else _place(key, names)
        pairs = list(values.items())
        values = dict(
            [*pairs[:at], *_encoded(key, value, values.get(key)), *(pair for pair in pairs[at:] if pair[0] not in old)]
        )
    return values


def _place(key: str, names: list[str]) -> int:
    """Where a new key goes: behind the last of those that the converter writes before it."""
    if key not in GENERAL:
        return len(names)
    order = list(GENERAL)
    before = [
        n
        for n, name in enumerate(names)
        if name in ("general.architecture", "general.type") or _rank(name, order) < order.index(key)
    ]
    return before[-1] + 1 if before else 0


def _rank(name: str, order: list[str]) -> int:
    for whole, stem in TABLES.items():
        if name.startswith(f"{stem}."):
            return order.index(whole)
    return order.index(name) if name in order else len(order)


def _encoded(key: str, value: Any, old: bytes | None) -> list[tuple[str, bytes]]:
    if value == "" or (value == [] and key not in TABLES):
        return []
    if key in TABLES:
        return _tables(TABLES[key], value)
    form = GENERAL.get(key) or (type_name(old) if old is not None else _type(key, value))
    return [(key, encode_value(form, fitting(key, form, value)))]


def _type(key: str, value: Any) -> str:
    """The type of a new key: whole numbers are what the runtime expects of most keys, u32 where they fit."""
    if isinstance(value, list):
        fitting(key, "[str]", value)
        return "[str]"
    if isinstance(value, str | bool):
        return "str" if isinstance(value, str) else "bool"
    if isinstance(value, float):
        return "f32"
    limits = (("u32", 0, 1 << 32), ("i32", -1 << 31, 0), ("u64", 0, 1 << 64))
    return next((form for form, low, high in limits if low <= value < high), "i64")


def _tables(stem: str, entries: Any) -> list[tuple[str, bytes]]:
    # The count stands even where there is none, as in the reference.
    found = [(f"{stem}.count", encode_value("u32", len(entries)))]
    for number, entry in enumerate(entries):
        found += [
            (f"{stem}.{number}.{field}", encode_value("str", entry[field])) for field in FIELDS if entry.get(field)
        ]
    return found
