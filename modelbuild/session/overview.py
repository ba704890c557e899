"""How all of a project stands: what is built, what a build would change, what is broken, and what waits for a download."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelbuild.engine.graph import Output
from modelbuild.engine.log import Log, Record
from modelbuild.engine.standing import due
from modelbuild.project.broken import Broken
from modelbuild.session import gates, state
from modelbuild.session.gates import Verdict
from modelbuild.session.session import Session
from modelbuild.tuples import NamedTuple


class Overview(NamedTuple):
    """The variants by how they stand.

    steps       that a build would run for those that are not built
    maybe       those of them that run only if what they need comes out otherwise than before
    unrecorded  how many of those that are changed no build of this cache knows of
    stale       names in the models folder, and files, that are no longer declared
    last        the last build that did something
    gates       label -> what its gate says of a variant that has one
    """

    built: list[Output]
    changed: list[Output]
    missing: list[Output]
    awaited: list[Broken]
    broken: list[Broken]
    steps: int
    maybe: int
    unrecorded: int
    stale: tuple[list[str], list[str]]
    last: Record | None
    gates: Mapping[str, Verdict]

    def data(self) -> dict[str, Any]:
        from modelbuild.ollama.name import displayed

        return {
            "built": [output.label for output in self.built],
            "changed": [output.label for output in self.changed],
            "not_built": [output.label for output in self.missing],
            "not_pulled": [each.label for each in self.awaited],
            "broken": [{"label": each.label, "error": "\n\n".join(map(str, each.errors))} for each in self.broken],
            "steps": self.steps,
            "unrecorded": self.unrecorded,
            "stale": {"names": [*map(displayed, self.stale[0])], "files": self.stale[1]},
            "last_build": self.last,
            "gates": {label: each.data() for label, each in self.gates.items()},
        }


def look(session: Session) -> Overview:
    """See how everything stands. No weights are read. Raises Error."""
    from modelbuild.session import exports

    selection = session.everything()
    graph = session.graph.select(selection.outputs)
    standing = session.standing(graph)
    found: dict[str, list[Output]] = {"yes": [], "changed": [], "no": []}
    for output in selection.outputs:
        found[state.state(session, output, standing)].append(output)
    # The broken variants of a group or a model that cannot be told are faults too.
    awaited = [each for each in selection.broken if each.wanted is not None]
    broken = [each for each in selection.broken if each.wanted is None]
    rest = [*found["changed"], *found["no"]]
    part = standing._replace(graph=graph.select(rest)) if rest else None
    steps = due(part, session.records) if part is not None else []
    maybe = sum(not each.sure for each in steps)
    known = session.records.history.all(output.manifest for output in found["changed"])
    unrecorded = sum(output.manifest not in known for output in found["changed"])
    stale = session.stale(), exports.stale_files(session)
    last = next(iter(Log(session.store.database, session.file).last(1)), None)
    judged = {output.label: gates.verdict(session, output, standing) for output in selection.outputs}
    told = {label: each for label, each in judged.items() if each is not None}
    return Overview(
        found["yes"], found["changed"], found["no"], awaited, broken, len(steps), maybe, unrecorded, stale, last, told
    )
