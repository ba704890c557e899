from __future__ import annotations

import pytest

from modelbuild.engine.kept import Kept
from modelbuild.engine.store import Store
from modelbuild.registry.origin import Origin
from modelbuild.session import holdings
from modelbuild.session.holdings import Holdings

HERE, THERE = Origin("https", "r.io", 443), Origin("https", "r.io", 5000)


@pytest.fixture
def found(tmp_path_factory: pytest.TempPathFactory) -> Holdings:
    return Holdings(Kept(Store(str(tmp_path_factory.mktemp("cache"))).database))


def test_a_blob_is_where_it_was_met_last_and_for_each_registry(found: Holdings) -> None:
    assert found.find(HERE, "a") is None
    found.note(HERE, "team/one", ["a", "b"])
    found.note(HERE, "team/two", ["b"])
    assert [found.find(HERE, each) for each in "abc"] == ["team/one", "team/two", None]
    assert found.find(THERE, "a") is None


def test_only_what_is_known_to_be_wrong_is_forgotten(found: Holdings) -> None:
    found.note(HERE, "team/one", ["a"])
    found.forget(HERE, "team/two", "a")
    assert found.find(HERE, "a") == "team/one"
    found.forget(HERE, "team/one", "a")
    assert found.find(HERE, "a") is None


def test_the_last_ones_are_kept(found: Holdings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdings, "MOST", 3)
    found.note(HERE, "team/one", "abc")
    found.note(HERE, "team/two", "a")
    found.note(HERE, "team/one", "d")
    assert [found.find(HERE, each) is not None for each in "abcd"] == [True, False, True, True]
