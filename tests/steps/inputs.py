"""What a step is given, out of dicts."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from modelbuild.engine.action import ActionResult, Made
from modelbuild.tensors.recipe import Recipe
from modelbuild.tensors.tensor import TensorTable


class Given:
    """Inputs of a step: bytes by role, of files and of what other steps made, and tables."""

    def __init__(self, tables: Mapping[str, TensorTable] | None = None, **inputs: bytes) -> None:
        self.inputs = inputs
        self._tables = dict(tables or {})
        self.copied: list[tuple[str, bool]] = []
        self.materialized: list[Recipe] = []

    def roles(self) -> list[str]:
        return [*self.inputs, *self._tables]

    def file(self, role: str) -> bytes | None:
        return self.inputs.get(role)

    def artifact(self, role: str) -> bytes:
        return self.inputs[role]

    def recipe(self, role: str) -> Recipe:
        return Recipe.decode(self.artifact(role))

    def tables(self) -> list[tuple[str, TensorTable]]:
        return list(self._tables.items())

    def entry(self, role: str) -> ActionResult:
        return ActionResult("sha256:" + sha256(self.inputs[role]).hexdigest(), len(self.inputs[role]))

    def copy(self, role: str, link: bool) -> Made:
        self.copied.append((role, link))
        return Made(self.entry(role))

    def materialize(self, recipe: Recipe, *, stored: bool = False) -> Made:
        self.materialized.append(recipe)
        return Made(ActionResult("sha256:0", 0))
