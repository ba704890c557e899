"""A small project for tests of the engine: steps that join their inputs' texts, sources in a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from modelbuild.engine.action import Action, Made
from modelbuild.engine.build import Build, BuildOptions, Event
from modelbuild.engine.cache import Cache, LocalCache
from modelbuild.engine.graph import Graph, Output, Source, Step, parameters
from modelbuild.engine.history import History
from modelbuild.engine.model_side import ModelSide
from modelbuild.engine.sources import Digester, Sources
from modelbuild.engine.standing import Due, Records, Standing, due, look_up
from modelbuild.engine.stat_cache import StatCache
from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.publish.models_folder import ModelsFolder
from modelbuild.publish.written import Owner


class Toy:
    """Builds graphs of joining steps; counts what ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open()
        self.digesters: dict[str, Digester] = {}
        self.events: list[Event] = []
        self.ran: list[str] = []
        self.errors: list[Error] = []
        self.before_run: Callable[[Step], None] = lambda step: None

    def open(self) -> None:
        """Open the cache, as a process does that has just begun."""
        self.store = Store(str(self.folder / "cache"))
        self.cache: Cache = LocalCache(self.store)

    def write(self, name: str, text: str) -> Source:
        path = self.folder / name
        path.write_text(text)
        # Old enough to be trusted without waiting for the clock's tick.
        os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - 10**9))
        return Source(str(path), "bytes")

    def work(self, action: Action, step: Step) -> Made:
        self.ran.append(step.name)
        self.before_run(step)
        values = json.loads(action.parameters)
        parts = []
        for role, digest in action.inputs:
            if digest.startswith("sha256:"):
                parts.append(self.store.read(digest).decode())
            elif digest != "absent":
                source = next(ref for r, ref in step.inputs if r == role)
                assert isinstance(source, Source)
                parts.append(Path(source.path).read_text())
        if values.get("fail"):
            raise Error("no good", hint="do better")
        text = values.get("text", "") + "".join(parts)
        return Made(self.store.put(text[: values.get("cut", 1000)].encode()))

    def build(self, graph: Graph, **options: object) -> list[str]:
        """Run a build; returns the steps that ran."""
        self.ran = []
        self.events = []
        build = Build(
            graph,
            self.records(),
            self.side(),
            self.events.append,
            BuildOptions(**{"jobs": 2, **options}),  # type: ignore[arg-type]
        )
        build.run()
        self.errors = build.errors
        return self.ran

    def side(self) -> ModelSide:
        folder = ModelsFolder(str(self.folder / "models"), self.store, Owner("toy"))
        return ModelSide(self.work, folder.publish_all, folder.publish_together, folder.restore)

    def sources(self) -> Sources:
        """The sources as a process knows them that has just begun."""
        return Sources(StatCache(self.store.database), self.digesters)

    def records(self) -> Records:
        return Records(self.cache, self.sources(), History(self.store.database, "toy"))

    def standing(self, graph: Graph) -> Standing:
        return look_up(graph, self.records())

    def due(self, graph: Graph, force: bool = False) -> list[Due]:
        return due(self.standing(graph), self.records(), graph.steps if force else ())

    def artifact(self, text: str) -> Path:
        """The store's file with this text."""
        return next(path for path in (self.folder / "cache/blobs").iterdir() if path.read_text() == text)

    def states(self) -> dict[str, str]:
        return {event["step"]: event["state"] for event in self.events if event["event"] == "step"}


def join(name: str, *inputs: Source | str, pool: str = "", final: bool = False, **values: object) -> Step:
    return Step(name, "join", 1, parameters(values), tuple((str(i), ref) for i, ref in enumerate(inputs)), pool, final)


def model(graph_steps: list[Step], blobs: list[str]) -> Graph:
    """A graph with one output; its manifest names the blobs only as Ollama's would (the text is not checked here)."""
    manifest = Step("m/manifest", "join", 1, parameters({"text": "{}", "cut": 2}), tuple((b, b) for b in blobs))
    return Graph([*graph_steps, manifest], [Output("m", ("h/n/m/latest",), "m/manifest", tuple(blobs))])


def chain(toy: Toy, text: str = "weights", cut: int = 1000, pool: str = "") -> Graph:
    """Three steps, one after the other, the first of which reads `a.txt` and keeps `cut` characters of it."""
    source = toy.write("a.txt", text)
    return model(
        [
            join("m/first", source, pool=pool, cut=cut),
            join("m/second", "m/first", pool=pool, text="2"),
            join("m/layer", "m/second", pool=pool, text="3", final=True),
        ],
        ["m/layer"],
    )
