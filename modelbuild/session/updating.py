"""Pins move only here: each name of elsewhere is asked what it means now."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild.checkpoint import hf_repository
from modelbuild.digest import sha256
from modelbuild.errors import Error, Errors
from modelbuild.files import LARGEST, read_plain
from modelbuild.ollama.name import Name
from modelbuild.project import lock
from modelbuild.project.lock import Outside
from modelbuild.session import fetching, pins
from modelbuild.tuples import NamedTuple
from modelbuild.words import did_you_mean, listed

if TYPE_CHECKING:
    from modelbuild.session.session import Session


class Updated(NamedTuple):
    """What moved, of how many names, and why others could not be asked for."""

    changes: Sequence[lock.Change]
    asked: int
    errors: Sequence[Error]


def update(session: Session, names: Sequence[str]) -> Updated:
    """Pin what names mean now; without names, all of the project, and take out pins of no use. Raises Error and Errors."""
    if lock.path(session.file) is None:
        raise Error(
            "a project without a ModelBuild.toml has no lock", hint="`modelbuild init` writes a ModelBuild.toml"
        )
    before = pins.read(session)
    used = _used(session)
    wanted = (
        [_named(name, sorted({*used, *filter(lambda each: not lock.is_weights(each), before)})) for name in names]
        if names
        else used
    )
    if unknown := [each for each in wanted if isinstance(each, Error)]:
        raise Errors(unknown)
    new: dict[str, str | None] = {}
    errors: list[Error] = []
    for name in dict.fromkeys(each for each in wanted if isinstance(each, str)):
        try:
            now = _now(session, Outside(name, before.get(name)))
            new[now.name] = now.pin
        except Error as error:
            errors.append(error.replace(what=f"'{name}' is not updated: {error.what}"))
    if not names and not errors and all(each.wanted for each in session.broken):
        # What a broken model is based on, nobody knows.
        new.update((name, None) for name in before if name not in used and not lock.is_weights(name))
        if not session.broken and pins.is_whole(session):
            new.update((name, None) for name in pins.unused_weights(session, before))
    if session.settings.locked:
        # A pin of no use may stay.
        moved = {name: pin for name, pin in new.items() if pin}
        pins.refuse(session, lock.changes(before, {**before, **moved}))
        return Updated([], len(new), errors)
    return Updated(pins.write(session, new, over=True), len(new), errors)


def _used(session: Session) -> list[str]:
    """The names of elsewhere that the project uses."""
    found = [each.name for each in session.outside.values()]
    found += [each.wanted.name for each in session.broken if each.wanted is not None]
    return sorted(set(found))


def _named(text: str, known: Sequence[str]) -> str | Error:
    """The name that a word of the command line means."""
    spelled = {text}
    repository = hf_repository.parse(text)
    if repository is not None:
        spelled.add(repository.key)
    with contextlib.suppress(Error):
        spelled.add(Name.parse(text).display())
    for name in known:
        if name in spelled:
            return name
    hint = did_you_mean(text, [*known, *(name.removesuffix(":latest") for name in known)])
    facts = [("known", listed(known))] if known else []
    return Error(f"no model of this project is based on '{text}'", facts=facts, hint=hint)


def _now(session: Session, each: Outside) -> Outside:
    """What a name means now: where it comes from, or offline, and for models that are only here, in a models folder."""
    here = _here(session, each.name)
    if session.settings.offline:
        if here.pin is None:
            raise Error("it is not in a models folder, and --offline is given", hint="update without --offline")
        return here
    from modelbuild.registry.faults import Unreachable

    try:
        return fetching.newest(each)
    except Unreachable:
        raise
    except Error:
        # A model that was made on this machine has no registry.
        if here.pin is None:
            raise
        return here


def _here(session: Session, name: str) -> Outside:
    """What a name means in the first models folder that has it."""
    if lock.is_checkpoint(name):
        return Outside(name, None)
    for library in session.libraries():
        try:
            return Outside(name, sha256(read_plain(library.manifest_path(Name.parse(name).path()), LARGEST)[0]))
        except OSError:
            continue
    return Outside(name, None)
