"""Kept values: those of this code, whole, under their own key."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.engine import kept
from modelbuild.engine.database import Database
from modelbuild.engine.kept import Kept


def test_values_of_other_types_and_other_keys_are_none(tmp_path: Path) -> None:
    database = Database(str(tmp_path))
    values = Kept(database)
    values.put("one", b"1")
    values.put("two", b"2")
    assert values.get("one") == b"1" and values.get("three") is None
    database.change(("update kept set value = (select value from kept where key = 'two')", [()]))
    assert values.get("one") is None and values.get("two") == b"2"
    database.change(("update kept set value = 1.5", [()]))
    assert values.get("two") is None


def test_values_of_other_code_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = Kept(Database(str(tmp_path)))
    values.put("key", b"value")
    monkeypatch.setattr(kept, "fingerprint", lambda: "other code")
    assert values.get("key") is None


def test_a_damaged_value_is_none(tmp_path: Path) -> None:
    database = Database(str(tmp_path))
    values = Kept(database)
    values.put("key", b"value")
    database.change(("update kept set value = cast(replace(value, 'value', 'valuE') as blob)", [()]))
    assert values.get("key") is None
