"""The steps of a project in its last build: explanations compare with them, and nothing else depends on them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from modelbuild.engine.action import Action
from modelbuild.engine.database import Database

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
        if len(actions) > FEW:
            known = dict(self._database.rows("select step, digest from last where project = ?", (self._project,)))
        else:
            query = "select step, digest from last where project = ? and step = ?"
            known = dict(row for step in actions for row in self._database.rows(query, (self._project, step)))
        new = [(step, action) for step, action in actions.items() if known.get(step) != action.digest]
        if new:
            rows = ((self._project, step, action.digest, action.encode()) for step, action in new)
            self._database.change(("insert or replace into last values (?, ?, ?, ?)", rows))
