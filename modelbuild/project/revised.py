"""Which models an edit of a ModelBuild.toml reaches, as far as two readings of it tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from modelbuild.project.discovery import GLOB

OWN = frozenset({"system", "template", "license", "messages", "parameters"})
"""Keys of a model that decide its own layers: neither its names and rows, nor what it is based on."""


def reached(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str] | None:
    """The models whose own keys differ, and those that extend them; None where more differs, or that cannot be told."""
    tables_before, tables = before.get("model", {}), after.get("model", {})
    if _spelled({**before, "model": [*tables_before]}) != _spelled({**after, "model": [*tables]}):
        return None
    changed = [name for name, table in tables.items() if _spelled(table) != _spelled(tables_before[name])]
    if not all(_is_own(name, tables_before[name], tables[name]) for name in changed):
        return None
    children: dict[str, list[str]] = {}
    for name, table in tables.items():
        if parent := table.get("extends"):
            children.setdefault("$" if "$" in parent else parent, []).append(name)
    if changed and "$" in children:
        return None
    found, todo = set(changed), changed
    while todo:
        more = [each for each in children.get(todo.pop(), ()) if each not in found]
        found.update(more)
        todo += more
    return found


def _is_own(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether tables of a model differ only in keys of its own, none of which is of other use: it names no variable."""
    differ = {key for key in before.keys() | after.keys() if _spelled(before.get(key)) != _spelled(after.get(key))}
    values = [table.get(key) for key in differ for table in (before, after)]
    return not GLOB.search(name) and differ <= OWN and "$" not in _spelled(values)


def _spelled(value: Any) -> str:
    """A value with the order of its keys, which is that of rows and names too."""
    return json.dumps(value)
