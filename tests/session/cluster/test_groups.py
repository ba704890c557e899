"""A layer in groups of its tensors: each tensor is in one of them, in order, and they are about as much work."""

from __future__ import annotations

import pytest

from modelbuild.engine.action import Action
from modelbuild.session.cluster.groups import LEAST, MOST, count, divided, part_of
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.recipe import Entry, Recipe


def recipe(*sizes: int) -> Recipe:
    entries = []
    for number, size in enumerate(sizes):
        x = leaf(f"xxh3:{number:032}", "f32", (size,))
        entries.append(Entry(f"t{number}", x.shape, x))
    return Recipe({"general.name": b"x"}, entries, {f"xxh3:{1:032}": b"data"})


@pytest.mark.parametrize(
    ("sizes", "parts", "expected"),
    [
        ((1, 1, 1, 1), 2, [2, 2]),
        ((1, 1, 1, 9), 2, [3, 1]),
        ((9, 1, 1, 1), 2, [1, 3]),
        ((1, 100, 1), 3, [1, 1, 1]),
        ((100,), 3, [1]),
        ((), 3, []),
        (tuple([3] * 100), 10, [10] * 10),
    ],
)
def test_groups_are_runs_of_about_the_same_work(sizes: tuple[int, ...], parts: int, expected: list[int]) -> None:
    whole = recipe(*sizes)
    found = divided(whole, parts)
    assert [len(each.tensors) for each in found] == expected
    assert [entry for each in found for entry in each.tensors] == list(whole.tensors)
    # Of what no weights file contains, each has what it needs.
    assert sum(len(each.constants) for each in found) == (len(sizes) > 1)


@pytest.mark.parametrize(
    ("size", "idle", "expected"),
    [
        (0, 100, 1),
        (LEAST * 2 - 1, 100, 1),
        (LEAST * 2, 100, 2),
        (LEAST * 20, 4, 4),
        (LEAST * 20, 0, 1),
        (1 << 50, 1000, MOST),
    ],
)
def test_what_is_small_or_finds_no_idle_worker_is_not_divided(size: int, idle: int, expected: int) -> None:
    assert count(size, idle) == expected


def test_the_key_of_a_part_tells_the_layer_and_the_recipe() -> None:
    whole = Action("layer", 1, '{"operations":{"cast":2}}', (("recipe", "sha256:a"),))
    part = part_of(whole, "k" * 64, "sha256:b")
    assert part.action.parameters == whole.parameters and part.action.inputs == (("recipe", "sha256:b"),)
    assert part.key not in {part_of(whole, "l" * 64, "sha256:b").key, part_of(whole, "k" * 64, "sha256:c").key}
