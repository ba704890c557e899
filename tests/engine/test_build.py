"""The engine, without models: what runs, what hits, what failures leave."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from modelbuild.engine.build import due
from modelbuild.engine.graph import Graph, Source
from modelbuild.engine.sources import Sources
from modelbuild.engine.store import Store
from tests.engine.toy import Toy, join, model


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def chain(toy: Toy, text: str = "weights", cut: int = 1000) -> Graph:
    source = toy.write("a.txt", text)
    return model(
        [
            join("m/first", source, cut=cut),
            join("m/second", "m/first", text="2"),
            join("m/layer", "m/second", text="3", final=True),
        ],
        ["m/layer"],
    )


def test_second_build_runs_nothing(toy: Toy) -> None:
    assert toy.build(chain(toy)) == ["m/first", "m/second", "m/layer", "m/manifest"]
    assert toy.build(chain(toy)) == []
    assert set(toy.states().values()) == {"hit"}


def test_changed_source_runs_all_that_hangs_on_it(toy: Toy) -> None:
    toy.build(chain(toy))
    assert toy.build(chain(toy, "other")) == ["m/first", "m/second", "m/layer", "m/manifest"]


def test_equal_artifact_cuts_off_early(toy: Toy) -> None:
    toy.build(chain(toy, "same, then a", cut=4))
    assert toy.build(chain(toy, "same, then b", cut=4)) == ["m/first"]


def test_reverted_source_runs_nothing(toy: Toy) -> None:
    toy.build(chain(toy, "one"))
    toy.build(chain(toy, "two"))
    assert toy.build(chain(toy, "one")) == []


def test_touched_file_runs_nothing(toy: Toy) -> None:
    graph = chain(toy)
    toy.build(graph)
    os.utime(toy.folder / "a.txt")
    assert toy.build(graph) == []


def test_same_size_rewrite_within_a_tick_is_seen(toy: Toy) -> None:
    for round_ in range(20):
        path = toy.folder / "a.txt"
        graph = model([join("m/layer", toy.write("a.txt", ""), final=True)], ["m/layer"])
        path.write_text(f"{round_:04}a")
        toy.build(graph)
        path.write_text(f"{round_:04}b")
        assert "m/layer" in toy.build(graph)


def test_a_file_from_the_future_is_hashed_once(toy: Toy) -> None:
    source = toy.write("a.txt", "weights")
    ahead = time.time() + 10**8
    os.utime(source.path, (ahead, ahead))
    time.sleep(0.05)
    for hashed in (7, 0):
        sources = Sources(toy.store, {})
        sources.prepare([source])
        sources.digest(source)
        assert sources.hashed_bytes == hashed


def test_force_runs_everything(toy: Toy) -> None:
    toy.build(chain(toy))
    assert len(toy.build(chain(toy), force=True)) == 4


def test_appearing_file_is_a_change(toy: Toy) -> None:
    source = toy.write("maybe.txt", "there")
    (toy.folder / "maybe.txt").unlink()
    graph = model([join("m/layer", source, final=True)], ["m/layer"])
    toy.build(graph)
    toy.write("maybe.txt", "there")
    assert toy.build(graph) == ["m/layer", "m/manifest"]


def test_failure_names_step_and_targets_and_stops(toy: Toy) -> None:
    graph = model([join("m/bad", fail=True), join("m/layer", "m/bad", final=True)], ["m/layer"])
    assert toy.build(graph) == ["m/bad"]
    assert str(toy.errors[0]) == "error: step 'm/bad' failed: no good\n  needed by  'm'\n  hint       do better"
    assert toy.states() == {"m/bad": "failed", "m/layer": "skipped", "m/manifest": "skipped"}
    assert not (toy.folder / "models").exists()


def test_nothing_is_started_after_a_failure(toy: Toy) -> None:
    steps = [join(f"m/{number}", text=str(number), fail=True, final=True) for number in range(3)]
    toy.build(model(steps, [step.name for step in steps]))
    assert len(toy.errors) == 1
    assert toy.states() == {"m/0": "failed", "m/1": "skipped", "m/2": "skipped", "m/manifest": "skipped"}


def test_keep_going_finishes_what_it_can(toy: Toy) -> None:
    steps = [join("m/bad", fail=True), join("m/other", text="x"), join("m/more", "m/other"), join("m/layer", "m/bad")]
    graph = model([*steps, join("m/two", "m/more", "m/layer", final=True)], ["m/two"])
    toy.build(graph, keep_going=True)
    assert toy.states()["m/more"] == "ran"
    assert toy.states()["m/two"] == "skipped"


def test_unreadable_source_fails_the_steps_that_read_it(toy: Toy) -> None:
    (toy.folder / "folder").mkdir()
    bad = join("m/bad", Source(str(toy.folder / "folder"), "bytes"))
    steps = [bad, join("m/good", toy.write("x", "x")), join("m/layer", "m/bad", final=True)]
    assert toy.build(model([*steps], ["m/layer", "m/good"]), keep_going=True) == ["m/good"]
    assert toy.states() == {"m/bad": "failed", "m/good": "ran", "m/layer": "skipped", "m/manifest": "skipped"}
    assert str(toy.errors[0]).startswith("error: step 'm/bad' failed: cannot be read: is a directory\n  file       /")
    assert "needed by  'm'" in str(toy.errors[0])


def test_finished_steps_of_a_failed_build_are_kept(toy: Toy) -> None:
    good = join("m/good", text="x")
    toy.build(model([good, join("m/layer", "m/good", fail=True, final=True)], ["m/layer"]))
    assert toy.build(model([good, join("m/layer", "m/good", final=True)], ["m/layer"])) == ["m/layer", "m/manifest"]


def test_dropped_intermediate_is_made_again_when_needed(toy: Toy) -> None:
    toy.build(chain(toy))
    for blob in (toy.folder / "cache/blobs").iterdir():
        blob.unlink()
    assert toy.build(chain(toy)) == []
    graph = model(
        [*list(chain(toy).steps.values())[:2], join("m/layer", "m/second", text="new", final=True)], ["m/layer"]
    )
    assert sorted(toy.build(graph)) == ["m/first", "m/layer", "m/manifest", "m/second"]


def test_what_was_found_in_a_weights_file_is_checked_when_it_is_read(toy: Toy) -> None:
    toy.store.remember_file("/w", "safetensors", "1", "xxh3:1", b"detail")
    assert toy.store.survey("xxh3:1") == b"detail"
    toy.store.change(("update survey set detail = cast(replace(detail, 'detail', 'detaiL') as blob)", [()]))
    assert toy.store.survey("xxh3:1") is None


def test_damaged_intermediate_is_made_again(toy: Toy) -> None:
    toy.build(chain(toy))
    for blob in (toy.folder / "cache/blobs").iterdir():
        if blob.read_text() == "weights":
            blob.write_text("Weights")
    toy.store.record("sha256:none", toy.store.put(b"x"))
    graph = model(
        [next(iter(chain(toy).steps.values())), join("m/layer", "m/first", text="new ", final=True)], ["m/layer"]
    )
    toy.build(graph)
    assert b"new weights" in {path.read_bytes() for path in (toy.folder / "models/blobs").iterdir()}


def test_missing_layer_of_the_models_folder_comes_back(toy: Toy) -> None:
    toy.build(chain(toy))
    for blob in (toy.folder / "models/blobs").iterdir():
        blob.unlink()
    assert toy.build(chain(toy)) == []
    assert len(list((toy.folder / "models/blobs").iterdir())) == 1


def test_short_blob_of_the_models_folder_is_replaced(toy: Toy) -> None:
    toy.build(chain(toy))
    (blob,) = (toy.folder / "models/blobs").iterdir()
    text = blob.read_text()
    blob.unlink()
    blob.write_text(text[:2])
    toy.build(chain(toy))
    assert blob.read_text() == text


def test_store_can_be_deleted_at_any_time(toy: Toy) -> None:
    toy.build(chain(toy))
    state = toy.folder / "cache/state.sqlite"
    toy.store.close()
    for path in state.parent.glob("state.sqlite*"):
        path.write_bytes(b"garbage that is no database" * 99)
    toy.store = Store(str(toy.folder / "cache"))
    assert len(toy.build(chain(toy))) == 4


def test_two_builds_at_once_run_an_action_once(tmp_path: Path) -> None:
    one, two = Toy(tmp_path), Toy(tmp_path)
    one.before_run = two.before_run = lambda step: time.sleep(0.05)
    graph = chain(one)
    threads = [threading.Thread(target=toy.build, args=(graph,)) for toy in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.ran + two.ran) == sorted(graph.steps)
    assert not one.errors and not two.errors


def test_steps_that_use_every_core_run_one_at_a_time(toy: Toy) -> None:
    running: list[str] = []
    most = 0

    def watch(step: object) -> None:
        nonlocal most
        running.append("x")
        most = max(most, len(running))
        time.sleep(0.01)
        running.pop()

    toy.before_run = watch
    steps = [join(f"m/{i}", text=str(i), pool="cores", final=True) for i in range(4)]
    toy.build(model(steps, [step.name for step in steps]), jobs=4)
    assert most == 1


def test_explain_tells_what_changed(toy: Toy) -> None:
    toy.build(model([join("m/layer", text="a", final=True)], ["m/layer"]))
    toy.build(model([join("m/layer", text="b", final=True)], ["m/layer"]), explain=True)
    because = next(event["because"] for event in toy.events if event["event"] == "start")
    assert because == [{"field": "parameter 'text'", "before": "a", "after": "b"}]


def test_dry_run_says_what_would_run(toy: Toy) -> None:
    graph = chain(toy)
    assert forecast(toy, graph) == [("m/first", True), ("m/second", False), ("m/layer", False), ("m/manifest", False)]
    toy.build(graph)
    assert forecast(toy, graph) == []
    assert all(sure for _, sure in forecast(toy, graph, force=True))
    assert [name for name, _ in forecast(toy, graph, force=True)] == list(graph.steps)


def test_dry_run_names_dropped_intermediates_that_are_needed_again(toy: Toy) -> None:
    toy.build(model([join("m/first", text="a"), join("m/layer", "m/first", text="b", final=True)], ["m/layer"]))
    first = toy.artifact("a")
    edited = model([join("m/first", text="a"), join("m/layer", "m/first", text="c", final=True)], ["m/layer"])
    assert [name for name, _ in forecast(toy, edited)] == ["m/layer", "m/manifest"]
    first.unlink()
    names = [name for name, _ in forecast(toy, edited)]
    assert names == ["m/first", "m/layer", "m/manifest"]
    assert sorted(toy.build(edited)) == sorted(names)


def forecast(toy: Toy, graph: Graph, force: bool = False) -> list[tuple[str, bool]]:
    return [(each.step.name, each.sure) for each in due(graph, toy.store, Sources(toy.store, {}), "toy", force)]


def test_kept_graph_is_the_same_graph(toy: Toy) -> None:
    placed = join("placed")._replace(places=(("ftype", "line 3"), ("mix", "line 5")))
    graph = Graph([*chain(toy).steps.values(), placed], chain(toy).outputs)
    again = Graph.decode(graph.encode())
    assert again.steps == graph.steps
    assert again.outputs == graph.outputs


def test_select_takes_only_what_outputs_need(toy: Toy) -> None:
    graph = chain(toy)
    more = Graph([*graph.steps.values(), join("other")], graph.outputs)
    assert list(more.select(graph.outputs).steps) == list(graph.steps)
