"""Hints for values of the wrong shape that are nearly right: what was most likely meant."""

from __future__ import annotations

import json
from typing import Any

from modelbuild.project.keys import KEYS, axis_of
from modelbuild.project.locate import Path


def as_rows(loc: Path, values: list[Any]) -> str | None:
    """A hint for a key of a model that got several values: each is a row of its own, or what else takes several."""
    match loc:
        case ("defaults", str(key)):
            model = "NAME"
        case ("model", str(model), str(key)):
            model = model or "NAME"
        case _:
            return None
    if key == "extends":
        return "name one model, which may extend another"
    if key == "tag":
        return f"list them in 'tags': tags = {axis_of(values)}"
    if key not in KEYS or KEYS[key].makes is not None:
        return None
    return f"make a matrix, with a variant for each: [model.{model}.matrix] {key} = {axis_of(values)}"


def as_adapter(loc: Path, value: Any) -> str | None:
    """A hint for an adapter that is named by its path alone."""
    if not (isinstance(value, str) and value):
        return None
    match loc:
        case (*_, "adapters", int()):
            return f"write it as a table: {{ path = {json.dumps(value, ensure_ascii=False)} }}"
        case (*_, "adapters"):
            return f"write it as a list of tables: adapters = [{{ path = {json.dumps(value, ensure_ascii=False)} }}]"
    return None
