"""The steps of a project in its last build: explanations compare with them, and nothing else depends on them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Container, Iterable, Mapping

from modelbuild.engine.action import Action
from modelbuild.engine.database import Database, Statement
from modelbuild.tuples import NamedTuple

FEW = 100
"""Steps that are asked for one by one."""


class Earlier(NamedTuple):
    """When a step became what it is, and what it was before; None for one that was new then."""

    at: float
    action: Action | None


class History:
    """The last actions of one project's steps; `project` is its file."""

    def __init__(self, database: Database, project: str) -> None:
        self._database = database
        self._project = project

    def last(self, step: str) -> Action | None:
        """The action that a step was in the last build. A damaged one counts as none."""
        rows = self._database.rows("select action from last where project = ? and step = ?", (self._project, step))
        return _decoded(rows[0][0]) if rows else None

    def all(self, steps: Iterable[str]) -> dict[str, Action]:
        """`last` of many steps, without those that were never built."""
        rows = self._database.rows_in(
            "select step, action from last where project = ? and step in ({})", steps, [self._project]
        )
        return {step: action for step, text in rows if (action := _decoded(text)) is not None}

    def knows(self, digests: Iterable[str]) -> set[str]:
        """Those of some actions that a step of the last build was, whatever it was called."""
        query = "select digest from last where project = ? and digest in ({})"
        return {digest for (digest,) in self._database.rows_in(query, digests, [self._project])}

    def earlier(self, steps: Iterable[str]) -> dict[str, Earlier]:
        """What steps were before they became what they are, without those that are as in the first build."""
        rows = self._database.rows_in(
            "select step, at, action from earlier where project = ? and step in ({})", steps, [self._project]
        )
        return {step: Earlier(float(at), _decoded(text)) for step, at, text in rows}

    def remember(self, actions: Mapping[str, Action]) -> None:
        """Note what steps are now, by name."""
        known = self._known(actions)
        new = [(step, action) for step, action in actions.items() if known.get(step) != action.digest]
        if not new:
            return
        project, now = self._project, time.time()
        changed = [(now, project, step) for step, _ in new if step in known]
        # In a first build every step is new, which needs no saying.
        is_first = not self._database.rows("select 1 from last where project = ? limit 1", (project,))
        added = [(project, step, now) for step, _ in new if not is_first and step not in known]
        self._database.change(
            self._used(known[step] for step, _ in new if step in known),
            (
                "insert or replace into earlier select project, step, ?, action from last where project = ? and step = ?",
                changed,
            ),
            ("insert or replace into earlier values (?, ?, ?, '')", added),
            (
                "insert or replace into last values (?, ?, ?, ?)",
                ((project, step, action.digest, action.encode()) for step, action in new),
            ),
        )

    def retain(self, steps: Container[str]) -> None:
        """Forget the steps that the project no longer has."""
        gone = {step: digest for step, digest in self._known().items() if step not in steps}
        rows = ((self._project, step) for step in gone)
        self._database.change(self._used(gone.values()), ("delete from last where project = ? and step = ?", rows))

    def _known(self, steps: Collection[str] | None = None) -> dict[str, str]:
        """step -> the digest of its action; of all steps, or of those that are asked for at least."""
        query = "select step, digest from last where project = ?"
        if steps is None or len(steps) > FEW:
            return dict(self._database.rows(query, (self._project,)))
        query += " and step = ?"
        return dict(row for step in steps for row in self._database.rows(query, (self._project, step)))

    @staticmethod
    def _used(actions: Iterable[str]) -> Statement:
        """Note when the artifacts of actions that are no step's any more were last of use."""
        now = time.time()
        query = (
            "insert into cost select artifact, 0, ? from action where digest = ? "
            "on conflict (artifact) do update set used = excluded.used"
        )
        return query, ((now, digest) for digest in actions)


def _decoded(text: str) -> Action | None:
    with contextlib.suppress(ValueError, TypeError):
        return Action.decode(text)
    return None
