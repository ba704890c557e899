"""The stamp of the last build of some targets: where it is kept, and whether what it says is still so."""

from __future__ import annotations

from collections.abc import Sequence

from modelbuild.digest import canonical, xxh3
from modelbuild.engine.parts import Parts
from modelbuild.publish.written import Written
from modelbuild.session.session import Session
from modelbuild.session.stamp import Stamp


def key(session: Session, targets: Sequence[str], into: str | None = None) -> str:
    """What the stamp of a build of these targets is kept under."""
    return "stamp:" + xxh3(canonical([session.key, session.part_file, sorted(targets), into]))


def last(session: Session, targets: Sequence[str], into: str | None = None, known: Stamp | None = None) -> Stamp | None:
    """The stamp of the last build of these targets, whether it holds or not; it may be the one that is known."""
    place = key(session, targets, into)
    stamp = Stamp.read(place, session.kept, Parts(session.store.database, place), known)
    return stamp if stamp is not None and _are_ours(session, stamp) else None


def up_to_date(session: Session, targets: Sequence[str], into: str | None = None) -> Stamp | None:
    """The stamp of the last build of these targets, if it still holds: then there is nothing to do."""
    stamp = last(session, targets, into)
    return stamp if stamp is not None and stamp.holds() else None


def _are_ours(session: Session, stamp: Stamp) -> bool:
    """Whether the names that it calls stale are still noted as ours: another project may have written the same bytes."""
    written = Written(session.store.database, stamp.told.folder)
    return all(written.names(name).get(name, ("",))[0] == session.owner for name in stamp.told.stale)
