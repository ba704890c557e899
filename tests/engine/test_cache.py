"""The cache: results of actions, wherever they lie."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from modelbuild.engine.action import Action, ActionResult, Made, Range
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.graph import Graph, Step
from modelbuild.engine.store import Store
from tests.engine.toy import Toy, join, model

ACTION = "sha256:" + "a" * 64
KEY = "xxh3:" + "b" * 32


def test_what_was_recorded_is_found(tmp_path: Path) -> None:
    cache = LocalCache(Store(str(tmp_path)))
    result = cache.store.put(b"one")
    at = Range(result.artifact, 1, 2, "xxh3:" + "0" * 32)
    cache.record(ACTION, Made(result, ((KEY, at),)))
    again = LocalCache(Store(str(tmp_path)))
    assert again.results([ACTION, "sha256:" + "b" * 64]) == {ACTION: result}
    assert again.tensors([KEY, "xxh3:" + "c" * 32]) == {KEY: at}


def test_an_artifact_that_went_is_not_at_hand_and_its_result_is_still_known(tmp_path: Path) -> None:
    cache = LocalCache(Store(str(tmp_path)))
    result = cache.store.put(b"one")
    cache.record(ACTION, Made(result))
    assert cache.has(result) and cache.fetch(result)
    for blob in (tmp_path / "blobs").iterdir():
        blob.unlink()
    assert not cache.has(result) and not cache.fetch(result)
    assert cache.results([ACTION]) == {ACTION: result}


def test_altered_rows_are_none(tmp_path: Path) -> None:
    cache = LocalCache(Store(str(tmp_path)))
    result = cache.store.put(b"one")
    cache.record(ACTION, Made(result, ((KEY, Range(result.artifact, 0, 3, KEY)),)))
    cache.store.database.change(
        ("update action set size = 'many'", [()]),
        ("update tensor set offset = 'far'", [()]),
    )
    assert cache.results([ACTION]) == {}
    assert cache.tensors([KEY]) == {}


class Shared:
    """A cache that others fill as well: results and artifacts in memory, brought into the store of this machine when they are needed."""

    def __init__(self) -> None:
        self.known: dict[str, ActionResult] = {}
        self.artifacts: dict[ActionResult, bytes] = {}
        self.fetched: list[ActionResult] = []
        self.store: Store

    def results(self, actions: Iterable[str]) -> dict[str, ActionResult]:
        return {action: self.known[action] for action in actions if action in self.known}

    def expect(self, steps: Mapping[Step, Action]) -> None:
        """The digests of actions are enough."""

    def offer(self, action: str) -> ActionResult | None:
        return None

    def bring(self, action: str) -> ActionResult | None:
        return None

    def record(self, action: str, made: Made) -> None:
        self.known[action] = made.result
        self.artifacts[made.result] = self.store.read(made.result.artifact)

    def record_all(self, made: Mapping[str, Made]) -> None:
        for action, each in made.items():
            self.record(action, each)

    def has(self, result: ActionResult) -> bool:
        return self.store.has(result) or self.fetch(result)

    def fetch(self, result: ActionResult) -> bool:
        if not self.store.has(result):
            self.fetched.append(result)
            self.store.put(self.artifacts[result])
        return True

    @contextlib.contextmanager
    def lock(self, action: str) -> Iterator[None]:
        yield


def test_a_cache_elsewhere_serves_another_machine(tmp_path: Path) -> None:
    shared = Shared()

    def machine(name: str) -> Toy:
        (tmp_path / name).mkdir()
        toy = Toy(tmp_path / name)
        shared.store, toy.cache = toy.store, shared
        return toy

    def graph(text: str) -> Graph:
        steps = [join("m/first", text="1"), join("m/second", "m/first", text="2")]
        return model([*steps, join("m/layer", "m/second", text=text, final=True)], ["m/layer"])

    assert len(machine("one").build(graph("3"))) == 4
    two = machine("two")
    # What goes into the models folder is brought here; what lies in between is not.
    assert two.due(graph("3")) == []
    assert [shared.artifacts[result] for result in shared.fetched] == [b"321"]
    # What another step needs is brought when that runs.
    assert two.build(graph("4")) == ["m/layer", "m/manifest"]
    assert [shared.artifacts[result] for result in shared.fetched[1:]] == [b"21"]
    assert two.build(graph("3")) == []
    assert not two.errors
