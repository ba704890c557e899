"""Builds of one project, one after the other: each when something that decides has changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from modelbuild.cli.invocation import Invocation
from modelbuild.errors import Error, Errors
from modelbuild.files import reason
from modelbuild.project.broken import Broken, told
from modelbuild.session.watcher import Watcher, concerns
from modelbuild.words import plural

if TYPE_CHECKING:
    from modelbuild.engine.graph import Graph
    from modelbuild.session.file_events import Concern
    from modelbuild.session.session import Session
    from modelbuild.session.settings import Settings


PLANS = 3
"""How often in a row to plan where each plan looks at something new."""


def until_interrupted(
    call: Invocation, targets: Sequence[str], build: Callable[[Invocation], object], poll: bool = False
) -> int:
    """Call `build` now and again whenever something that the targets are made of changes."""
    settings = _settled(call.settings, call.session)
    _refuse_unknown(call.session, targets)
    call.close()
    watcher = Watcher(poll=poll)
    rounds = _Rounds(settings, call, watcher, targets, build)
    try:
        changed: set[str] = set()
        while True:
            rounds.build(changed)
            rounds.tell()
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


class _Rounds:
    """Builds of one project, one after the other."""

    def __init__(
        self,
        settings: Settings,
        call: Invocation,
        watcher: Watcher,
        targets: Sequence[str],
        build: Callable[[Invocation], object],
    ) -> None:
        self._settings = settings
        self._report = call.report
        self._watcher = watcher
        self._targets = targets
        self._build = build
        self._started_in = os.getcwd()
        self._last: object = None
        self._faults: Sequence[str] = ()
        self._concerns: dict[str, Concern] = {}
        self._told: str | None = None

    def build(self, changed: Collection[str]) -> None:
        """Plan, and build unless plan and sources are what they were when that was done last."""
        self._stand()
        given = self._report.options
        call = Invocation(self._settings, self._report)
        self._report.options = given
        try:
            graph, broken = self._plan(call)
            plan, faults = graph.encode(), [str(error) for error in told(broken)]
            if plan != self._last or any(source.path in changed for source in graph.sources()):
                self._last = plan
                self._report.begin()
                self._build(call)
            elif faults != self._faults:
                self._report.errors(told(broken))
            self._faults = faults
        except (Error, Errors) as error:
            if str(error) != self._last:
                self._last = str(error)
                self._report.errors(error.errors)
        finally:
            call.close()

    def _stand(self) -> None:
        """Stand in the folder that the command was started in: it may have been removed, and made again."""
        folder = self._started_in
        while True:
            try:
                return os.chdir(folder)
            except OSError:
                folder = os.path.dirname(folder)

    def _plan(self, call: Invocation) -> tuple[Graph, Sequence[Broken]]:
        """What the targets need, and what of them is broken.

        Planned again until all that was looked at is watched: what changed in between would be missed.
        """
        file = os.path.join(self._settings.folder, str(self._settings.file))
        for _ in range(PLANS):
            call.close()
            graph: Graph | None = None
            broken: Sequence[Broken] = ()
            fault: Error | Errors | None = None
            session: Session | None = None
            try:
                if not os.path.lexists(file):
                    path = os.path.realpath(file)
                    raise Error(
                        "the project file was removed", path=path, hint="the next build starts when it exists again"
                    )
                session = call.session
                selection = session.select(self._targets)
                graph, broken = session.graph.select(selection.outputs), selection.broken
            except (Error, Errors) as error:
                fault = error
            except OSError as error:
                if error.filename is None:  # a stream's
                    raise
                fault = Error(reason(error), path=str(error.filename))
            looks = session.looks() if session is not None else ()
            sources = [source.path for source in graph.sources()] if graph is not None else ()
            found: dict[str, Concern] = {file: "file", **concerns(looks, sources)}
            if fault is None:
                self._concerns = found
            else:
                # A plan that failed need not have come to what it hangs on.
                found = self._concerns | found
            if not self._watcher.watch(found):
                break
        if fault is not None:
            raise fault
        assert graph is not None
        return graph, broken

    def tell(self) -> None:
        """Say how changes are noticed: once, and again where that changes."""
        watcher = self._watcher
        if watcher.polling is None:
            how = f"watching {plural(watcher.watched, 'folder')}"
        else:
            how = f"watching by polling every {watcher.period:.0f} s"
            how += f": {watcher.polling}" if watcher.polling else ""
        if self._told is None:
            self._report.note(f"{how}; Ctrl-C ends it")
        elif watcher.polling is not None and watcher.polling != self._told:
            self._report.note(how)
        self._told = watcher.polling or ""
