"""Past builds are kept, the last ones, and each says what it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelbuild.engine import log
from modelbuild.engine.database import Database
from modelbuild.engine.log import Log, Recorder

STEP = {"event": "step", "step": "a/model", "kind": "layer", "seconds": 1.0, "targets": ["a"], "digest": None}


def record(*events: dict[str, Any], errors: tuple[str, ...] = (), interrupted: bool = False) -> dict[str, Any] | None:
    heard: list[dict[str, Any]] = []
    recorder = Recorder(["a"], ["--force"], heard.append)
    for event in events:
        recorder(event)
    assert heard == list(events), "every event is passed on"
    return recorder.record(errors, interrupted=interrupted)


def test_a_build_says_what_it_did() -> None:
    variant = {"event": "variant", "label": "a", "changed": True, "name": "a"}
    unchanged = {"event": "variant", "label": "b", "changed": False, "name": "b"}
    summary = {"event": "summary", "ran": 1, "hit": 2, "failed": 0, "skipped": 0, "bytes_written": 5, "seconds": 9.0}
    found = record({**STEP, "state": "ran"}, {**STEP, "state": "hit"}, variant, unchanged, summary)
    assert found is not None
    assert found["changed"] == ["a"] and found["changed_models"] == 1
    assert (found["ran"], found["hit"], found["bytes_written"], found["targets"], found["options"]) == (
        1, 2, 5, ["a"], ["--force"],
    )  # fmt: skip
    assert found["steps"] == [{"step": "a/model", "seconds": 1.0}]
    assert found["seconds"] < 1 and not found["interrupted"]


def test_what_only_went_into_files_is_told_apart() -> None:
    file = {"event": "file", "label": "a", "changed": True}
    found = record(file, {**file, "label": "b"}, {"event": "variant", "label": "b", "changed": True, "name": "b"})
    assert found is not None and found["changed"] == ["a", "b"]
    assert found["written"] == ["a"] and found["written_models"] == 1


def test_a_build_with_nothing_to_do_is_none() -> None:
    assert record({**STEP, "state": "hit"}, {"event": "summary", "ran": 0, "hit": 1, "failed": 0, "skipped": 0}) is None


def test_failures_are_named_and_told_once() -> None:
    failed = {**STEP, "state": "failed", "error": "no space"}
    found = record(failed, errors=("no space", "another"))
    assert found is not None
    assert found["failed_models"] == ["a"] and found["errors"] == ["no space", "another"] and found["failed"] == 1


def test_an_interrupted_build_without_a_summary_is_kept() -> None:
    found = record({**STEP, "state": "ran"}, interrupted=True)
    assert found is not None and found["interrupted"] and found["ran"] == 1


def test_only_the_slowest_steps_and_some_models_are_kept(monkeypatch: Any) -> None:
    monkeypatch.setattr(log, "SLOWEST", 3)
    monkeypatch.setattr(log, "NAMED", 2)
    events = [{**STEP, "state": "ran", "step": str(number), "seconds": float(number)} for number in range(9)]
    variants = [{"event": "variant", "label": str(number), "changed": True} for number in range(5)]
    found = record(*events, *variants)
    assert found is not None
    assert [each["step"] for each in found["steps"]] == ["8", "7", "6"]
    assert found["changed"] == ["0", "1"] and found["changed_models"] == 5


def test_the_last_builds_of_each_project_are_kept(tmp_path: Path, monkeypatch: Any) -> None:
    database = Database(str(tmp_path))
    monkeypatch.setattr(log, "KEPT", 3)
    one, other = Log(database, "one"), Log(database, "other")
    whole = record({**STEP, "state": "ran"})
    assert whole is not None
    other.add({**whole, "at": 0.5})
    for at in range(5):
        one.add({**whole, "at": float(at)})
    assert [each["at"] for each in one.last()] == [4.0, 3.0, 2.0]
    assert [each["at"] for each in one.last(1)] == [4.0]
    assert [each["at"] for each in other.last()] == [0.5]


def test_a_damaged_record_is_passed_over(tmp_path: Path) -> None:
    database = Database(str(tmp_path))
    for at, text in enumerate(("{", "[]", '{"at": 1}', "null")):
        database.change(("insert into built values ('p', ?, ?)", [(float(at), text)]))
    assert Log(database, "p").last() == []
