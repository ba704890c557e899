"""The graph: its parts, its order, and that it is kept as it was."""

from __future__ import annotations

from pathlib import Path

from modelbuild.engine.graph import Graph, Output
from tests.engine.toy import Toy, chain, join


def test_kept_graph_is_the_same_graph(tmp_path: Path) -> None:
    graph = chain(Toy(tmp_path))
    placed = join("placed")._replace(places=(("ftype", "line 3"), ("mix", "line 5")))
    graph = Graph([*graph.steps.values(), placed], graph.outputs)
    again = Graph.decode(graph.encode())
    assert again.steps == graph.steps
    assert again.outputs == graph.outputs


def diamond() -> Graph:
    steps = [join("a"), join("b", "a"), join("other"), join("c", "a"), join("d", "b", "c"), join("e", "d", "a")]
    return Graph(steps, [Output("one", ("n",), "d", ("b",)), Output("two", ("m",), "other", ("c",))])


def test_select_takes_only_what_outputs_need() -> None:
    graph = diamond()
    part = graph.select(graph.outputs[:1])
    assert list(part.steps) == ["a", "b", "c", "d"]
    assert part.outputs == graph.outputs[:1]
    assert list(graph.up_to(["c", "other"]).steps) == ["a", "other", "c"]


def test_each_wave_needs_only_those_before() -> None:
    waves = [[step.name for step in wave] for wave in diamond().waves()]
    assert waves == [["a", "other"], ["b", "c"], ["d"], ["e"]]
    assert Graph([]).waves() == []


def test_steps_know_the_outputs_that_need_them() -> None:
    found = diamond().targets()
    assert found == {"a": ["one", "two"], "b": ["one"], "other": ["two"], "c": ["one", "two"], "d": ["one"], "e": []}
