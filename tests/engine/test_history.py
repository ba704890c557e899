"""What steps were in the last build."""

from __future__ import annotations

from pathlib import Path

from modelbuild.engine.action import Action
from modelbuild.engine.database import Database
from modelbuild.engine.history import History


def test_the_last_action_of_each_project_is_known(tmp_path: Path) -> None:
    database = Database(str(tmp_path))
    one, other = History(database, "one"), History(database, "other")
    action = Action("join", 1, '{"text":"a"}', (("0", "xxh3:1"),))
    one.remember({"step": action})
    found = one.last("step")
    assert found is not None and found.digest == action.digest and found.inputs == action.inputs
    assert other.last("step") is None
    one.remember({"step": Action("join", 2, "{}", ())})
    assert (found := one.last("step")) is not None and found.version == 2


def test_a_damaged_action_is_none(tmp_path: Path) -> None:
    database = Database(str(tmp_path))
    database.change(("insert into last values ('p', 's', 'd', '[1')", [()]))
    assert History(database, "p").last("s") is None
