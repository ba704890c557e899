"""What is made and what is due: as a build would find it, with nothing run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from modelbuild.engine.graph import Graph, Source
from modelbuild.engine.sources import FileDigest
from modelbuild.engine.standing import due, look_up, unmade
from tests.engine.toy import Toy, chain, join, model


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def names(toy: Toy, graph: Graph, force: bool = False) -> list[tuple[str, bool]]:
    return [(each.step.name, each.sure) for each in toy.due(graph, force)]


def test_what_is_due_before_and_after_a_build(toy: Toy) -> None:
    graph = chain(toy)
    assert names(toy, graph) == [("m/first", True), ("m/second", True), ("m/layer", True), ("m/manifest", True)]
    toy.build(graph)
    assert names(toy, graph) == []
    assert names(toy, graph, force=True) == [(name, True) for name in graph.steps]


def test_dropped_intermediates_that_are_needed_again_are_due(toy: Toy) -> None:
    toy.build(model([join("m/first", text="a"), join("m/layer", "m/first", text="b", final=True)], ["m/layer"]))
    first = toy.artifact("a")
    edited = model([join("m/first", text="a"), join("m/layer", "m/first", text="c", final=True)], ["m/layer"])
    assert [name for name, _ in names(toy, edited)] == ["m/layer", "m/manifest"]
    first.unlink()
    found = [name for name, _ in names(toy, edited)]
    assert found == ["m/first", "m/layer", "m/manifest"]
    assert sorted(toy.build(edited)) == sorted(found)


def test_every_walk_finds_what_a_build_runs(toy: Toy) -> None:
    """The dry run, the look without work and the build, of edits of every kind."""
    graphs = [chain(toy), chain(toy, cut=3), model([join("m/layer", text="x", final=True)], ["m/layer"]), chain(toy)]
    for graph in [*graphs, *reversed(graphs)]:
        standing = toy.standing(graph)
        possible = {name for name, _ in names(toy, graph)}
        sure = {name for name, is_sure in names(toy, graph) if is_sure}
        ran = set(toy.build(graph))
        assert sure <= ran <= possible
        assert possible == graph.steps.keys() - standing.results.keys()
        assert toy.standing(graph).results.keys() == graph.steps.keys()


def test_reasons_name_what_changed_and_where_it_comes_from(toy: Toy) -> None:
    toy.build(chain(toy))
    (first, *rest) = toy.due(chain(toy, "other"))
    path = str(toy.folder / "a.txt")
    (reason,) = first.because
    assert reason["field"] == f"input '0' ({path})"
    assert reason["before"].startswith("xxh3:") and reason["after"].startswith("xxh3:")
    assert [each.because[0]["field"] for each in rest] == [
        "input '0' (m/first)",
        "input '0' (m/second)",
        "input 'm/layer' (m/layer)",
    ]
    assert rest[0].because[0]["after"] == "to be made"


def test_what_was_forced_says_so(toy: Toy) -> None:
    graph = chain(toy)
    toy.build(graph)
    assert {reason["after"] for each in toy.due(graph, force=True) for reason in each.because} == {
        "--force asks for it"
    }


def weights(toy: Toy, name: str) -> Source:
    toy.digesters["weights"] = lambda path: FileDigest("xxh3:" + Path(path).read_text(), b"")
    return toy.write(name, name)._replace(form="weights")


def test_weights_that_are_not_read_are_a_reason(toy: Toy) -> None:
    source = weights(toy, "w")
    graph = model([join("m/layer", source, final=True)], ["m/layer"])
    records = toy.records()
    standing = look_up(graph, records, {source})
    assert standing.actions == {}
    found = due(standing, records)
    assert [(each.step.name, each.because[0]["after"]) for each in found][0] == ("m/layer", "not read yet")
    assert found[1].sure, "it was never built"


def test_steps_over_weights_are_unmade_until_they_ran_on_them(toy: Toy) -> None:
    first, second = weights(toy, "1"), weights(toy, "2")
    steps = [
        join("m/text", text="t", final=True),
        join("m/one", first),
        join("m/two", second),
        join("m/layer", "m/two", final=True),
    ]
    graph = model(steps, ["m/layer", "m/text", "m/one"])
    time.sleep(0.05)

    def found(*forced: str) -> set[str]:
        steps, wrong = unmade(graph, toy.records(), forced)
        assert not wrong
        return steps

    assert found() == {"m/one", "m/two", "m/layer", "m/manifest"}
    toy.build(graph)
    assert found() == set()
    assert found("m/one") == {"m/one", "m/manifest"}
    toy.write("2", "3")
    assert found() == {"m/two", "m/layer", "m/manifest"}
