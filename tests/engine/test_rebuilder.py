"""The rebuilder: a step is made before where just this action was, and where what it made is still needed at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.engine.rebuilder import Rebuilder
from tests.engine.toy import Toy, chain, join


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def test_each_step_is_known_once_those_before_it_are(toy: Toy) -> None:
    graph = chain(toy)
    toy.build(graph)
    rebuilder = Rebuilder(toy.cache, toy.sources().digest)
    first, second, *_ = graph.steps.values()
    assert rebuilder.look_up([second]) == {} and rebuilder.actions == {}
    assert list(rebuilder.look_up([first])) == ["m/first"]
    assert list(rebuilder.look_up([second])) == ["m/second"]
    assert rebuilder.actions.keys() == rebuilder.results.keys() == {"m/first", "m/second"}


def test_what_is_not_read_has_no_action_and_what_is_forced_no_result(toy: Toy) -> None:
    graph = chain(toy)
    toy.build(graph)
    first = graph.steps["m/first"]
    rebuilder = Rebuilder(toy.cache, toy.sources().digest, unread=set(first.sources))
    assert rebuilder.look_up([first]) == {} and rebuilder.actions == {}
    rebuilder = Rebuilder(toy.cache, toy.sources().digest, forced={"m/first"})
    assert rebuilder.look_up([first]) == {} and rebuilder.actions.keys() == {"m/first"}


def test_only_what_is_published_must_be_at_hand(toy: Toy) -> None:
    steps = [join("in between", text="a"), join("layer", text="b", final=True)]
    rebuilder = Rebuilder(toy.cache, toy.sources().digest)
    assert rebuilder.look_up(steps) == {}
    for step in steps:
        action = rebuilder.actions[step.name]
        toy.cache.record(action.digest, toy.work(action, step))
    assert rebuilder.made_meanwhile(steps[1]) is not None
    for blob in (toy.folder / "cache/blobs").iterdir():
        blob.unlink()
    assert list(rebuilder.look_up(steps)) == ["in between"]
    assert rebuilder.made_meanwhile(steps[1]) is None
