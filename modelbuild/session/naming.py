"""Warnings about the names that a build writes: names that differ in case, change their type, or are not found by `ollama run`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence

from modelbuild.engine.graph import Output
from modelbuild.errors import Error
from modelbuild.ollama.name import TAG, Name, displayed
from modelbuild.plan import planned
from modelbuild.session.session import Session
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed


def of_build(session: Session, outputs: Sequence[Output]) -> list[Error]:
    """Warnings about what a build is going to write; of case only where a name is new, so that it is said once."""
    new = [name for output in outputs for name in output.names if not session.models.wrote(name)]
    return [*_differing_in_case(session, new), *_losing_their_type(session, outputs)]


def of_check(session: Session, outputs: Sequence[Output]) -> list[Error]:
    """All warnings about the names of some outputs, as the models folder stands now."""
    names = [name for output in outputs for name in output.names]
    return [*_differing_in_case(session, names), *_losing_their_type(session, outputs)]


def _differing_in_case(session: Session, names: Sequence[str]) -> Iterator[Error]:
    library = session.models.library
    for name, others in library.alike(names).items():
        shown = " and ".join(f"'{displayed(other)}'" for other in others)
        yield Error(
            f"'{displayed(name)}' differs only in case from {shown} in the models folder: Ollama may confuse them",
            facts=[("models", library.root)],
            hint="give the model another `name` or `tag`, or remove the other one",
        )


def _losing_their_type(session: Session, outputs: Sequence[Output]) -> Iterator[Error]:
    """Names of a Modelfile that were built with -q, and now would be built without."""
    for name, asked in _types_before(session, outputs):
        yield Error(
            f"'{displayed(name)}' was built with -q {asked}; without -q it gets the type of its weights",
            hint=f"-q {asked} keeps the type; `quantize` in a ModelBuild.toml keeps it for good",
        )


def type_before(session: Session, outputs: Sequence[Output]) -> str | None:
    """The type that the model of a Modelfile or of weights has by an earlier -q, if this session has no -q."""
    return next((asked for _, asked in _types_before(session, outputs)), None)


def _types_before(session: Session, outputs: Sequence[Output]) -> Iterator[tuple[str, str]]:
    """Name and type of what -q gave a type before, and now has none."""
    if session.file.endswith(".toml") or session.settings.quantize:
        return
    for output in outputs:
        if planned.quantization(planned.typing_step(session.graph, output)) is not None:
            continue
        last = session.records.history.last(f"{output.label}/quantize")
        asked = str(json.loads(last.parameters)["ftype"]) if last else ""
        yield from ((name, asked) for name in output.names if asked and _type(session, name) == asked.upper())


def _type(session: Session, name: str) -> str | None:
    """The type that the config of a name in the models folder tells, in capitals as Ollama writes it."""
    library = session.models.library
    found = library.served(name)
    try:
        with open(library.blob_path(found.manifest.config.digest if found else ""), "rb") as file:
            return str(json.loads(file.read()).get("file_type")).upper()
    except (OSError, ValueError, AttributeError):
        return None


class Untagged(NamedTuple):
    """A model of several rows of which none is NAME:latest, which is what Ollama means by NAME."""

    model: str
    name: str
    rows: tuple[str, ...]


def untagged_warning(found: Sequence[Untagged]) -> Error:
    """One warning about all of them; never empty."""
    first = found[0]
    models = listed((f"'{each.model}'" for each in found), 5)
    latest = f"{first.name}:{TAG}" if len(found) == 1 else f"NAME:{TAG}"
    what = f"no row of {models} is {latest}, so `ollama run {first.name}` does not find it"
    # A table of a part is called as the part calls it.
    table = first.model.rpartition("/")[2]
    others = "" if len(found) == 1 else ", and so on"
    return Error(what, hint=f"name the default row in [model.{table}.default]{others}")


def untagged(session: Session, outputs: Sequence[Output]) -> list[Untagged]:
    """The models of some outputs that have rows and no default one, less those that others are based on."""
    return _no_bases(session, _without_default(session, outputs))


def newly_untagged(session: Session, outputs: Sequence[Output]) -> list[Untagged]:
    """Those of which no row lies in the models folder yet: what is said when they first come is not said again."""
    library = session.models.library
    new = [
        each
        for each in _without_default(session, outputs)
        if not any(os.path.exists(library.manifest_path(path)) for path in each.rows)
    ]
    return _no_bases(session, new)


def _without_default(session: Session, outputs: Sequence[Output]) -> Iterator[Untagged]:
    wanted = {output.label.partition(":")[0] for output in outputs if ":" in output.label}
    rows: dict[str, list[str]] = {}
    for output in session.graph.outputs if wanted else ():
        model, colon, _ = output.label.partition(":")
        if colon and model in wanted:
            rows.setdefault(model, []).extend(output.names)
    for broken in session.broken if wanted else ():
        if broken.model in wanted:
            rows.setdefault(broken.model, []).extend(name.path() for name in broken.names or ())
    for model, paths in rows.items():
        names = [Name.from_path(path) for path in paths]
        is_one = len({each._replace(tag="").folded() for each in names}) == 1
        if is_one and all(each.tag.lower() != TAG for each in names):
            yield Untagged(model, names[0].display().rpartition(":")[0], tuple(paths))


def _no_bases(session: Session, found: Iterable[Untagged]) -> list[Untagged]:
    if not (candidates := list(found)):
        return []
    bases = {layer.origin for output in session.graph.outputs for layer in planned.layers(session.graph, output)}
    return [each for each in candidates if bases.isdisjoint(map(displayed, each.rows))]
