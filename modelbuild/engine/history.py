"""The steps of a project in its last build: explanations compare with them, and nothing else depends on them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Container, Iterable, Mapping

from modelbuild.engine.action import Action
from modelbuild.engine.database import Database, Statement

FEW = 100
"""Steps that are asked for one by one."""


class History:
    """The last actions of one project's steps; `project` is its file."""

    def __init__(self, database: Database, project: str) -> None:
        self._database = database
        self._project = project

    def last(self, step: str) -> Action | None:
        """The action that a step was in the last build. A damaged one counts as none."""
        rows = self._database.rows("select action from last where project = ? and step = ?", (self._project, step))
        with contextlib.suppress(ValueError, TypeError):
            return Action.decode(rows[0][0]) if rows else None
        return None

    def remember(self, actions: Mapping[str, Action]) -> None:
        """Note what steps are now, by name."""
        known = self._known(actions)
        new = [(step, action) for step, action in actions.items() if known.get(step) != action.digest]
        if new:
            rows = ((self._project, step, action.digest, action.encode()) for step, action in new)
            self._database.change(
                self._used(known[step] for step, _ in new if step in known),
                ("insert or replace into last values (?, ?, ?, ?)", rows),
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
