"""The lock of a project as a build writes it, and what is kept of the models that it pins."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from modelbuild.digest import sha256
from modelbuild.engine.graph import Output, Source
from modelbuild.errors import Error
from modelbuild.files import GUEST, clear_temporaries, make_folder, read_plain, reason, sync_folder
from modelbuild.observed import Observed
from modelbuild.ollama.library import Library
from modelbuild.ollama.manifest import MODEL, Manifest
from modelbuild.plan import seen
from modelbuild.project import lock

if TYPE_CHECKING:
    from modelbuild.session.session import Session


def read(session: Session) -> lock.Pins:
    """The pins as they are now. Raises Error and Errors."""
    return lock.observe(session.file, Observed())


def refuse(session: Session, found: Iterable[lock.Change]) -> None:
    """Raise an Error where --locked stands against changes."""
    where = lock.path(session.file)
    changes = list(found)
    if changes:
        names = " ".join(change.name for change in changes)
        raise Error(
            "would change, and --locked is given" if where else "--locked is given, and this project has no lock",
            path=os.path.basename(where) if where else None,
            facts=list(lock.told(changes)),
            hint=f"build without --locked, or `modelbuild update {names}`, and commit the lock",
        )


def write(session: Session, new: Mapping[str, str | None], *, over: bool = False) -> list[lock.Change]:
    """Put pins into the lock of a project; None takes one out. Returns what changed.

    over  replace the pins that are there; otherwise what another build has pinned meanwhile stays

    Raises Error, as where the file cannot be written.
    """
    where = lock.path(session.file)
    if where is None:
        return []
    with session.store.lock(f"lock-{sha256(os.fsencode(where))[7:23]}"):
        before = read(session)
        after = {**before, **new} if over else {**new, **before}
        pins = {name: pin for name, pin in after.items() if pin is not None}
        changes = lock.changes(before, pins)
        if changes:
            _replace(session, where, lock.encode(pins))
    return changes


def is_whole(session: Session) -> bool:
    """Whether the session's plan is that of the whole project, as it is without options or variables of this command."""
    settings = session.settings
    if session.part_file or settings.sets or settings.vars or settings.quantize or settings.name:
        return False
    return not any(
        verb == "env" and name.startswith("MODELBUILD_VAR_") and seen for verb, name, seen in session.looks()
    )


def unused_weights(session: Session, known: lock.Pins) -> list[str]:
    """The pinned weights files that no model of the project is made of."""
    used = {lock.weights_name(source.path, session.root) for source in session.graph.sources()}
    return [name for name in known if lock.is_weights(name) and name not in used]


def _replace(session: Session, where: str, data: bytes) -> None:
    real = os.path.realpath(where)
    folder = os.path.dirname(real)
    try:
        clear_temporaries(folder, GUEST)
        with session.store.temporary(folder, GUEST) as file:
            file.write(data)
            os.fsync(file.fileno())
            os.replace(file.path, real)
        sync_folder(folder)
    except OSError as error:
        what = f"cannot be written: {reason(error)}"
        raise Error(
            what, path=os.path.basename(where), hint="make its folder writable, or build with --locked"
        ) from None


def remember(session: Session, outputs: Iterable[Output]) -> None:
    """Keep what planning needs of the models that outputs are based on, for when somebody removes these. Never raises."""
    labels = {output.label for output in outputs}
    wanted = {each for label, each in session.outside.items() if label in labels and not lock.is_checkpoint(each.name)}
    for each in wanted:
        with contextlib.suppress(OSError, Error, ValueError):
            if each.pin is not None:
                _remember(session, each.name, each.pin)


def _remember(session: Session, name: str, digest: str) -> None:
    path = seen.path(session.store.root, digest)
    if seen.look(session.store.root, digest, Observed()) is not None:
        return
    found = manifest(session, name, digest)
    if found is None:
        return
    data, library = found
    parsed = Manifest.parse(data)
    small = {each: read_plain(library.blob_path(each), seen.LARGEST)[0] for each in seen.small(parsed)}
    sources: dict[str, str] = {}
    unquantized, chat = False, None
    for layer in parsed.layers:
        source = Source(library.blob_path(layer.digest), seen.form(layer.media_type))
        sources[layer.digest] = session.sources.digest(source)
        if layer.media_type == MODEL:
            from modelbuild.checkpoint import ggufs

            contents = ggufs.classify(source.path)
            unquantized, chat = contents.unquantized, contents.chat
    make_folder(os.path.dirname(path))
    with session.store.temporary(os.path.dirname(path)) as file:
        file.write(seen.Seen(data, small, unquantized, sources, chat).encode())
        os.replace(file.path, path)


def manifest(session: Session, name: str, digest: str) -> tuple[bytes, Library] | None:
    """A manifest of this digest that a models folder has for a name, and the folder."""
    for library in session.libraries():
        for each in seen.places(name, digest):
            with contextlib.suppress(OSError):
                data, _ = read_plain(library.manifest_path(each), seen.LARGEST)
                if sha256(data) == digest:
                    return data, library
    return None
