"""What a build needs of elsewhere, brought here before it begins: models from registries, checkpoints from Hugging Face, and their pins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelbuild import steps
from modelbuild.checkpoint import hf_repository
from modelbuild.checkpoint.hf_repository import Repository
from modelbuild.engine.graph import Graph, Output
from modelbuild.engine.standing import due
from modelbuild.errors import Error
from modelbuild.ollama.name import HOST, NAMESPACE, Name
from modelbuild.plan import seen
from modelbuild.project import lock
from modelbuild.project.broken import Broken
from modelbuild.project.lock import Outside
from modelbuild.session import pins

if TYPE_CHECKING:
    from modelbuild.registry.transport import Transport
    from modelbuild.session.hugging_face import Contents
    from modelbuild.session.session import Selection, Session

Hear = Callable[[dict[str, Any]], None]
"""Told events: `fetch` (name, kind), `fetched` (name, pin, bytes), those of a pull, `pinned` (name, pin), `warning` (error)."""

ROUNDS = 4
"""Plans in a row of which each finds something else to be fetched. A model has one base: one or two are usual."""


def wanted(session: Session, selection: Selection, force: bool = False) -> list[Outside]:
    """What a build of a selection would fetch, in order; with `force` all steps are run. Asks no network."""
    found = {each.wanted: None for each in selection.broken if each.wanted is not None}
    return list({**found, **dict.fromkeys(_gone(session, selection.outputs, force))})


def ready(session: Session, select: Callable[[], Selection], hear: Hear, *, force: bool = False) -> None:
    """Fetch what a selection needs and is not here, pin what it is based on, and have the project planned anew.

    What cannot be fetched, the session withholds from all further selections, with the reason. Raises Error and Errors, as
    where the lock would change and must not.
    """
    failed: dict[str, Error] = {}
    done: set[Outside] = set()
    selection = select()
    for _ in range(ROUNDS):
        found = [each for each in wanted(session, selection, force) if each.name not in failed and each not in done]
        if not found:
            break
        _refuse_if_locked(session, found)
        for each in found:
            try:
                _fetch(session, each, hear)
                done.add(each)
            except Error as error:
                failed[each.name] = error
        session.replan()
        selection = select()
    session.withheld = _withheld(session, selection, failed, force)
    if _pin(session, select(), hear):
        session.replan()


def _withheld(session: Session, selection: Selection, failed: Mapping[str, Error], force: bool) -> dict[str, Broken]:
    """By label, what cannot be built since something could not be fetched, and why."""
    found: dict[str, Broken] = {}
    for each in selection.broken:
        if each.wanted is not None and each.wanted.name in failed:
            found[each.label] = _told(each, failed[each.wanted.name])
    gone = _needing(session, selection.outputs, force) if failed else set()
    for output in selection.outputs:
        outside = session.outside.get(output.label)
        if output.label in gone and outside is not None and outside.name in failed:
            error = failed[outside.name]
            error = error.replace(what=f"'{outside.name}' cannot be pulled: {error.what}")
            names = tuple(map(Name.from_path, output.names))
            found[output.label] = Broken(output.label.partition(":")[0], output.label, [error], names, wanted=outside)
    return found


def _told(each: Broken, error: Error) -> Broken:
    place = each.errors[0]
    what = f"{place.what.removesuffix(' is not pulled yet')} cannot be pulled: {error.what}"
    # The place is that of the FROM: a file of the error itself is one more fact.
    facts = [*([("file", error.path)] if error.path else []), *error.facts]
    return each._replace(errors=[place.replace(what=what, facts=facts, hint=error.hint)])


def _refuse_if_locked(session: Session, found: Iterable[Outside]) -> None:
    """With --locked, raise an Error for names that are not pinned: they would be."""
    if session.settings.locked:
        known = pins.read(session)
        pins.refuse(session, [lock.Change(each.name, None, each.pin) for each in found if each.name not in known])


def _pin(session: Session, selection: Selection, hear: Hear) -> bool:
    """Pin what the outputs are based on; returns whether the lock changed."""
    if lock.path(session.file) is None:
        return False
    labels = {output.label for output in selection.outputs}
    based = {each.name: each.pin for label, each in session.outside.items() if label in labels}
    known = pins.read(session)
    new = {name: pin for name, pin in based.items() if pin is not None and known.get(name) != pin}
    if not new:
        return False
    if session.settings.locked:
        pins.refuse(session, [lock.Change(name, known.get(name), pin) for name, pin in sorted(new.items())])
    try:
        changes = pins.write(session, new)
    except Error as error:
        hear({"event": "warning", "error": error.replace(what=f"{error.what}; nothing is pinned")})
        return False
    for change in changes:
        hear({"event": "pinned", "name": change.name, "pin": change.after})
    return True


# What is gone and needed


def _gone(session: Session, outputs: Sequence[Output], force: bool) -> list[Outside]:
    labels = _needing(session, outputs, force)
    return [session.outside[label] for label in session.outside if label in labels]


def _needing(session: Session, outputs: Sequence[Output], force: bool) -> set[str]:
    """The labels of the outputs that need files to be built that are not here, and that can be fetched."""
    graph = session.graph.select(outputs)
    away = {source for source in graph.sources() if source.is_away()}
    if not away:
        return set()
    reading = _reading(session, graph, force)
    targets = graph.targets()
    made_of: set[str] = set()
    for step in graph.steps.values():
        if not away.isdisjoint(step.sources) or not made_of.isdisjoint(step.needs):
            made_of.add(step.name)
    return {label for name in made_of & reading for label in targets[name]}


def _reading(session: Session, graph: Graph, force: bool) -> set[str]:
    """The steps that a build would run and that read weights, themselves or through recipes, and those whose results are gone."""
    standing = session.standing(graph)
    names = {step.name for step, _, _ in due(standing, session.records, graph.steps if force else ())}
    library = session.models.library
    for output in graph.outputs:
        for blob in output.blobs:
            result = standing.results.get(blob)
            if result and library.size(result.artifact) != result.size and not session.store.has(result):
                names.add(blob)
    return {name for name in names if steps.module(graph.steps[name].kind).MAKES in ("layer", "recipe")}


# Fetching


def _fetch(session: Session, each: Outside, hear: Hear) -> None:
    """Bring one model or checkpoint here. Raises Error."""
    if session.settings.offline:
        raise Error("it is not here, and --offline is given", hint="build once without --offline")
    repository = hf_repository.parse(each.name)
    if repository is None:
        _pull(session, Name.parse(each.name), each.pin, hear)
        return
    from modelbuild.session import hugging_face

    if not repository.explicit and each.pin is None and not hugging_face.is_installed():
        _pull(session, Name.parse(each.name), None, hear)
        return
    found = hugging_face.contents(repository, each.pin)
    if each.pin is None and not _is_checkpoint(repository, found):
        _pull(session, Name.parse(each.name), None, hear)
        return
    hear({"event": "fetch", "name": each.name, "kind": "checkpoint"})
    hugging_face.download(repository, found, session.store, hear)
    hear({"event": "fetched", "name": each.name, "pin": found.commit, "bytes": None})


def _is_checkpoint(repository: Repository, found: Contents) -> bool:
    """Whether a repository is converted, rather than pulled as Ollama does, which is for those that contain GGUF files."""
    return repository.explicit or (found.is_checkpoint and not found.has_ggufs)


def transport() -> Transport:
    """What registries are reached by."""
    from modelbuild.registry.authorization import UserAuthorization
    from modelbuild.registry.transport import Transport

    return Transport(authorization=UserAuthorization())


def _pull(session: Session, name: Name, pin: str | None, hear: Hear) -> None:
    from modelbuild.publish.pulled import pull
    from modelbuild.registry.faults import Unreachable

    hear({"event": "fetch", "name": name.display(), "kind": "model"})
    models = session.models
    with_ = transport()
    try:
        there = models.library.served(name.path())
        moved_on = pin is not None and there is not None and there.digest != pin
        # Where the tag names something else than the pin, what stands here under the name stays.
        under = seen.aside(name, pin) if pin is not None and moved_on and _digest_now(with_, name) != pin else name
        try:
            done = pull(under, models.root, session.store, with_, hear=hear, digest=pin)
        except Unreachable:
            raise
        except Error as error:
            if pin is None:
                raise _with_other_place(error, name) from None
            now = _digest_now(with_, name)
            if now != pin:
                raise _moved(name, pin, now, error) from None
            done = pull(name, models.root, session.store, with_, hear=hear)
    finally:
        with_.close()
    hear(
        {"event": "fetched", "name": name.display(), "pin": done.digest, "bytes": done.size, "received": done.received}
    )


def _with_other_place(error: Error, name: Name) -> Error:
    """The error for a name that may have been meant for Hugging Face's."""
    if name.host != HOST or name.namespace == NAMESPACE:
        return error
    other = f"a model of Hugging Face is 'hf.co/{name.namespace}/{name.model}'"
    return error.replace(hint=f"{error.hint}; {other}" if error.hint else other)


def _digest_now(transport: Transport, name: Name) -> str | None:
    from modelbuild.digest import sha256
    from modelbuild.registry import repository as registry

    try:
        return sha256(registry.Repository(transport, name).manifest(name.tag))
    except Error:
        return None


def _moved(name: Name, pin: str, now: str | None, error: Error) -> Error:
    """The error for a pinned manifest that is nowhere any more."""
    if now is None:
        return error
    return Error(
        f"the tag moved, and '{name.host}' no longer has the manifest that the lock pins",
        facts=[("pinned", pin), ("now", now), ("registry", error.what)],
        hint=f"`modelbuild update {name.display().removesuffix(':latest')}` pins what the tag names now",
    )


def newest(each: Outside) -> Outside:
    """What a name, or a repository, means now where it comes from: a manifest's digest or a commit. Raises Error.

    One that is not pinned yet may turn out to be a model of a registry, with a tag.
    """
    name = each.name
    repository = hf_repository.parse(name)
    if repository is not None:
        from modelbuild.session import hugging_face

        found = hugging_face.contents(repository)
        if each.pin is not None or _is_checkpoint(repository, found):
            return Outside(name, found.commit)
        name = Name.parse(name).display()
    from modelbuild.digest import sha256
    from modelbuild.registry import repository as registry

    whole = Name.parse(name)
    with_ = transport()
    try:
        return Outside(name, sha256(registry.Repository(with_, whole).manifest(whole.tag)))
    finally:
        with_.close()
