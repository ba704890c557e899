"""An edit of a few Modelfiles: what it reaches is planned again and built, and nothing else is looked at.

The stamp of the last build tells which files are not as they were. What they decide is read from the kept plan, planned again and kept;
where an edit reaches further than that, all is planned anew.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence

from modelbuild.engine.graph import Graph, Output
from modelbuild.engine.parts import Parts
from modelbuild.errors import Error, Errors
from modelbuild.observed import Look, Observed, unchanged
from modelbuild.plan import parts
from modelbuild.plan.parts import Divided, Part
from modelbuild.plan.remarks import Remark
from modelbuild.session.kept_plan import BASED, BROKEN, LOOKS, SHARED, WHOLE, Head, KeptPlan, file_mark, marks_of
from modelbuild.session.session import Selection, Session
from modelbuild.session.stamp import Changes, Edit, Stamp, signed
from modelbuild.tuples import NamedTuple

MOST = 100
"""Models that are planned again alone."""

_NO_STEPS = Graph((), ())


def selection(session: Session, targets: Sequence[str], stamp: Stamp, changes: Changes) -> Selection | None:
    """The outputs that changes since the last build of these targets reach, with the session's graph cut down to what they need.

    None where all has to be planned and looked up.
    """
    kept = _kept(session, stamp)
    if kept is None or not kept.head.editable:
        return None
    # Before they are looked at: what changes meanwhile must not have the signature of what was seen.
    common = signed(changes.paths)
    is_revised = session.file in changes.paths
    revised = _revised(session, kept) if is_revised else None
    if is_revised and revised is None:
        return None
    models = _touched(session, kept, changes, revised)
    if models is None:
        return None
    if not models:
        # Folders and files in which the plan sees the same as before: nobody need ask that again.
        if revised is not None:
            _keep(session, kept, {}, {}, revised)
        if common is not None:
            stamp.change(Parts(session.store.database, stamp.key), common, {})
        return _selected(session, kept, targets, Edit(stamp, changes))
    known = _read(kept, models)
    if known is None or not all(known.parts[model].whole for model in models):
        return None
    observed = Observed()
    new = _replanned(session, kept, [*models], known, observed)
    if new is None or (revised is not None and revised.text not in observed.looks()):
        return None
    _keep(session, kept, known.parts, new, revised)
    known = known._replace(parts={**known.parts, **new})
    reached = {model: known.parts[model] for model in models}
    graph = parts.graph(known)
    built = stamp.built(each.label for each in graph.outputs if each.label.partition(":")[0] in models)
    outputs = [each for each in graph.outputs if each.label in built]
    if not outputs:
        return None
    graph = _part(graph, [each.label for part in reached.values() for each in part.outputs])
    # What the plan saw of what has changed and is of no model: the build must not sign it as it becomes meanwhile.
    seen = (look for look in _looks(kept) if look[1] in changes.paths and look[1] != session.file)
    plan = kept.planned(graph, parts.remarks(reached.values()), list(dict.fromkeys([*seen, *observed.looks()])))
    return _selected(session, kept, targets, Edit(stamp, changes), plan, outputs)


def standing(session: Session, targets: Sequence[str], stamp: Stamp, changes: Changes) -> Selection | None:
    """What of targets is broken of which nothing has changed; None where it has to be planned."""
    kept = _kept(session, stamp)
    return None if kept is None else _selected(session, kept, targets, Edit(stamp, changes))


def _selected(
    session: Session,
    kept: _Kept,
    targets: Sequence[str],
    edit: Edit,
    plan: KeptPlan | None = None,
    outputs: Sequence[Output] = (),
) -> Selection:
    told = edit.stamp.told.broken
    if plan is not None or told:
        session.take(kept.planned() if plan is None else plan)
    broken = [each for each in kept.head.broken if each.label in told]
    return Selection(tuple(targets), outputs, broken, edit=edit)


class _Kept(NamedTuple):
    """The plan that a stamp is of, as it is kept."""

    id: str
    head: Head
    parts: Parts

    def planned(self, graph: Graph = _NO_STEPS, remarks: Sequence[Remark] = (), looks: Sequence[Look] = ()) -> KeptPlan:
        """A part of it."""
        plan = KeptPlan(self.head, lambda: self.parts.all(self.id) or {}, self.id)
        plan.graph, plan.remarks, plan.looks = graph, remarks, looks
        return plan


def _kept(session: Session, stamp: Stamp) -> _Kept | None:
    for place in (WHOLE, BROKEN):
        found = KeptPlan.kept_head(place + session.key, session.kept)
        if found is not None and found[0] == stamp.plan:
            return _Kept(*found, Parts(session.store.database, place + session.key))
    return None


def _part(graph: Graph, labels: Collection[str]) -> Graph:
    return graph.select(each for each in graph.outputs if each.label in labels)


class _Revised(NamedTuple):
    """What an edit of the project's own text is.

    models  that it reaches
    text    the look at it now
    looks   those of the plan that are of no model, with this one among them
    """

    models: Collection[str]
    text: Look
    looks: Sequence[Look]


def _revised(session: Session, kept: _Kept) -> _Revised | None:
    """What an edit of the project's own text is; None where it may be anything."""
    if kept.head.parts or kept.head.warnings or kept.head.broken:
        # There may be others, and those that there are may stand in other lines.
        return None
    from modelbuild.project import loader, revised, toml

    observed, looks = Observed(), _looks(kept)
    before = next((look for look in looks if look[:2] == ("read", session.file)), None)
    if before is None or (known := toml.known(before[2], session.overrides, session.kept)) is None:
        return None
    try:
        now = loader.document(session.file, observed=observed, keep=session.kept, given=session.overrides)
    except (Error, Errors):
        return None
    models = revised.reached(known, now) if now is not None else None
    text = next(look for look in observed.looks() if look[:2] == before[:2])
    return None if models is None else _Revised(models, text, [text if look is before else look for look in looks])


def _touched(session: Session, kept: _Kept, changes: Changes, revised: _Revised | None) -> Collection[str] | None:
    """The models that changes reach; None where they may reach any.

    Of an output may be a file that it is made of, and that the plan saw, too: so its model is planned again as well.
    """
    found = kept.parts.marked(kept.id, map(file_mark, changes.paths))
    others = {path for path in changes.paths if file_mark(path) not in found} - {session.file}
    if others and not _same(session, kept, others):
        return None
    touched = dict.fromkeys(model for models in found.values() for model in models)
    touched.update(dict.fromkeys(label.partition(":")[0] for label in changes.labels))
    touched.update(dict.fromkeys(revised.models if revised else ()))
    value = kept.parts.get(kept.id, [BASED]).get(BASED)
    if value is None:
        return None
    based: Mapping[str, Sequence[str]] = json.loads(value)
    todo = [*touched]
    while todo:
        more = [each for each in based.get(todo.pop(), ()) if each not in touched]
        touched.update(dict.fromkeys(more))
        todo += more
        if len(touched) > MOST:
            return None
    return touched


def _same(session: Session, kept: _Kept, paths: Collection[str]) -> bool:
    """Whether all that the plan saw of some paths is still there, as in the folder of a file that was replaced."""
    looks = [look for look in _looks(kept) if look[1] in paths]
    session.sources.prepare_paths(path for verb, path, _ in looks if verb == "read")
    return {path for _, path, _ in looks} == paths and unchanged(looks, session.sources.file_digest)


def _looks(kept: _Kept) -> list[Look]:
    """Those of the plan that are of no model."""
    value = kept.parts.get(kept.id, [LOOKS]).get(LOOKS)
    return [(verb, path, seen) for verb, path, seen in json.loads(value or b"[]")]


def _read(kept: _Kept, models: Iterable[str]) -> Divided | None:
    """The parts of models and of all that they are based on; None where one is not there."""
    found: dict[str, Part] = {}
    todo = {*models}
    while todo:
        values = kept.parts.get(kept.id, todo)
        if values.keys() != todo:
            return None
        new = {model: Part.decode(value) for model, value in values.items()}
        found |= new
        todo = {base for part in new.values() for base in part.bases} - found.keys()
    shared = kept.parts.get(kept.id, [SHARED]).get(SHARED)
    return None if shared is None else Divided(found, parts.decode_shared(shared))


def _replanned(
    session: Session, kept: _Kept, planned: Sequence[str], known: Divided, observed: Observed
) -> dict[str, Part] | None:
    from modelbuild.plan.replanned import Otherwise, replanned
    from modelbuild.project import loader

    found = {model: path for part in known.parts.values() for model, path in part.found.items()}

    def owners(digests: Iterable[str]) -> Mapping[str, Collection[str]]:
        marks = kept.parts.marked(kept.id, (f"step:{digest}" for digest in digests))
        return {mark.removeprefix("step:"): models for mark, models in marks.items()}

    try:
        within = {name for part in known.parts.values() for name in part.parts}
        wanted = loader.Wanted(known.parts.keys(), found, within, kept.head.parts)
        loaded = loader.load_models(session.file, wanted, observed=observed, keep=session.kept, given=session.overrides)
        if loaded is None:
            return None
        elsewhere = session.elsewhere(observed, kept.head.models)
        new = replanned(loaded, planned, known, owners, kept.head.root, observed, elsewhere)
    except (Error, Errors, Otherwise):
        return None
    # The project's own text is looked at for all models.
    own = ("read", session.file)
    return {model: part._replace(looks=[look for look in part.looks if look[:2] != own]) for model, part in new.items()}


def _keep(
    session: Session, kept: _Kept, before: Mapping[str, Part], now: Mapping[str, Part], revised: _Revised | None
) -> None:
    gone = {mark for model in now for mark in marks_of(model, before[model])}
    new = {mark for model, part in now.items() for mark in marks_of(model, part)}
    values = {model: part.encode() for model, part in now.items()}
    if revised is not None:
        # A build may end before it has come to them: the next one finds them by the file, whatever is edited then.
        new |= {(file_mark(session.file), model) for model in revised.models}
        values[LOOKS] = json.dumps(revised.looks, separators=(",", ":")).encode()
    kept.parts.change(kept.id, values, gone - new, new - gone)
