"""Say what quantization cost: the error of the stored weights against the source's, tensor by tensor.

Of each built model of the targets: root mean square error, maximum error, signal to noise, bits per weight; with -v (before the
command) of every tensor. --html writes a page that shows the tensors by block and kind. Figures are kept: those of what has not
changed are there at once.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.engine.graph import Output
from modelbuild.engine.store import Damaged
from modelbuild.errors import Error, Errors
from modelbuild.ollama.name import displayed
from modelbuild.words import plural, size, table

if TYPE_CHECKING:
    import click

    from modelbuild.engine.action import ActionResult
    from modelbuild.engine.standing import Standing
    from modelbuild.session.session import Session
    from modelbuild.tensors.quality import Comparison, Model, Stored, Sums
    from modelbuild.tensors.recipe import Recipe

WORST = 5
"""Tensors of a model that are named when not all are."""


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import Count, targets

    return [
        targets(),
        click.Option(
            ["-j", "--jobs"], type=Count(), metavar="N", help="Compare N tensors at once; default: all cores."
        ),
        click.Option(
            ["--html"], metavar="FILE", help="Write a page that shows the figures, one file that needs no network."
        ),
    ]


def run(call: Invocation, targets: Sequence[str] = (), jobs: int | None = None, html: str | None = None) -> int:
    session, report = call.session, call.report
    file = _page_file(os.path.join(call.settings.folder, html)) if html is not None else None
    outputs = session.select(targets).outputs if targets else session.graph.outputs
    try:
        built, rest = _built(session, outputs)
        models = _models(call, built, jobs)
    except (Error, Errors) as trouble:
        report.errors(trouble.errors if isinstance(trouble, Errors) else [trouble])
        return FAILED
    for label in rest:
        report.note(f"'{label}': nothing to compare, its weights are stored exactly as they came")
    data = [model.data() for model in models]
    if report.as_json:
        report.data(data)
    elif data:
        report.result(_text(data, every=report.verbose))
    if file is not None:
        _write(file, data)
        report.note(f"wrote {html}")
    return GOOD


# What is built


class _Built(NamedTuple):
    """A model layer that stands, the recipe it was made by, and the variants that serve it."""

    recipe: Recipe
    model: ActionResult
    outputs: list[Output]


def _built(session: Session, outputs: Iterable[Output]) -> tuple[list[_Built], list[str]]:
    """The models of the outputs in which a tensor was rounded, and the labels of the other outputs.

    Raises Errors: an Error for each output that is not built.
    """
    from modelbuild.tensors.quality import is_exact

    standing = session.standing(session.graph.select(outputs))
    found: dict[str, _Built] = {}
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
            found.setdefault(made[1].artifact, _Built(*made, [])).outputs.append(output)
    if missing:
        raise Errors(missing)
    return list(found.values()), rest


def _made(session: Session, output: Output, standing: Standing) -> tuple[Recipe, ActionResult] | None:
    """The recipe and the model layer of an output; None where the model has no recipe: it was taken from a models folder."""
    from modelbuild.session import variants
    from modelbuild.tensors.recipe import Recipe

    step = variants.recipe_step(session.graph, output)
    layer = next((each for each in variants.layers(session.graph, output) if each.kind == "model"), None)
    if step is None or layer is None:
        return None
    recipe, model = standing.results.get(step.name), standing.results.get(layer.step.name)
    if recipe is not None and model is not None:
        try:
            return Recipe.decode(session.store.read(recipe.artifact)), model
        except Damaged:
            pass
    changed = variants.state(session, output, standing) == "changed"
    raise Error(
        f"'{output.label}' has changed since it was built" if changed else f"'{output.label}' is not built",
        hint=f"build it first: modelbuild {output.label}",
    )


# Figures


def _models(call: Invocation, built: Sequence[_Built], jobs: int | None) -> list[Model]:
    from modelbuild.session import variants
    from modelbuild.tensors import quality

    session = call.session
    sums = _sums(call, built, jobs)
    models = []
    for each in built:
        tensors = tuple(
            quality.Tensor(entry.name, entry.shape, entry.expression, sums[entry.expression.key])
            for entry in each.recipe.tensors
        )
        first = each.outputs[0]
        names = tuple(displayed(name) for output in each.outputs for name in output.names)
        ftype = variants.ftype(session, first, session.models.library.served(first.names[0]))
        models.append(quality.Model(first.label, names, ftype, each.model.artifact, each.model.size, tensors))
    return models


def _sums(call: Invocation, built: Sequence[_Built], jobs: int | None) -> dict[str, Sums]:
    """The sums of every stored tensor, by the key of its expression: kept ones, and those compared now."""
    from modelbuild.tensors import quality

    kept = call.session.kept
    sums: dict[str, Sums] = {}
    todo: dict[str, list[Stored]] = {}
    for each in built:
        missing: list[int] = []
        for number, entry in enumerate(each.recipe.tensors):
            expression = entry.expression
            if expression.key in sums:
                continue
            value = kept.get(quality.key(quality.origin(expression), expression))
            if value is not None:
                sums[expression.key] = quality.Sums.decode(value)
            else:
                missing.append(number)
        for stored in _stored(call.session, each, missing):
            same = todo.setdefault(quality.origin(stored.expression).key, [])
            if all(other.expression.key != stored.expression.key for other in same):
                same.append(stored)
    comparisons = [quality.Comparison(quality.origin(same[0].expression), tuple(same)) for same in todo.values()]
    if comparisons:
        constants = {digest: data for each in built for digest, data in each.recipe.constants.items()}
        for comparison, found in _compared(call, comparisons, constants, jobs):
            for stored, each_sums in zip(comparison.stored, found, strict=True):
                sums[stored.expression.key] = each_sums
                kept.put(quality.key(comparison.source, stored.expression), each_sums.encode())
    return sums


def _stored(session: Session, built: _Built, numbers: Sequence[int]) -> list[Stored]:
    """Where tensors of a model lie in its blob; the blob is hashed where the tensor index doesn't know what they should be."""
    from modelbuild.tensors.evaluate import Region
    from modelbuild.tensors.materialize import layout
    from modelbuild.tensors.quality import Stored

    if not numbers:
        return []
    artifact = built.model.artifact
    path = session.store.path(artifact)
    if path is None:
        raise _lost(built, "is gone")
    _, offsets, _ = layout(built.recipe)
    entries = built.recipe.tensors
    ranges = session.cache.tensors({entries[number].expression.key for number in numbers})
    if any(entries[number].expression.key not in ranges for number in numbers):
        try:
            with session.store.open(artifact) as file:
                session.store.verify(artifact, file)
        except Damaged:
            raise _lost(built, "is damaged") from None
    found = []
    for number in numbers:
        entry = entries[number]
        known = ranges.get(entry.expression.key)
        region = Region(path, offsets[number], entry.expression.size, artifact)
        found.append(Stored(entry.expression, region, known.xxh3 if known else ""))
    return found


def _lost(built: _Built, what: str) -> Error:
    label = built.outputs[0].label
    return Error(
        f"the model of '{label}' {what}",
        facts=[("blob", built.model.artifact)],
        hint=f"make it again: modelbuild build --force {label}",
    )


def _compared(
    call: Invocation, comparisons: Sequence[Comparison], constants: Mapping[str, bytes], jobs: int | None
) -> Iterable[tuple[Comparison, list[Sums]]]:
    from modelbuild.cli.commands.build import cores
    from modelbuild.cli.report import Progress
    from modelbuild.engine.sources import unreadable
    from modelbuild.session.settings import default_memory
    from modelbuild.session.worker import Leaves
    from modelbuild.tensors import quality
    from modelbuild.tensors.evaluate import Mismatch
    from modelbuild.tensors.materialize import Resources

    session, report = call.session, call.report
    jobs = jobs or cores()
    name = f"compare {plural(sum(len(each.stored) for each in comparisons), 'tensor')}"
    # With --json stdout is for the one result.
    progress = Progress(report, 1, lambda _: None) if report.as_json else report.building(1, lambda _: None)
    stop = threading.Event()
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="quality")
    resources = Resources(
        pool,
        jobs,
        call.settings.memory or default_memory(),
        stop,
        lambda done, total: progress({"event": "progress", "step": name, "done": done, "total": total}),
    )
    open_leaf = Leaves(session.sources).region
    begun = report.seconds
    with progress:
        progress({"event": "start", "step": name})
        try:
            yield from quality.compare(comparisons, constants=constants, open_leaf=open_leaf, resources=resources)
        except Mismatch as mismatch:
            raise _wrong(session, mismatch) from mismatch
        except OSError as error:
            raise unreadable(str(error.filename), error) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        progress({"event": "step", "step": name, "state": "ran", "seconds": report.seconds - begun})


def _wrong(session: Session, mismatch: Any) -> Error:
    """Say which bytes were not what they should be: a source's, or those of a blob (whose label is its digest)."""
    region = mismatch.region
    if region.label.startswith("sha256:"):
        session.store.forget(region.label)
        return Error("the model is damaged", path=region.path, hint="make it again: modelbuild build --force")
    session.sources.forget(region.path)
    return Error("the weights are not those that the model was made of", path=region.path, hint="build again first")


# Text


_HEAD = {"bits_per_weight": "BITS/WEIGHT", "rms_error": "RMS ERROR", "max_error": "MAX ERROR", "snr_db": "SNR DB"}


def _text(models: Sequence[Mapping[str, Any]], every: bool) -> str:
    rows = [[each["name"], each["ftype"] or "-", size(each["model_bytes"]), *_figures(each)] for each in models]
    parts = [table(["NAME", "TYPE", "MODEL SIZE", *_HEAD.values()], rows, right=range(2, 7))]
    parts += [_every(each) if every else _worst(each) for each in models]
    return "\n\n".join(part for part in parts if part)


def _worst(model: Mapping[str, Any]) -> str:
    from modelbuild.tensors import quality

    lossy = [each for each in model["tensors"] if not each["exact"]]
    some = quality.worst(lossy)[:WORST]
    kept = len(model["tensors"]) - len(lossy)
    others = f" of {len(lossy)}" if len(some) < len(lossy) else ""
    return f"{model['name']}: worst{others}" + (f", {kept} kept exactly" if kept else "") + "\n" + _tensors(some)


def _every(model: Mapping[str, Any]) -> str:
    return f"{model['name']}\n{_tensors(model['tensors'])}"


def _tensors(tensors: Iterable[Mapping[str, Any]]) -> str:
    rows = [[each["name"], each["source_type"], each["type"], *_figures(each)] for each in tensors]
    lines = table(["TENSOR", "FROM", "TYPE", *_HEAD.values()], rows, right=range(3, 7)).split("\n")
    return "\n".join("  " + line for line in lines)


def _figures(values: Mapping[str, Any]) -> list[str]:
    from modelbuild.tensors.quality import shown

    return [shown(values, measure) for measure in _HEAD]


# Page


def _page_file(path: str) -> str:
    """Where a page is to be written. Raises Error, before anything is computed, where it cannot be."""
    file = os.path.realpath(path)
    folder = os.path.dirname(file)
    if not os.path.isdir(folder):
        raise Error("no such folder", path=folder)
    if os.path.exists(file) and not os.path.isfile(file):
        raise Error("expected the name of a file to write", path=path)
    return file


def _write(file: str, data: Sequence[Mapping[str, Any]]) -> None:
    from modelbuild.cli.pages.quality import page

    temporary = f"{file}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8", errors="backslashreplace") as made:
            made.write(page(data))
        os.replace(temporary, file)
    except OSError as error:
        raise Error(f"cannot be written: {(error.strerror or str(error)).lower()}", path=file) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
