"""The worker: what a step is given, and what becomes of faults of files on the way."""

from __future__ import annotations

import errno
import hashlib
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from modelbuild.digest import xxh3
from modelbuild.engine.action import Action, Made
from modelbuild.engine.build import Event
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.graph import Source, Step, parameters
from modelbuild.engine.sources import Sources
from modelbuild.engine.stat_cache import StatCache
from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.session import worker
from modelbuild.session.leaves import Leaves, digesters
from modelbuild.session.worker import Inputs, Worker
from modelbuild.tensors import materialize
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.recipe import Entry, Recipe
from tests import checkpoints
from tests.tensors.made import ARCHITECTURE


class Bench:
    """A worker over a store, and steps for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(str(folder / "cache"))
        self.sources = Sources(StatCache(self.store.database), digesters())
        self.events: list[Event] = []
        self.worker = Worker(
            LocalCache(self.store),
            self.sources,
            jobs=1,
            memory=1 << 20,
            scratch=lambda: None,
            report=self.events.append,
        )

    def action(self, step: Step) -> Action:
        inputs = [(role, ref if isinstance(ref, str) else self.sources.digest(ref)) for role, ref in step.inputs]
        return Action(step.kind, step.version, step.parameters, tuple(inputs))

    def inputs(self, *inputs: tuple[str, Source | str]) -> Inputs:
        step = Step("m/step", "layer", 1, "{}", inputs)
        return Inputs(self.action(step), step, self.worker)

    def text(self, name: str, text: str) -> Source:
        (self.folder / name).write_text(text)
        return Source(str(self.folder / name), "bytes")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_step_makes_its_artifact_of_parameters(bench: Bench) -> None:
    step = Step("m/system", "layer", 1, parameters({"text": "Hello."}), ())
    made = bench.worker.run(bench.action(step), step)
    assert isinstance(made, Made)
    assert bench.store.read(made.result.artifact) == b"Hello."
    assert made.written == made.result.size == 6


def test_inputs_are_known_by_their_roles_alone(bench: Bench) -> None:
    made = bench.store.put(b"made before")
    absent = Source(str(bench.folder / "none"), "bytes")
    inputs = bench.inputs(("text", bench.text("a", "words")), ("config", absent), ("recipe", made.artifact))
    assert inputs.roles() == ["text", "config", "recipe"]
    assert inputs.file("text") == b"words" and inputs.file("config") is None and inputs.file("other") is None
    assert inputs.artifact("recipe") == b"made before"
    assert inputs.entry("recipe") == made
    assert inputs.tables() == []


def test_tables_come_with_weights_and_leaves_are_found_by_digest(bench: Bench) -> None:
    folder = checkpoints.write(bench.folder / "m")
    source = Source(str(folder / "model.safetensors"), "safetensors")
    ((role, table),) = bench.inputs(("model.safetensors", source)).tables()
    assert role == "model.safetensors" and len(table.tensors) == 21
    tensor = next(iter(table.tensors.values()))
    region = Leaves(bench.sources, bench.worker.cache).region(tensor.digest)
    assert (region.path, region.offset, region.length) == (source.path, tensor.offset, tensor.length)
    with pytest.raises(Error, match="no source contains the weights xxh3:0{32} any more"):
        Leaves(bench.sources, bench.worker.cache).region("xxh3:" + 32 * "0")


def test_a_file_that_changed_since_the_build_began_stops_it(bench: Bench) -> None:
    source = bench.text("a", "words")
    inputs = bench.inputs(("text", source))
    Path(source.path).write_text("other")
    for read in (lambda: inputs.file("text"), lambda: inputs.copy("text", link=False)):
        with pytest.raises(Error, match="source changed during the build"):
            read()


@pytest.mark.parametrize("link", [False, True])
def test_a_file_that_is_taken_as_it_is_becomes_an_artifact(bench: Bench, link: bool) -> None:
    source = bench.text("a", "words")
    made = bench.inputs(("file", source)).copy("file", link)
    assert made.result.artifact == "sha256:" + hashlib.sha256(b"words").hexdigest()
    assert bench.store.read(made.result.artifact) == b"words"
    assert (Path(source.path).stat().st_nlink == 2) is link
    assert bench.events[-1] == {"event": "progress", "step": "m/step", "done": 5, "total": 5}


def test_faults_of_the_system_are_errors_that_say_where(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    error = bench.worker.failed(PermissionError(errno.EACCES, "Permission denied", "/x/y"))
    assert str(error) == "error: /x/y: permission denied"
    full = bench.worker.failed(OSError(errno.ENOSPC, "No space left on device", "/none/x"))
    assert full.what == "no space left on the disk" and full.facts[0][0] == "free"
    monkeypatch.setattr(worker, "free", lambda path: 10)
    with pytest.raises(Error, match="no space left on the disk") as caught:
        bench.worker.need_space(11, bench.store.scratch)
    assert caught.value.facts[:2] == (("needed", "11 bytes"), ("free", "10 bytes"))
    bench.worker.need_space(10, bench.store.scratch)


def test_a_step_is_begun_again_where_the_cache_goes_under_its_hands(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, left = bench.store.put, [2]

    def gone(data: bytes) -> object:
        if left[0]:
            left[0] -= 1
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/cache")
        return put(data)

    monkeypatch.setattr(bench.store, "put", gone)
    step = Step("m/params", "layer", 1, parameters({"parameters": {"temperature": 1}}), ())
    made = bench.worker.run(bench.action(step), step)
    assert json.loads(bench.store.read(made.result.artifact)) == {"temperature": 1}
    left[0] = worker.TRIES
    with pytest.raises(Error, match="no such file or directory"):
        bench.worker.run(bench.action(step), step)


def test_layers_that_are_made_at_once_share_the_memory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.worker.jobs = 4
    had: list[int] = []
    most, real = [0], materialize.materialize

    def counted(*args: Any, resources: materialize.Resources, **rest: Any) -> materialize.Materialized:
        had.append(resources.memory)
        most[0] = max(most[0], sum(had))
        time.sleep(0.02)
        had.remove(resources.memory)
        return real(*args, resources=resources, **rest)

    monkeypatch.setattr(materialize, "materialize", counted)
    threads = []
    for number in range(4):
        data = bytes([number]) * 400_000
        x = leaf(xxh3(data), "f32", (100_000,))
        recipe = Recipe(ARCHITECTURE, [Entry("x", x.shape, x)], {xxh3(data): data})
        inputs = bench.inputs(("recipe", bench.store.put(recipe.encode()).artifact))
        threads.append(threading.Thread(target=inputs.materialize, args=(recipe,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert 0 < most[0] <= bench.worker.memory
    assert bench.worker.most() == bench.worker.memory * 3 // 4
