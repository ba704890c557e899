"""Builds of one project, one after the other: each when something that decides has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from modelbuild import interrupt
from modelbuild.cli import idle
from modelbuild.cli.invocation import Invocation
from modelbuild.cli.rounds import Teller
from modelbuild.digest import xxh3
from modelbuild.errors import Error, Errors
from modelbuild.files import reason
from modelbuild.observed import unchanged
from modelbuild.project import lock
from modelbuild.project.broken import told
from modelbuild.session import stamps
from modelbuild.session.obsolete import Obsolete, digest
from modelbuild.session.watcher import PATIENCE, QUIET, Watcher, concerns, stronger
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.engine.graph import Graph
    from modelbuild.session.file_events import Concern
    from modelbuild.session.session import Selection, Session
    from modelbuild.session.settings import Settings


IDLE = 0.3
"""Seconds without a change after which all that stands is looked at."""

PLANS = 3
"""How often in a row to plan where what a plan newly looked at has changed since."""


class Rebuild(Protocol):
    """What is done in each round."""

    targets: Sequence[str]

    def select(self, call: Invocation) -> Selection:
        """What the targets mean now."""

    def edit(self, call: Invocation, among: Collection[str] | None = None) -> Selection | None:
        """What changes since the last whole build reach, of all files or `among` some; None where that cannot be told."""

    def fetch(self, call: Invocation) -> None:
        """Bring here what is needed of elsewhere."""

    def build(self, call: Invocation, selection: Selection) -> None:
        """Build what was selected."""


def until_interrupted(call: Invocation, rebuild: Rebuild, poll: bool = False) -> int:
    """Build now, and again whenever something that the targets are made of changes."""
    settings = _settled(call.settings, call.session)
    _refuse_unknown(call.session, rebuild.targets)
    call.close()
    watcher = Watcher(poll=poll)
    with Teller(call.report) as teller:
        rounds = _Rounds(settings, teller, watcher, rebuild)
        try:
            changed: set[str] = set()
            while True:
                rounds.build(changed)
                teller.waiting(watcher.watched, watcher.polling, watcher.period)
                changed = watcher.wait(IDLE)
                if not changed:
                    rounds.rest()
                    changed = watcher.wait()
        finally:
            watcher.close()


def _refuse_unknown(session: Session, targets: Sequence[str]) -> None:
    """Raise Errors for targets that mean nothing; while the project is broken nobody knows which do."""
    try:
        words = session.words()
    except (Error, Errors):
        return
    if targets:
        words.select(targets)


def _settled(settings: Settings, session: Session) -> Settings:
    """The same project whatever comes and goes, also where the working folder itself does."""
    folder = os.path.abspath(settings.folder)
    file = settings.file or os.path.relpath(session.part_file or session.file, os.path.realpath(folder))
    return settings._replace(folder=folder, file=file)


class _Planned(NamedTuple):
    """What the targets mean, and all that decides what a build of them makes and says."""

    selection: Selection
    graph: Graph
    decides: tuple[str, ...]
    faults: Sequence[str]


def _is_whole(edit: Selection | None) -> bool:
    """Whether nothing of the project is broken after an edit."""
    return edit is not None and edit.edit is not None and stamps.is_whole(edit.edit.stamp)


class _Rounds:
    """Builds of one project, one after the other."""

    def __init__(self, settings: Settings, teller: Teller, watcher: Watcher, rebuild: Rebuild) -> None:
        self._settings = settings
        self._teller = teller
        self._report = teller.report
        self._watcher = watcher
        self._rebuild = rebuild
        self._started_in = os.getcwd()
        self._file = os.path.join(settings.folder, str(settings.file))
        self._last: object = None
        self._faults: Sequence[str] = ()
        self._concerns: dict[str, Concern] = {}
        self._superseded: float | None = None
        self._changed: set[str] = set()
        """What has changed since all was found to stand."""
        self._whole: Mapping[str, Concern] | None = {}
        """What counted when nothing was broken, where something is now: then other things count. Empty while nobody knows."""
        self._is_unheard = False
        """Whether more may have changed since all was found to stand than was heard of."""

    def build(self, changed: Collection[str]) -> None:
        """Plan, and build unless plan and sources are what they were when that was done last."""
        self._stand()
        self._changed.update(changed)
        given = self._report.options
        call = Invocation(self._settings, self._report)
        self._report.options = given
        self._report.begin()
        begun = time.monotonic()
        try:
            self._build(call, changed)
        except interrupt.Superseded:
            # What was under way is not made; nor is what changed just now.
            self._last = None
            self._teller.superseded()
            if self._superseded is None or time.monotonic() - begun > PATIENCE:
                self._superseded = begun
        except (Error, Errors) as error:
            if str(error) == self._last or self._goes_on(changed):
                return
            self._last = str(error)
            self._begin()
            self._report.errors(error.errors)
        else:
            self._superseded = None
        finally:
            call.close()

    def rest(self) -> None:
        """Nothing is to be done for now: look at all that stands, and make what somebody took of it."""
        call = Invocation(self._settings, self._report)
        try:
            edit = self._rebuild.edit(call)
            if edit is not None and not edit.outputs:
                self._stands()
            elif edit is not None:
                call.session.patient = True
                self._rebuild.build(call, edit)
        except (Error, Errors):
            # The next round comes to it, and tells.
            pass
        finally:
            call.close()

    def _build(self, call: Invocation, changed: Collection[str]) -> None:
        if changed and self._edited(call, changed):
            return
        planned = self._plan(call)
        if planned.decides == self._last and not any(source.path in changed for source in planned.graph.sources()):
            if planned.faults != self._faults and not self._goes_on(changed):
                self._faults = planned.faults
                self._begin()
                self._report.errors(told(planned.selection.broken))
            elif any(self._concerns.get(path) == "file" for path in changed):
                self._begin(nothing=True)
            return
        if planned.faults != self._faults and self._goes_on(changed):
            return
        self._begin()
        edit = self._rebuild.edit(call) if not changed and self._last is None else None
        if edit is not None and edit.edit is not None and not (edit.outputs or edit.broken):
            idle.say(self._report, edit.edit.stamp)
        else:
            if call.session.outside or any(each.wanted for each in planned.selection.broken):
                planned = self._fetched(call)
            with self._guarded(call.session):
                self._rebuild.build(call, planned.selection)
        self._last, self._faults = planned.decides, planned.faults

    def _edited(self, call: Invocation, changed: Collection[str]) -> bool:
        """Build what an edit since the last whole build reaches; False where that cannot be told."""
        if not os.path.lexists(self._file):
            return False
        self._watcher.begin()
        session = call.session
        session.patient = True
        edit = self._rebuild.edit(call, None if self._is_unheard else self._changed)
        if self._whole and _is_whole(edit):
            # What was broken is mended. All is looked at once more, now that it is watched again.
            self._concerns, self._whole = dict(self._whole), None
            self._watcher.watch(self._concerns)
            self._is_unheard = True
            edit = self._rebuild.edit(call)
        if edit is None or (self._whole is None) != _is_whole(edit):
            return False
        sources = [source.path for source in session.graph.sources()] if edit.outputs else ()
        new = concerns(session.looks() if edit.outputs else (), sources)
        self._concerns |= stronger(self._concerns, new)
        if self._may_differ(session, {*self._watcher.watch_more(new), *self._watcher.stirred()}):
            return False
        if edit.outputs:
            # What is planned next is compared with no other plan.
            self._last, self._faults = None, ()
            self._begin()
            with self._guarded(session):
                self._rebuild.build(call, edit)
        else:
            self._stands()
            if any(self._concerns.get(path) == "file" for path in changed):
                self._begin(nothing=True)
        return True

    def _stands(self) -> None:
        """All was looked at that may have changed, and stands."""
        self._changed.clear()
        self._is_unheard = False

    def _begin(self, *, nothing: bool = False) -> None:
        self._teller.begin(self._watcher.told, nothing=nothing)

    def _goes_on(self, changed: Collection[str]) -> bool:
        """Whether more changes: half of a change is likely to be a fault that is over with the other half."""
        return bool(changed) and bool(self._watcher.look(QUIET) - self._watcher.restless)

    def _guarded(self, session: Session, *passing: str) -> AbstractContextManager[object]:
        """What ends a build that is obsolete; not one that follows others which were ended, for as long as patience lasts."""
        if self._superseded is not None and time.monotonic() - self._superseded > PATIENCE:
            return nullcontext()
        return Obsolete(self._watcher, session.looks(), self._watcher.restless.union(passing))

    def _fetched(self, call: Invocation) -> _Planned:
        """Bring here what is needed of elsewhere. Then the plan is another one."""
        session = call.session
        with self._guarded(session, *filter(None, [lock.path(session.file)])):
            self._rebuild.fetch(call)
        planned = self._planned(call)
        self._watch(session, planned.graph)
        return planned

    def _stand(self) -> None:
        """Stand in the folder that the command was started in: it may have been removed, and made again."""
        folder = self._started_in
        while True:
            try:
                return os.chdir(folder)
            except OSError:
                folder = os.path.dirname(folder)

    def _plan(self, call: Invocation) -> _Planned:
        """Plan until all that was looked at is watched and was not changed before it was: that would be missed."""
        for _ in range(PLANS):
            call.close()
            self._watcher.begin()
            planned: _Planned | None = None
            fault: Error | Errors | None = None
            session: Session | None = None
            try:
                if not os.path.lexists(self._file):
                    path = os.path.realpath(self._file)
                    raise Error(
                        "the project file was removed", path=path, hint="the next build starts when it exists again"
                    )
                session = call.session
                session.patient = True
                planned = self._planned(call)
            except (Error, Errors) as error:
                fault = error
            except OSError as error:
                if error.filename is None:  # a stream's
                    raise
                fault = Error(reason(error), path=str(error.filename))
            if not self._watch(session, planned.graph if planned is not None else None):
                break
        else:
            # It still changes: the next round plans once more.
            self._watcher.again(self._file)
        if fault is not None:
            raise fault
        assert planned is not None
        return planned

    def _planned(self, call: Invocation) -> _Planned:
        session = call.session
        selection = self._rebuild.select(call)
        graph = session.graph.select(selection.outputs)
        faults = [str(error) for error in told(selection.broken)]
        warnings = "\0".join(map(str, session.warnings))
        decides = xxh3(graph.encode()), session.libraries()[0].root, warnings
        return _Planned(selection, graph, decides, faults)

    def _watch(self, session: Session | None, graph: Graph | None) -> bool:
        """Watch what a plan looked at, and what its graph reads. Returns whether it may have changed before it was watched."""
        looks = session.looks() if session is not None else ()
        sources = [source.path for source in graph.sources()] if graph is not None else ()
        found: dict[str, Concern] = {self._file: "file", **concerns(looks, sources)}
        if session is not None and graph is not None:
            self._whole = (self._concerns if self._whole is None else self._whole) if session.broken else None
            self._concerns = found
        else:
            # A plan that failed need not have come to what it hangs on.
            found = self._concerns | found
        new = {*self._watcher.watch(found), *self._watcher.stirred()}
        return bool(new) if session is None else self._may_differ(session, new, graph)

    def _may_differ(self, session: Session, paths: Collection[str], graph: Graph | None = None) -> bool:
        """Whether some paths, which were not watched before or stirred since, are not as they were when they were looked at."""
        if not paths:
            return False
        if not unchanged((look for look in session.looks() if look[1] in paths), digest):
            return True
        texts = [each for each in graph.sources() if each.path in paths and not each.is_weights] if graph else []
        fresh = session.new_sources()
        return any(fresh.digest(source) != session.sources.digest(source) for source in texts)
