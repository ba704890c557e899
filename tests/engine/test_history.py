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


def test_what_a_step_was_before_its_last_change_is_kept(tmp_path: Path) -> None:
    history = History(Database(str(tmp_path)), "p")
    first, second, third = (Action("join", version, "{}", ()) for version in (1, 2, 3))
    history.remember({"a": first, "b": first})
    assert history.earlier(["a", "b"]) == {}, "a first build says nothing"
    history.remember({"a": second, "b": first, "new": third})
    found = history.earlier(["a", "b", "new"])
    assert sorted(found) == ["a", "new"]
    assert found["a"].action is not None and found["a"].action.digest == first.digest
    assert found["new"].action is None and found["new"].at == found["a"].at
    history.remember({"a": second})
    assert history.earlier(["a"])["a"] == found["a"] or history.earlier(["a"])["a"].at == found["a"].at
    assert {step: action.version for step, action in history.all(["a", "b", "new", "none"]).items()} == {
        "a": 2, "b": 1, "new": 3,
    }  # fmt: skip


def test_a_damaged_action_is_none(tmp_path: Path) -> None:
    database = Database(str(tmp_path))
    database.change(("insert into last values ('p', 's', 'd', '[1')", [()]))
    assert History(database, "p").last("s") is None
