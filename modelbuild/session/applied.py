"""What was applied of the adapters of a variant, told from the recipes that its build has made."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from math import sqrt

from modelbuild.checkpoint.adapters import proof
from modelbuild.engine.graph import Output, Source, Step
from modelbuild.engine.standing import Standing
from modelbuild.engine.store import Damaged
from modelbuild.errors import Error
from modelbuild.plan import planned
from modelbuild.session.leaves import Leaves
from modelbuild.session.session import Session
from modelbuild.session.settings import memory_limit
from modelbuild.tensors.evaluate import Mismatch, Reader
from modelbuild.tensors.ftypes import block_of
from modelbuild.tensors.recipe import Expression, Recipe
from modelbuild.tensors.tensor import TensorTable
from modelbuild.tuples import NamedTuple


class Applied(NamedTuple):
    """An adapter of a variant.

    path     of its weights file
    mode     `layer` or `merge`
    pairs    how many its file has; None where the variant is not built, or the file is not here
    applied  how many of them were applied
    left     the tensors of its file that were not applied
    tensors  those of the model that it changes
    blocks   block -> the length of what is added over that of the weights that it is added to; "" is what is in no block
    """

    path: str
    mode: str
    pairs: int | None
    applied: int | None
    left: list[str]
    tensors: list[str]
    blocks: dict[str, float]


def adapters(session: Session, output: Output, standing: Standing) -> list[Applied]:
    """The adapters that are made from their files, merged ones first."""
    graph = session.graph
    merges = [step for step in planned.recipe_steps(graph, output) if step.kind == planned.MERGE]
    layers = [graph.steps[name] for each in planned.layers(graph, output) for name in each.step.needs]
    steps = [*reversed(merges), *(step for step in layers if step.kind == planned.ADAPT)]
    return [_applied(session, step, standing) for step in steps]


def _applied(session: Session, step: Step, standing: Standing) -> Applied:
    source = next(source for source in step.sources if source.is_weights)
    mode = "merge" if step.kind == planned.MERGE else "layer"
    recipe = _recipe(session, step.name, standing)
    table = _table(session, source)
    base = _recipe(session, next(step.needs), standing)
    if recipe is None or table is None or base is None:
        return Applied(source.path, mode, None, None, [], [], {})
    pairs, done, left = proof.taken(table, recipe)
    changes = proof.merged(table, recipe) if mode == "merge" else proof.layered(recipe, base)
    blocks = _ratios(session, changes, [base, recipe])
    return Applied(source.path, mode, pairs, done, left, proof.touched(table, recipe), blocks)


def _recipe(session: Session, step: str, standing: Standing) -> Recipe | None:
    made = standing.results.get(step)
    try:
        return Recipe.decode(session.store.read(made.artifact)) if made is not None else None
    except Damaged:
        return None


def _table(session: Session, source: Source) -> TensorTable | None:
    if source.is_away():
        return None
    try:
        detail = session.sources.detail(session.sources.digest(source))
    except Error:
        return None
    return TensorTable.decode(detail) if detail is not None else None


def _ratios(session: Session, changes: Iterable[proof.Change], recipes: Iterable[Recipe]) -> dict[str, float]:
    """What is added over what it is added to, by block; none where a source is not what it was."""
    constants = {digest: data for recipe in recipes for digest, data in recipe.constants.items()}
    sums: dict[str, list[float]] = {}
    leaves = Leaves(session.sources, session.cache)
    try:
        with Reader(threading.Event(), constants, leaves.region, memory_limit(session.settings)) as reader:
            for change, (added, before) in _squares(session, changes, reader):
                block = block_of(change.name)
                found = sums.setdefault("" if block is None else str(block), [0.0, 0.0])
                found[0] += added
                found[1] += before
    except (Error, Mismatch, OSError):
        return {}
    return {block: sqrt(added / before) for block, (added, before) in sums.items() if before}


def _squares(
    session: Session, changes: Iterable[proof.Change], reader: Reader
) -> Iterator[tuple[proof.Change, tuple[float, float]]]:
    """The sums of each change: kept ones, and those taken now."""
    for number, change in enumerate(changes):
        key = f"applied 1 {change.key}"
        kept = session.kept.get(key)
        if kept is None:

            def values(x: Expression, first: int, count: int, number: int = number) -> bytes:
                return bytes(reader.evaluate(x, f"{number} {x.key}", first, count))

            found = proof.squares(change, values)
            session.kept.put(key, json.dumps(found).encode())
        else:
            added, before = json.loads(kept)
            found = (float(added), float(before))
        yield change, found
