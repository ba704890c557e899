"""What making files takes: of the disk, of memory, and which steps a machine has too little for."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.engine.graph import Graph, Source, Step
from modelbuild.files import UNFINISHED
from modelbuild.plan import needs, preflight
from modelbuild.plan.needs import Need, Room
from tests import checkpoints
from tests.attacks.test_index_lies import graph_of


def test_needs_are_the_files_to_be_each_once(tmp_path: Path) -> None:
    (step,) = graph_of(checkpoints.write(tmp_path / "m")).steps.values()
    layers = [Step(f"{name}/model", "layer", 1, "{}", (("recipe", "m/convert"),), "cores", True) for name in "ab"]
    graph = Graph([step, *layers])
    first, second = needs.of(graph, preflight.look(graph).files, None, str(tmp_path))
    assert (first.step, second.step) == ("a/model", "b/model")
    size = (tmp_path / "m/model.safetensors").stat().st_size
    assert size < first.disk < size + 20_000
    assert second.disk == 0
    assert needs.of(graph, preflight.look(graph).files, {"m/convert"}, str(tmp_path)) == []


def test_what_does_not_fit_on_the_disk_is_an_error_and_what_comes_first_may_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "free", lambda folder: 150)
    found = needs.short_of([Need("a", 100, 0), Need("b", 100, 0), Need("c", 0, 0)], Room(str(tmp_path / "not/yet")))
    assert found.keys() == {"b"}
    (error,) = found["b"]
    assert (error.path, error.facts) == (str(tmp_path), (("needed", "200 bytes"), ("free", "150 bytes")))


def test_what_an_earlier_build_left_unfinished_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "free", lambda folder: 150)
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / (UNFINISHED + "x")).write_bytes(bytes(100_000))
    wanted = [Need("a", 100_000, 0)]
    assert needs.short_of(wanted, Room(str(tmp_path), kept=(str(kept), "/none"))) == {}
    assert list(needs.short_of(wanted, Room(str(tmp_path)))) == ["a"]


def test_files_of_one_disk_count_together_and_those_of_two_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "free", lambda folder: 150)
    wanted = [Need("model", 100, 0), Need("export", 100, 0, stored=True)]
    assert list(needs.short_of(wanted, Room(str(tmp_path), str(tmp_path / "cache")))) == ["export"]
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(needs, "_device", lambda folder: len(folder))
    assert needs.short_of(wanted, Room(str(tmp_path), str(tmp_path / "cache"))) == {}
    (error,) = needs.short_of([Need("export", 151, 0, stored=True)], Room(str(tmp_path), str(tmp_path / "cache")))[
        "export"
    ]
    assert error.path == str(tmp_path / "cache")


def test_an_export_takes_as_much_of_the_cache_as_its_checkpoint(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(bytes(1000))
    gather = Step("m/gather", "gather", 1, "{}", (("w", Source(str(weights), "safetensors")),), "thread")
    graph = Graph([gather, Step("m/pack", "pack", 1, "{}", (("checkpoint", "m/gather"),), "cores")])
    assert needs.of(graph, {}, None, str(tmp_path)) == [Need("m/pack", 1000, 0, stored=True)]


def test_a_file_system_that_does_not_tell_its_size_is_not_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "free", lambda folder: None)
    assert needs.short_of([Need("a", 1 << 60, 0)], Room(str(tmp_path))) == {}


def test_too_little_memory_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs.machine, "available", lambda: 1000)
    found = needs.short_of([Need("a", 1, 999), Need("b", 1, 1001)], Room(str(tmp_path)))
    assert found.keys() == {"b"}
    monkeypatch.setattr(needs.machine, "available", lambda: None)
    assert needs.short_of([Need("b", 1, 1001)], Room(str(tmp_path))) == {}


def test_files_that_are_taken_as_they_are_count_where_they_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(bytes(1000))

    def taken(parameters: str = "{}") -> list[int]:
        inputs = (("file", Source(str(path), "gguf")),)
        layers = [Step(f"{name}/model", "layer", 1, parameters, inputs, "thread", True) for name in "ab"]
        return [need.disk for need in needs.of(Graph(layers), {}, None, str(tmp_path / "models"))]

    monkeypatch.setattr(needs, "_clones", lambda path: False)
    assert taken() == [1000, 0]
    assert taken('{"link":true}') == [0, 0]
    monkeypatch.setattr(needs, "_clones", lambda path: True)
    assert taken() == [0, 0]


def test_no_room_for_more_files_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "_inodes", lambda folder: 3)
    assert needs.short_of([Need("a", 1, 1)], Room(str(tmp_path)), files=3) == {}
    (error,) = needs.short_of([Need("a", 1, 1)], Room(str(tmp_path)), files=4)["a"]
    assert "inodes" in error.what and ("needed", "4 files") in error.facts
    monkeypatch.setattr(needs, "_inodes", lambda folder: None)
    assert needs.short_of([Need("a", 1, 1)], Room(str(tmp_path)), files=4) == {}
