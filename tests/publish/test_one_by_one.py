"""What is noted is asked for key by key, and read whole where many keys are asked for."""

from __future__ import annotations

from modelbuild.publish.one_by_one import FEW, OneByOne


class Noted:
    def __init__(self) -> None:
        self.values = {f"k{number}": number for number in range(2 * FEW)}
        self.asked: list[str] = []

    def one(self, key: str) -> int | None:
        self.asked.append(key)
        return self.values.get(key)

    def all(self) -> dict[str, int]:
        self.asked.append("*")
        return self.values


def test_few_keys_are_asked_for_each_once() -> None:
    noted = Noted()
    found = OneByOne(noted.one, noted.all)
    assert [found.get(key) for key in ("k1", "none", "k1", "none")] == [1, None, 1, None]
    assert noted.asked == ["k1", "none"]
    found.set("k2", None)
    found.set("new", 7)
    assert (found.get("k2"), found.get("new")) == (None, 7)
    assert noted.asked == ["k1", "none"]
    assert found.whole() == {key: value for key, value in noted.values.items() if key != "k2"} | {"new": 7}


def test_many_keys_are_read_at_once() -> None:
    noted = Noted()
    found = OneByOne(noted.one, noted.all)
    assert [found.get(key) for key in noted.values] == [*noted.values.values()]
    assert noted.asked.count("*") == 1 and len(noted.asked) == FEW + 1
    assert found.get("none") is None and len(noted.asked) == FEW + 1


def test_all_may_be_forgotten() -> None:
    noted = Noted()
    found = OneByOne(noted.one, noted.all)
    found.forget()
    assert (found.get("k1"), found.whole(), noted.asked) == (None, {}, [])
    found.set("k1", 1)
    assert found.get("k1") == 1
