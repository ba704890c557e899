"""The stamps of the last builds of some targets: where they are kept, and whether what they say is still so.

A project of which something is broken has a stamp of its own. The one before it stays: what is mended is most likely what it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from modelbuild.digest import canonical, xxh3
from modelbuild.engine.parts import Parts
from modelbuild.publish.written import Written
from modelbuild.session.session import Session
from modelbuild.session.stamp import Stamp

_BROKEN = " broken"


def key(session: Session, targets: Sequence[str], into: str | None = None) -> str:
    """What the stamp of a build of these targets is kept under."""
    return "stamp:" + xxh3(canonical([session.key, session.part_file, sorted(targets), into]))


def last(
    session: Session, targets: Sequence[str], into: str | None = None, known: Iterable[Stamp] = ()
) -> Iterator[Stamp]:
    """The stamps of the last builds of these targets, whether they hold or not; each may be one that is known.

    One that owes something to the lock counts only for builds that may not write there either, and need not say so.
    """
    whole = key(session, targets, into)
    for place in (whole + _BROKEN, whole):
        same = next((each for each in known if each.key == place), None)
        stamp = Stamp.read(place, session.kept, Parts(session.store.database, place), same)
        if stamp is not None and not _is_owed(session, stamp) and _are_ours(session, stamp):
            yield stamp


def is_whole(stamp: Stamp) -> bool:
    """Whether nothing of the project was broken."""
    return not stamp.key.endswith(_BROKEN)


def up_to_date(session: Session, targets: Sequence[str], into: str | None = None) -> Stamp | None:
    """The stamp of the last build of these targets that still holds: then there is nothing to do."""
    return next((stamp for stamp in last(session, targets, into) if stamp.holds()), None)


def keep(session: Session, stamp: Stamp, targets: Sequence[str], into: str | None = None) -> None:
    """Keep the stamp of a build of these targets."""
    place = key(session, targets, into) + (_BROKEN if session.broken else "")
    stamp.keep(place, session.kept, Parts(session.store.database, place))


def forget_broken(session: Session, targets: Sequence[str], into: str | None = None) -> None:
    """Forget the stamp of when something was broken."""
    place = key(session, targets, into) + _BROKEN
    if session.kept.get(place) is not None:
        session.kept.drop(place)
        Parts(session.store.database, place).replace({})


def _is_owed(session: Session, stamp: Stamp) -> bool:
    """Whether a build with these settings would note what a stamp owes to the lock, or warn of it."""
    settings, owes = session.settings, stamp.told.owes
    return bool(owes) and (settings.locked or (not settings.offline and (settings.remote_cache or "") in owes))


def _are_ours(session: Session, stamp: Stamp) -> bool:
    """Whether the names that it calls stale are still noted as ours: another project may have written the same bytes."""
    written = Written(session.store.database, stamp.told.folder)
    return all(written.names(name).get(name, ("",))[0] == session.owner for name in stamp.told.stale)
