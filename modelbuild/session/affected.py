"""The variants whose result may differ between two plans of a project: as it is, and as it was at a revision. Nothing is built."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from modelbuild.engine.action import ABSENT, Action
from modelbuild.engine.graph import Graph, Output, Source
from modelbuild.engine.standing import Reason, reasons
from modelbuild.errors import Error, Errors
from modelbuild.files import signature
from modelbuild.observed import Observed
from modelbuild.ollama.name import displayed
from modelbuild.project import lock
from modelbuild.session import pins
from modelbuild.session.forecast import Forecast, of_output
from modelbuild.session.revision import SMALL, Revision
from modelbuild.session.session import Selection, Session
from modelbuild.session.why import Cause, Why
from modelbuild.tuples import NamedTuple

Change = Literal["changed", "added", "removed", "broken", "fixed"]


class Side(NamedTuple):
    """What the model of a variant is, before or after: bytes of its file, and how many of its tensors have which type."""

    bytes: int | None
    types: Mapping[str, int]

    def data(self) -> dict[str, Any]:
        return {"model_bytes": self.bytes, "types": dict(self.types)}


class Affected(NamedTuple):
    """A variant that may come out otherwise. `error` says why it is broken, now or before."""

    label: str
    change: Change
    names: Sequence[str]
    before: Side | None = None
    after: Side | None = None
    causes: Sequence[Cause] = ()
    error: str = ""

    def data(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "change": self.change,
            "names": list(self.names),
            "before": self.before.data() if self.before else None,
            "after": self.after.data() if self.after else None,
            "causes": [cause.data() for cause in self.causes],
            "error": self.error or None,
        }


class Found(NamedTuple):
    """The variants that may differ, and how many do not."""

    variants: Sequence[Affected]
    unchanged: int


def open_before(session: Session, revision: Revision) -> Session | None:
    """The project as it was; None where there was none. Raises Error."""
    file = revision.path(session.file)
    if not os.path.lexists(file):
        return None
    _lend_pins(session, file)
    settings = session.settings._replace(folder=revision.folder, file=file, cache=session.store.root)
    if session.settings.models:
        settings = settings._replace(models=session.models.root)
    before = Session(settings)
    if session.part_file is not None:
        before.part_file = os.path.join(
            os.path.dirname(before.file), os.path.relpath(session.part_file, os.path.dirname(session.file))
        )
    try:
        before.words()
    except (Error, Errors) as fault:
        before.close()
        first = fault.errors[0]
        place = f"{first.place.removeprefix(revision.folder + os.sep)}: " if first.place else ""
        what = f"the project cannot be read as it was at {revision.name}: {place}{first.what}"
        raise Error(what, hint="name another revision with --since") from None
    return before


def _lend_pins(session: Session, file: str) -> None:
    """Add the weights to the lock of before that only today's pins: what is not in git is what it is today, there or not."""
    today, before = lock.path(session.file), lock.path(file)
    if today is None or before is None or not os.path.exists(today):
        return
    with suppress(Error, Errors, OSError):
        known = lock.observe(file, Observed())
        new = {name: pin for name, pin in pins.read(session).items() if lock.is_weights(name) and name not in known}
        if new:
            # It may be a link to today's.
            with suppress(FileNotFoundError):
                os.unlink(before)
            with open(before, "xb") as made:
                made.write(lock.encode({**known, **new}))


def affected(session: Session, selection: Selection, before: Session | None, revision: Revision) -> Found:
    """Compare the variants of a selection with those of a plan before; without targets also tell which are gone.

    revision  what the plan before was made of
    """
    away = _away(session, revision.root) | (_away(before, revision.folder) if before is not None else set())
    now = _Plan(session, None, {os.path.join(revision.root, path) for path in away})
    exact = {os.path.join(revision.folder, path) for path in away}
    then = _Plan(before, revision, exact) if before is not None else None
    outputs = {output.label: output for output in selection.outputs}
    old = then.outputs if then else {}
    reasoned = _reasons(then, now)
    why = Why(session, now.graph, reasoned, {name: bool(then and name in then.actions) for name in reasoned})
    found: list[Affected] = []
    for label, output in outputs.items():
        if label not in old or then is None:
            was_broken = then is not None and label in then.broken
            found.append(Affected(label, "fixed" if was_broken else "added", _names(output), after=None))
        elif now.actions[output.manifest].digest != then.actions[old[label].manifest].digest:
            found.append(Affected(label, "changed", _names(output), causes=why.roots(output)))
        elif output.names != old[label].names:
            cause = Cause("names", "changed", "", ", ".join(_names(old[label])), ", ".join(_names(output)))
            found.append(Affected(label, "changed", _names(output), causes=[cause]))
    for each in selection.broken:
        if each.model and each.label not in (then.broken if then else {}):
            names = [name.display() for name in each.names or ()]
            found.append(Affected(each.label, "broken", names, error="; ".join(error.what for error in each.errors)))
    unchanged = len(outputs) - sum(each.label in outputs for each in found)
    # A part that was none has lost nothing.
    if before is not None and not selection.targets and bool(session.part) == bool(before.part):
        kept = {*outputs, *(each.label for each in selection.broken)}
        gone = [each for each in before.everything().outputs if each.label not in kept]
        found += [Affected(each.label, "removed", _names(each)) for each in gone]
    after = _sides(session, [outputs[each.label] for each in found if each.label in outputs])
    earlier = _sides(before, [old[each.label] for each in found if each.label in old]) if before else {}
    return Found(
        [each._replace(before=earlier.get(each.label), after=after.get(each.label)) for each in found], unchanged
    )


def _away(session: Session, root: str) -> set[str]:
    """The weights that are not here, by their paths from a root: on the other side they may be, and must be compared by digest."""
    return {os.path.relpath(source.path, root) for source in session.graph.sources() if source.is_away()}


class _Plan:
    """A graph whose steps are actions as far as they can be told without running: an input that is made is the action that makes it."""

    def __init__(self, session: Session, revision: Revision | None, exact: Collection[str]) -> None:
        self.graph: Graph = session.graph
        self.outputs: dict[str, Output] = {output.label: output for output in self.graph.outputs}
        self.broken = {each.label for each in session.broken}
        self.actions: dict[str, Action] = {}
        self._session = session
        self._revision = revision
        self._exact = exact
        self._digests: dict[Source, str] = {}
        for step in self.graph.steps.values():
            inputs = tuple(
                (role, self.actions[ref].digest if isinstance(ref, str) else self._digest(ref))
                for role, ref in step.inputs
            )
            self.actions[step.name] = Action(step.kind, step.version, step.parameters, inputs)

    def _digest(self, source: Source) -> str:
        if source not in self._digests:
            self._digests[source] = self._look(source)
        return self._digests[source]

    def _look(self, source: Source) -> str:
        """What stands for the digest of a source. Of a large file its place and its stat: both plans see the same file."""
        if source.is_away():
            # As on a side where it is here: by the engine's digest alone.
            return source.known.rpartition(" ")[2]
        real = os.path.realpath(source.path)
        try:
            info = os.stat(real)
        except OSError:
            return ABSENT
        if self._revision is not None and self._revision.differs(real):
            return f"as before {real}"
        if info.st_size > SMALL and source.path not in self._exact:
            return f"{real} {signature(info)}"
        try:
            return self._session.sources.digest(source)
        except Error as error:
            # Not where: the two plans have the same file in two places.
            return error.what


def _reasons(then: _Plan | None, now: _Plan) -> dict[str, list[Reason]]:
    """By name, how the steps of now differ from those before."""
    found = {}
    before = then.actions if then else {}
    for name, action in now.actions.items():
        old = before.get(name)
        if old is None or old.digest != action.digest:
            found[name] = reasons(now.graph.steps[name], old, action)
    return found


def _names(output: Output) -> list[str]:
    return [displayed(name) for name in output.names]


def _sides(session: Session, outputs: Sequence[Output]) -> dict[str, Side]:
    """By label, what the models of outputs are, from the heads of their files."""
    from modelbuild.plan import preflight

    graph = session.graph.select(outputs)
    files = preflight.look(graph).files
    found = {}
    for output in outputs:
        try:
            forecast: Forecast = of_output(graph, output, files)
        except OSError:
            continue
        types = Counter(forecast.file.types if forecast.file else ())
        found[output.label] = Side(forecast.size, dict(types.most_common()))
    return found
