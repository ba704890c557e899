"""The scheduler: in which order steps run, how many at once, and what a failure leaves."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Mapping

import pytest

from modelbuild.engine.action import ActionResult
from modelbuild.engine.graph import Graph, Step
from modelbuild.engine.scheduler import Calls, Finish, Scheduler
from tests.engine.toy import join

RESULT = ActionResult("sha256:0", 0)


class Run:
    """One walk over steps, of which some are made and some fail; writes down what happens."""

    def __init__(
        self,
        steps: Iterable[Step],
        *,
        made: str = "",
        bad: str = "",
        jobs: int = 2,
        keep_going: bool = False,
        costs: Mapping[str, float] | None = None,
    ) -> None:
        self.made, self.bad = made.split(), bad.split()
        self.order: list[str] = []
        self.states: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.most = 0
        self._under_way = 0
        self._mutex = threading.Lock()
        self.aborted = False
        calls = Calls(self._look_up, self._execute, self._started, self._finished, lambda: None, self._abort)
        Scheduler(Graph(steps), jobs, keep_going, calls, costs).run()

    def _look_up(self, steps: list[Step]) -> dict[str, ActionResult]:
        return {step.name: RESULT for step in steps if step.name in self.made}

    def _started(self, step: Step) -> None:
        self.order.append(step.name)

    def _execute(self, step: Step) -> tuple[ActionResult, bool]:
        with self._mutex:
            self._under_way += 1
            self.most = max(self.most, self._under_way)
        time.sleep(0.01)
        with self._mutex:
            self._under_way -= 1
        if step.name in self.bad:
            raise ValueError(step.name)
        return RESULT, True

    def _finished(self, finish: Finish) -> None:
        assert finish.step.name not in self.states
        self.states[finish.step.name] = finish.state
        self.seconds[finish.step.name] = finish.seconds

    def _abort(self) -> None:
        self.aborted = True


CHAIN = [join("a"), join("b", "a"), join("c", "a", "b")]


def test_steps_run_after_those_they_need() -> None:
    run = Run(CHAIN)
    assert run.order == ["a", "b", "c"]
    assert set(run.states.values()) == {"ran"}


def test_what_was_made_before_is_not_started() -> None:
    run = Run(CHAIN, made="a b")
    assert run.order == ["c"]
    assert run.states == {"a": "hit", "b": "hit", "c": "ran"}


@pytest.mark.parametrize("pool", ["", "thread"])
def test_nothing_is_started_after_a_failure(pool: str) -> None:
    run = Run([join(name, pool=pool) for name in "abc"], bad="a", jobs=1)
    assert run.states == {"a": "failed", "b": "skipped", "c": "skipped"}


@pytest.mark.parametrize("pool", ["", "thread"])
def test_keep_going_finishes_what_it_can(pool: str) -> None:
    steps = [join("bad", pool=pool), join("other"), join("more", "other", pool=pool), join("last", "bad", "more")]
    run = Run(steps, bad="bad", keep_going=True)
    assert run.states == {"bad": "failed", "other": "ran", "more": "ran", "last": "skipped"}


@pytest.mark.parametrize(("pool", "jobs", "most"), [("thread", 3, 3), ("cores", 3, 1), ("", 3, 1)])
def test_as_many_run_at_once_as_there_are_places_for(pool: str, jobs: int, most: int) -> None:
    assert Run([join(str(number), pool=pool) for number in range(6)], jobs=jobs).most == most


def test_quick_steps_run_beside_those_in_threads() -> None:
    run = Run([join("quick"), join("slow", pool="thread")])
    assert run.order == ["slow", "quick"]


def test_an_interrupt_tells_the_steps_under_way() -> None:
    class Interrupted(Run):
        def _started(self, step: Step) -> None:
            super()._started(step)
            if step.name == "b":
                raise KeyboardInterrupt

    runs: list[Interrupted] = []

    class Noted(Interrupted):
        def _look_up(self, steps: list[Step]) -> dict[str, ActionResult]:
            runs.append(self)
            return super()._look_up(steps)

    with pytest.raises(KeyboardInterrupt):
        Noted([join("a", pool="thread"), join("b", pool="thread")])
    assert runs[0].aborted


LONG = [
    *(join(f"leaf{number}", pool="thread") for number in range(4)),
    join("a", pool="thread"),
    join("b", "a", pool="thread"),
    join("c", "b", pool="thread"),
]
"""Four steps alone, and a chain that is declared after them."""


def test_the_step_with_the_longest_path_behind_it_is_first() -> None:
    costs = {"a": 0.1, "b": 0.1, "c": 5.0, "leaf1": 1.0, "leaf3": 2.0}
    run = Run(LONG, jobs=1, costs=costs)
    assert run.order == ["a", "b", "c", "leaf3", "leaf1", "leaf0", "leaf2"]
    assert Run(LONG, jobs=1).order == ["leaf0", "leaf1", "leaf2", "leaf3", "a", "b", "c"]


def test_the_last_step_does_not_begin_alone_at_the_end() -> None:
    """Two places, four steps alone, and a chain that ends with a long step: begun in order, that would begin when all others are over."""
    costs = {**dict.fromkeys((step.name for step in LONG), 0.01), "c": 0.05}
    run = Run(LONG, costs=costs)
    assert run.order[0] == "a" and run.order.index("c") < len(LONG) - 1
    assert Run(LONG).order[-1] == "c"


def test_a_step_of_every_core_takes_no_place_from_others() -> None:
    steps = [join("x", pool="cores"), join("y", pool="cores"), join("z", pool="thread")]
    run = Run(steps, jobs=2, costs={"x": 9.0, "y": 8.0, "z": 1.0})
    assert run.order == ["x", "z", "y"]


class Quick(Run):
    """Steps that take no time."""

    def _execute(self, step: Step) -> tuple[ActionResult, bool]:
        if step.name in self.bad:
            raise ValueError(step.name)
        return RESULT, True


@pytest.mark.parametrize("seed", range(40))
def test_keep_going_runs_all_that_needs_no_failed_step(seed: int) -> None:
    chance = random.Random(seed)
    names = [f"s{number}" for number in range(chance.randint(1, 25))]
    steps = [
        join(name, *chance.sample(names[:index], min(index, chance.randrange(4))), pool=chance.choice(["", "thread", "cores"]))
        for index, name in enumerate(names)
    ]  # fmt: skip
    bad = {name for name in names if chance.random() < 0.15}
    made = {name for name in names if name not in bad and chance.random() < 0.2}
    costs = {name: chance.random() for name in names}
    hurt: set[str] = set()
    for step in steps:
        if not hurt.isdisjoint(step.needs) or (step.name in bad and step.name not in made):
            hurt.add(step.name)
    run = Quick(steps, made=" ".join(made), bad=" ".join(bad), jobs=chance.randint(1, 4), keep_going=True, costs=costs)
    assert run.states.keys() == set(names)
    for step in steps:
        expected = "skipped" if not hurt.isdisjoint(step.needs) else "failed" if step.name in bad else None
        assert run.states[step.name] == (expected or ("hit" if step.name in made else "ran")), step.name
    once = Quick(steps, made=" ".join(made), bad=" ".join(bad), jobs=2, costs=costs)
    assert once.states.keys() == set(names)
    assert ("failed" in once.states.values()) == ("failed" in run.states.values())


@pytest.mark.parametrize("pool", ["", "thread"])
def test_a_step_that_fails_has_taken_its_time_too(pool: str) -> None:
    run = Run([join("a")._replace(pool=pool)], bad="a")
    assert run.states == {"a": "failed"} and 0.01 <= run.seconds["a"] < 60
