"""The engine, without models: what runs, what hits, what failures leave."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from modelbuild.engine.graph import Graph, Output, Source, Step, parameters
from modelbuild.errors import Error
from modelbuild.publish.models_folder import ModelsFolder
from tests.engine.toy import Toy, chain, join, model


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


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
    assert str(toy.errors[0]) == "error: step 'm/bad' failed: no good\n  used by  'm'\n  hint     do better"
    assert toy.states() == {"m/bad": "failed", "m/layer": "skipped", "m/manifest": "skipped"}
    assert not (toy.folder / "models").exists()


def test_unreadable_source_fails_the_steps_that_read_it(toy: Toy) -> None:
    (toy.folder / "folder").mkdir()
    bad = join("m/bad", Source(str(toy.folder / "folder"), "bytes"))
    steps = [bad, join("m/good", toy.write("x", "x")), join("m/layer", "m/bad", final=True)]
    assert toy.build(model([*steps], ["m/layer", "m/good"]), keep_going=True) == ["m/good"]
    assert toy.states() == {"m/bad": "failed", "m/good": "ran", "m/layer": "skipped", "m/manifest": "skipped"}
    assert str(toy.errors[0]).startswith("error: step 'm/bad' failed: cannot be read: is a directory\n  file     /")
    assert "used by  'm'" in str(toy.errors[0])


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


def test_damaged_intermediate_is_made_again(toy: Toy) -> None:
    toy.build(chain(toy))
    for blob in (toy.folder / "cache/blobs").iterdir():
        if blob.read_text() == "weights":
            blob.write_text("Weights")
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
    toy.open()
    assert len(toy.build(chain(toy))) == 4


def test_two_builds_at_once_run_an_action_once(tmp_path: Path) -> None:
    one, two = Toy(tmp_path), Toy(tmp_path)
    one.before_run = two.before_run = lambda step: time.sleep(0.05)
    # Texts that are made at once are not worth a lock: both may make them, and make the same.
    graph = chain(one, pool="thread")
    threads = [threading.Thread(target=toy.build, args=(graph,)) for toy in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(one.ran + two.ran)) == sorted(graph.steps)
    assert [one.ran.count(name) + two.ran.count(name) for name in ("m/first", "m/second", "m/layer")] == [1, 1, 1]
    assert not one.errors and not two.errors


def test_explain_tells_what_changed(toy: Toy) -> None:
    toy.build(model([join("m/layer", text="a", final=True)], ["m/layer"]))
    toy.build(model([join("m/layer", text="b", final=True)], ["m/layer"]), explain=True)
    because = next(event["because"] for event in toy.events if event["event"] == "start")
    assert because == [{"field": "parameter 'text'", "before": "a", "after": "b"}]


def three(toy: Toy, bad: str = "") -> Graph:
    """Three outputs over two sources, with steps that only one, two or all of them need; `bad` fails."""
    a, b = toy.write("a.txt", "a"), toy.write("b.txt", "b")
    pools = iter(["thread", "", "cores", "thread", "", "cores", "", "thread", "cores"])

    def step(name: str, *inputs: Source | str) -> Step:
        return join(name, *inputs, pool=next(pools), fail=name == bad, text=name, final=name[0] in "xyz")

    steps = [
        step("all", a),
        step("two", "all"),
        step("own", b),
        step("x1", "two"),
        step("x2", "all"),
        step("y1", "two", "own"),
    ]
    steps += [step("y2", "all"), step("z1", "own"), step("z2", b)]
    of = {"x": ("x1", "x2"), "y": ("y1", "y2"), "z": ("z1", "z2")}
    for name, blobs in of.items():
        values = {"text": "{}" + name, "cut": 3, "fail": bad == name}
        steps.append(Step(name, "join", 1, parameters(values), tuple((blob, blob) for blob in blobs)))
    return Graph(steps, [Output(name, (f"h/n/{name}/latest",), name, blobs) for name, blobs in of.items()])


NEEDED_BY = {
    "all": "xy", "two": "xy", "own": "yz", "x1": "x", "x2": "x", "y1": "y", "y2": "y", "z1": "z", "z2": "z",
    "x": "x", "y": "y", "z": "z",
}  # fmt: skip


@pytest.mark.parametrize("bad", NEEDED_BY)
@pytest.mark.parametrize("jobs", [1, 3])
def test_keep_going_publishes_every_output_that_needs_no_failed_step(tmp_path: Path, bad: str, jobs: int) -> None:
    toy = Toy(tmp_path)
    toy.build(three(toy, bad), jobs=jobs, keep_going=True)
    published = {event["label"] for event in toy.events if event["event"] == "variant"}
    assert published == set("xyz") - set(NEEDED_BY[bad])
    assert [toy.states()[bad], len(toy.errors)] == ["failed", 1]
    before = set(toy.ran) - {bad}
    assert before.isdisjoint(toy.build(three(toy), jobs=jobs))
    published = {event["label"] for event in toy.events if event["event"] == "variant"}
    assert published == set("xyz") and not toy.errors


@pytest.mark.parametrize("keep_going", [True, False])
def test_a_model_that_cannot_be_put_is_told_of(
    tmp_path: Path, keep_going: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Toy(tmp_path)
    put = ModelsFolder.publish_all

    def refused(folder: ModelsFolder, output: Output, *rest: Any) -> bool:
        if output.label == "y":
            raise Error("no space left")
        return put(folder, output, *rest)

    monkeypatch.setattr(ModelsFolder, "publish_all", refused)
    toy.build(three(toy), keep_going=keep_going)
    told = [event for event in toy.events if event["event"] == "unpublished"]
    assert [(event["label"], event["error"]) for event in told] == [("y", "error: no space left")]
    assert [error.what for error in toy.errors] == ["no space left"]
    if keep_going:
        assert {event["label"] for event in toy.events if event["event"] == "variant"} == {"x", "z"}
