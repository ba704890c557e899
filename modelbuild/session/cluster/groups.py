"""One large layer as groups of its tensors: several workers make a part file each, and the layer is then made of these.

A part is a layer of its own, of a recipe that is a run of the tensors of the whole one. The action of the whole layer stays what it is.
That its tensors are found in part files, by their keys, makes it quick and changes no byte, as with all tensors that were made before.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from modelbuild.digest import canonical
from modelbuild.engine.action import Action
from modelbuild.session.cluster.task import Part

if TYPE_CHECKING:
    from modelbuild.tensors.recipe import Entry, Recipe

LEAST = 2 << 30
"""Bytes of a part: what is smaller is made sooner than it has travelled twice."""

MOST = 64
"""Parts of one layer."""


def count(size: int, idle: int) -> int:
    """In how many parts a layer of so many bytes is made while so many workers have nothing else to do; 1: it is made at once."""
    return max(1, min(size // LEAST, idle, MOST))


def divided(recipe: Recipe, parts: int) -> list[Recipe]:
    """The recipes of so many parts, at most, which take about as long: by the bytes that are read and written, in file order."""
    from modelbuild.tensors.recipe import Recipe

    weights = [_work(entry) for entry in recipe.tensors]
    total, done = sum(weights), 0
    groups: list[list[Entry]] = [[] for _ in range(parts)]
    for entry, weight in zip(recipe.tensors, weights, strict=True):
        # By its middle, so that no group takes a large tensor that is mostly another's.
        groups[min(parts - 1, (2 * done + weight) * parts // max(1, 2 * total))].append(entry)
        done += weight
    return [Recipe({}, group, _needed(recipe, group)) for group in groups if group]


def part_of(whole: Action, key: str, recipe: str) -> Part:
    """The action that makes the part with the recipe of this digest; `key` is that of the whole layer: it says what its weights are."""
    action = Action(whole.kind, whole.version, whole.parameters, (("recipe", recipe),))
    told = ["modelbuild part", key, action.digest]
    return Part(action, hashlib.sha256(canonical(told)).hexdigest())


def _work(entry: Entry) -> int:
    return entry.expression.size + sum(leaf.size for leaf in entry.expression.leaves())


def _needed(recipe: Recipe, group: list[Entry]) -> dict[str, bytes]:
    leaves = {leaf.digest for entry in group for leaf in entry.expression.leaves()}
    return {digest: data for digest, data in recipe.constants.items() if digest in leaves}
