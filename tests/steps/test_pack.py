"""The step that packs a checkpoint has the widest values first, so that all of them are aligned."""

from __future__ import annotations

from modelbuild.engine.action import ActionResult, Made
from modelbuild.steps import pack
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.recipe import Entry, Recipe
from tests.steps.inputs import Given


class Packing(Given):
    def __init__(self, **inputs: bytes) -> None:
        super().__init__(None, **inputs)
        self.packed: list[Recipe] = []

    def pack(self, recipe: Recipe) -> Made:
        self.packed.append(recipe)
        return Made(ActionResult("sha256:0", 0))


def test_wide_values_come_first() -> None:
    dtypes = ["u8", "bf16", "f32", "bf16", "i64", "f32"]
    entries = [Entry(f"t{n}", (3,), leaf(f"xxh3:{n}", dtype, (3,))) for n, dtype in enumerate(dtypes)]
    given = Packing(checkpoint=Recipe({"config.json": b"{}"}, entries).encode())
    pack.run({}, given)
    (made,) = given.packed
    assert [entry.name for entry in made.tensors] == ["t4", "t2", "t5", "t1", "t3", "t0"]
    assert made.metadata == {"config.json": b"{}"}
