"""The quantization error of built models: their stored tensors compared with their source.

The sums of each tensor are kept: those of what has not changed are there at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace

from modelbuild.engine.action import ActionResult
from modelbuild.engine.graph import Output
from modelbuild.engine.sources import unreadable
from modelbuild.engine.standing import Standing
from modelbuild.engine.store import Damaged
from modelbuild.errors import Error, Errors
from modelbuild.ollama.name import displayed
from modelbuild.plan import planned
from modelbuild.session import gates, state, variants
from modelbuild.session.leaves import Leaves
from modelbuild.session.session import Session
from modelbuild.session.settings import memory_limit
from modelbuild.tensors import quality
from modelbuild.tensors.evaluate import Mismatch, Region
from modelbuild.tensors.materialize import Resources, layout
from modelbuild.tensors.quality import Comparison, MeasuredModel, Stored, Sums, is_exact
from modelbuild.tensors.recipe import Recipe
from modelbuild.tuples import NamedTuple

Following = Callable[[int], AbstractContextManager[Callable[[int, int], None]]]
"""Given how many tensors are to be compared: a context, and what hears within it how far that is (bytes done, in all)."""


class Built(NamedTuple):
    """A model layer that stands, the recipe it was made by, and the variants that serve it."""

    recipe: Recipe
    model: ActionResult
    outputs: list[Output]


def built(session: Session, outputs: Iterable[Output]) -> tuple[list[Built], list[str]]:
    """The models of the outputs in which a tensor was rounded, and the labels of the other outputs.

    Raises Errors: an Error for each output that is not built.
    """
    standing = session.standing(session.graph.select(outputs))
    found: dict[str, Built] = {}
    rest: list[str] = []
    missing: list[Error] = []
    for output in outputs:
        try:
            made = _made(session, output, standing)
        except Error as error:
            missing.append(error)
            continue
        if made is None or all(is_exact(entry.expression) for entry in made[0].tensors):
            rest.append(output.label)
        else:
            found.setdefault(made[1].artifact, Built(*made, [])).outputs.append(output)
    if missing:
        raise Errors(missing)
    return list(found.values()), rest


def _made(session: Session, output: Output, standing: Standing) -> tuple[Recipe, ActionResult] | None:
    """The recipe and the model layer of an output; None where the model has no recipe: it was taken from a models folder."""
    step = planned.recipe_step(session.graph, output)
    layer = next((each for each in planned.layers(session.graph, output) if each.kind == "model"), None)
    if step is None or layer is None:
        return None
    recipe, model = standing.results.get(step.name), standing.results.get(layer.step.name)
    if recipe is not None and model is not None:
        try:
            return Recipe.decode(session.store.read(recipe.artifact)), model
        except Damaged:
            pass
    changed = state.state(session, output, standing) == "changed"
    raise Error(
        f"'{output.label}' has changed since it was built" if changed else f"'{output.label}' is not built",
        hint=f"build it first: `modelbuild {output.label}`",
    )


def measure(session: Session, models: Sequence[Built], jobs: int, following: Following) -> list[MeasuredModel]:
    """The figures of each model, and of each of its tensors. Raises Error where weights or models are not what they were.

    jobs  how many tensors are compared at once
    """
    sums = _sums(session, models, jobs, following)
    measured = []
    for each in models:
        tensors = tuple(
            quality.MeasuredTensor(entry.name, entry.shape, entry.expression, sums[entry.expression.key])
            for entry in each.recipe.tensors
        )
        first = each.outputs[0]
        names = tuple(displayed(name) for output in each.outputs for name in output.names)
        ftype = variants.ftype(session, first, session.models.library.served(first.names[0]))
        model = MeasuredModel(first.label, names, ftype, each.model.artifact, each.model.size, tensors)
        judged = (gates.figures(session, output) for output in each.outputs)
        measured.append(replace(model, divergence=next((found for found in judged if found is not None), None)))
    return measured


def _sums(session: Session, models: Sequence[Built], jobs: int, following: Following) -> dict[str, Sums]:
    """The sums of every stored tensor, by the key of its expression: kept ones, and those compared now."""
    kept = session.kept
    sums: dict[str, Sums] = {}
    todo: dict[str, list[Stored]] = {}
    for each in models:
        missing: list[int] = []
        for number, entry in enumerate(each.recipe.tensors):
            expression = entry.expression
            if expression.key in sums:
                continue
            value = kept.get(quality.key(quality.origin(expression), expression))
            if value is not None:
                sums[expression.key] = Sums.decode(value)
            else:
                missing.append(number)
        for stored in _stored(session, each, missing):
            same = todo.setdefault(quality.origin(stored.expression).key, [])
            if all(other.expression.key != stored.expression.key for other in same):
                same.append(stored)
    comparisons = [Comparison(quality.origin(same[0].expression), tuple(same)) for same in todo.values()]
    if comparisons:
        constants = {digest: data for each in models for digest, data in each.recipe.constants.items()}
        with following(sum(len(each.stored) for each in comparisons)) as progress:
            for comparison, found in _compared(session, comparisons, constants, jobs, progress):
                for stored, each_sums in zip(comparison.stored, found, strict=True):
                    sums[stored.expression.key] = each_sums
                    kept.put(quality.key(comparison.source, stored.expression), each_sums.encode())
    return sums


def _stored(session: Session, model: Built, numbers: Sequence[int]) -> list[Stored]:
    """Where tensors of a model lie in its blob; the blob is hashed where the tensor index doesn't know what they should be."""
    if not numbers:
        return []
    artifact = model.model.artifact
    path = session.store.path(artifact)
    if path is None:
        raise _lost(model, "is gone")
    _, offsets, _ = layout(model.recipe)
    entries = model.recipe.tensors
    ranges = session.cache.tensors({entries[number].expression.key for number in numbers})
    if any(entries[number].expression.key not in ranges for number in numbers):
        try:
            with session.store.open(artifact) as file:
                session.store.verify(artifact, file)
        except Damaged:
            raise _lost(model, "is damaged") from None
    found = []
    for number in numbers:
        entry = entries[number]
        known = ranges.get(entry.expression.key)
        region = Region(path, offsets[number], entry.expression.size, artifact)
        found.append(Stored(entry.expression, region, known.xxh3 if known else ""))
    return found


def _lost(model: Built, what: str) -> Error:
    label = model.outputs[0].label
    return Error(
        f"the model of '{label}' {what}",
        facts=[("blob", model.model.artifact)],
        hint=f"rebuild it: `modelbuild build --force {label}`",
    )


def _compared(
    session: Session,
    comparisons: Sequence[Comparison],
    constants: Mapping[str, bytes],
    jobs: int,
    progress: Callable[[int, int], None],
) -> Iterator[tuple[Comparison, list[Sums]]]:
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="quality")
    resources = Resources(pool, jobs, memory_limit(session.settings), threading.Event(), progress)
    open_leaf = Leaves(session.sources, session.cache).region
    try:
        yield from quality.compare(comparisons, constants=constants, open_leaf=open_leaf, resources=resources)
    except Mismatch as mismatch:
        raise _wrong(session, mismatch) from mismatch
    except OSError as error:
        raise unreadable(str(error.filename), error) from error
    except Damaged as damage:
        raise Error(
            "what a tool made of the weights is gone", facts=[("blob", damage.artifact)], hint="build with --force"
        ) from damage
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _wrong(session: Session, mismatch: Mismatch) -> Error:
    """Say which bytes were not what they should be: a source's, or those of a blob (whose label is its digest)."""
    region = mismatch.region
    if region.label.startswith("sha256:"):
        session.store.forget(region.label)
        return Error("the model is damaged", path=region.path, hint="rebuild it: `modelbuild build --force`")
    session.sources.forget(region.path)
    return Error(
        "the weights are not the ones that the model was built from", path=region.path, hint="build again first"
    )
