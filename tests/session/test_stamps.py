"""The stamps of a project, by the targets of its builds."""

from __future__ import annotations

from modelbuild.session import stamps
from tests.session.conftest import Open


def test_a_stamp_is_kept_by_its_targets_in_any_order(start: Open) -> None:
    assert stamps.key(start(), ["a", "b"]) == stamps.key(start(), ["b", "a"]) != stamps.key(start(), [])
