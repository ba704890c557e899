"""What a build would do, and what its models would be: from the heads of weights files, with nothing run."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modelbuild.engine.action import ActionResult
from modelbuild.engine.graph import Graph, Output, Source, Step
from modelbuild.engine.sources import Limit
from modelbuild.engine.standing import Due, Standing, due, look_up
from modelbuild.errors import Error
from modelbuild.ollama.library import is_blob
from modelbuild.ollama.name import Name
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed

if TYPE_CHECKING:
    from modelbuild.plan.needs import FileToBe
    from modelbuild.session.session import Selection, Session


class Forecast(NamedTuple):
    """What a variant's model will be: bytes of its file, and what that will hold."""

    label: str
    name: str
    size: int | None
    file: FileToBe | None

    def tensors(self) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        """Name, type and shape of each tensor."""
        return zip(self.file.names, self.file.types, self.file.shapes, strict=True) if self.file else iter(())

    def counts(self) -> str:
        found = Counter(self.file.types if self.file else ())
        return ", ".join(f"{count} {dtype}" for dtype, count in found.most_common())

    def data(self) -> dict[str, Any]:
        tensors = [{"name": name, "type": dtype, "shape": shape} for name, dtype, shape in self.tensors()]
        return {"label": self.label, "name": self.name, "model_bytes": self.size, "tensors": tensors}


class Ahead(NamedTuple):
    """What a build would do.

    graph  the part of what was asked for that needs no file which cannot be read
    due    the steps of it that would run
    wrong  by step, what is wrong with the files of the others
    offers  by step, what would be fetched from the remote cache instead
    """

    graph: Graph
    due: list[Due]
    wrong: dict[str, list[Error]]
    standing: Standing
    offers: Mapping[str, ActionResult] = {}


def look_ahead(session: Session, graph: Graph, limit: Limit, forced: Container[str] = ()) -> Ahead:
    """See what a build of a graph would do. Files beyond the limit are not read, but for those that cannot be."""
    large = session.sources.beyond(limit, graph.sources())
    unread = {source for source in large if os.access(source.path, os.R_OK)}
    needed_by = graph.targets()
    wrong: dict[Source, Error] = {}
    for source, error in session.sources.read(graph.sources(), but=unread).items():
        readers = [step.name for step in graph.steps.values() if source in step.sources]
        labels = dict.fromkeys(label for name in readers for label in needed_by[name])
        needed = ("used by", listed((f"'{label}'" for label in labels), 5))
        wrong[source] = error.replace(facts=[*error.facts, needed])
    against: dict[str, list[Error]] = {}
    for step in graph.steps.values():
        for source in step.sources:
            if source in wrong:
                against.setdefault(step.name, []).append(wrong[source])
    refused = {label for name in against for label in needed_by[name]}
    part = graph.select(output for output in graph.outputs if output.label not in refused)
    standing = look_up(part, session.records, unread)
    found = due(standing, session.records, forced)
    offers = {
        step.name: offer
        for step, sure, _ in found
        if sure and step.pool and step.name in standing.actions and step.name not in forced
        if (offer := session.cache.offer(standing.actions[step.name].digest)) is not None
    }
    return Ahead(part, found, against, standing, offers)


def without_weights(session: Session, ahead: Ahead, forced: Container[str] = ()) -> dict[str, list[Error]]:
    """What stands against steps that a build would run, as weights are not here: they read these, or make files of their tensors."""
    graph = ahead.graph
    # A base that is pulled is fetched first.
    away = {source for source in graph.sources() if source.is_away() and not is_blob(source.path)}
    if not away:
        return {}
    from modelbuild.session.leaves import absent

    needed_by = graph.targets()
    found: dict[tuple[str, ...], list[Step]] = {}
    for step in (step for step, _, _ in ahead.due if step.name not in ahead.offers):
        needed = graph.up_to([step.name]).sources() if step.final and step.pool else step.sources
        if paths := tuple(sorted(source.path for source in needed if source in away)):
            found.setdefault(paths, []).append(step)
    errors: dict[str, list[Error]] = {}
    for paths, against in found.items():
        labels = dict.fromkeys(label for step in against for label in needed_by[step.name])
        error = absent(session.cache, *paths, force=any(step.name in forced for step in against))
        used_by = ("used by", listed((f"'{label}'" for label in labels), 5))
        error = error.replace(facts=[*error.facts, used_by])
        errors |= {step.name: [error] for step in against}
    return errors


class Models(NamedTuple):
    """The models that a build would make, the bytes of their files, and by step, what stands against making them."""

    forecasts: list[Forecast]
    disk: int
    wrong: dict[str, list[Error]]


def models_ahead(session: Session, ahead: Ahead) -> Models:
    """See which models a build would make."""
    from modelbuild.plan import preflight

    graph, running = ahead.graph, {step.name for step, _, _ in ahead.due}
    made = [out for out in graph.outputs if any(graph.steps[name].pool and name in running for name in out.blobs)]
    chosen = graph.select(made)
    found = preflight.short(preflight.look(chosen), chosen, running, session.room())
    forecasts = [of_output(graph, output, found.files) for output in made]
    wrong = {step: list(errors) for step, errors in found.errors.items()}
    return Models(forecasts, sum(size for step, size in found.bytes.items() if step not in wrong), wrong)


class Written(NamedTuple):
    """A file outside the models folder that a build would write; not `sure` where that depends on the bytes to come."""

    label: str
    path: str
    sure: bool


def files_ahead(session: Session, ahead: Ahead, selection: Selection) -> list[Written]:
    """See which files of `-o`, `output` and `export` a build would write."""
    graph = ahead.graph.select([output for output in ahead.graph.outputs if output.files or output.exports])
    if not graph.outputs:
        return []
    exported = selection.exported or session.exported()
    results = session.standing(graph).results
    running = {step.name: sure for step, sure, _ in ahead.due}
    found = []
    for output in graph.outputs:
        for path, blob in output.files:
            made = None if blob in running else results.get(blob)
            if made is None or not exported.stands(path, made.artifact):
                found.append(Written(output.label, path, running.get(blob, True) or not os.path.exists(path)))
        found += _exported_ahead(session, output, results, running)
    return found


def _exported_ahead(
    session: Session, output: Output, results: Mapping[str, ActionResult], running: Mapping[str, bool]
) -> Iterator[Written]:
    """The files of exports that a build would write for an output."""
    from modelbuild.session.exports import declared

    needed = (output.manifest, *output.made)
    is_made = not any(name in running for name in needed) and all(name in results for name in needed)
    for export in declared(session) if output.exports else ():
        if not export.has(output) or (
            is_made and export.standing(output, results[output.manifest], results) is not None
        ):
            continue
        sure = is_made or any(running.get(name) for name in needed)
        for path in export.paths(output):
            yield Written(output.label, path, sure or not os.path.exists(path))


def of_output(graph: Graph, output: Output, files: Mapping[str, FileToBe]) -> Forecast:
    """The forecast of one variant; `files` are those that could be told, by the step of their recipe."""
    from modelbuild.plan import planned

    name = Name.from_path(output.names[0]).display()
    model = next((layer for layer in planned.layers(graph, output) if layer.kind == "model"), None)
    step = planned.recipe_step(graph, output)
    file = files.get(step.name) if step else None
    if model is None or file is None:
        return Forecast(output.label, name, None, None)
    as_it_is = [ref.path for role, ref in model.step.inputs if role == "file" and isinstance(ref, Source)]
    bytes_ = os.stat(as_it_is[0]).st_size if as_it_is else file.size
    return Forecast(output.label, name, bytes_, file)
