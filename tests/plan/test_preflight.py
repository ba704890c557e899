"""The look before a build: everything that is wrong at once, what the machine has too little of, and only where work would start."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from modelbuild.engine.build import Event
from modelbuild.engine.graph import Graph, Output, Source, Step
from modelbuild.engine.model_side import ModelSide
from modelbuild.engine.sources import FileDigest
from modelbuild.errors import Error
from modelbuild.plan import preflight
from modelbuild.tensors import ftypes
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.formats.gguf import encode_value
from tests import checkpoints
from tests.attacks.test_index_lies import graph_of, look
from tests.engine.toy import Toy, join


def test_nothing_is_wrong_with_a_good_checkpoint(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m", shards=3)
    found = preflight.look(graph_of(folder))
    assert not found.errors
    assert len(found.files["m/convert"].names) == 21


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3, "rms_norm_eps": "small"}))
    (folder / "tokenizer.model").write_bytes(b"")
    errors = look(folder)
    files = ("tokenizer.model", "config.json", "config.json")
    assert [error.path for error in errors] == [str(folder / name) for name in files]
    assert "lacks 1 of the 3 blocks" in errors[1].what
    assert "rms_norm_eps" in errors[2].what
    assert all(("used by", "'m'") in error.facts for error in errors)


def test_wrong_shapes_are_told_by_the_names_of_the_checkpoint(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 300}))
    (error,) = look(folder)
    assert "model.layers.0.mlp.up_proj.weight" in dict(error.facts)


def test_a_cut_file_that_two_steps_read_is_one_error_against_both(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-1])
    (step,) = graph_of(folder).steps.values()
    other = step._replace(name="n/convert", parameters=step.parameters.replace("source", "f16"))
    outputs = [Output(name, (f"h/n/{name}/latest",), f"{name}/convert", ()) for name in "mn"]
    found = preflight.look(Graph([step, other], outputs))
    assert found.errors.keys() == {"m/convert", "n/convert"}
    (error,) = preflight.distinct(found.errors)
    assert error.what == "ends within its tensors"
    assert ("used by", "'m', 'n'") in error.facts


def test_a_large_head_is_not_kept_for_each_of_many_types(tmp_path: Path) -> None:
    metadata = {
        "general.architecture": encode_value("str", "other"),
        "other.block_count": encode_value("u32", 1),
        "tokenizer.ggml.tokens": encode_value("[str]", ["x" * 1000] * 4000),
    }
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf.header(metadata, [("blk.0.a.weight", "f32", (32, 32))]) + bytes(4096))
    source = Step("m/import", "import", 1, "{}", (("file", Source(str(path), "gguf")),), "thread")
    names = [name for name in ftypes.KNOWN if name != "q2_K_S"]
    made = [
        Step(f"m:{name}/quantize", "quantize", 1, json.dumps({"ftype": name}), (("recipe", "m/import"),), "thread")
        for name in names
    ]
    outputs = [Output(name, (f"h/n/m/{name}",), f"m:{name}/quantize", ()) for name in names]
    graph = Graph([source, *made], outputs)
    tracemalloc.start()
    try:
        found = preflight.look(graph)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not found.errors and len(found.files) == len(names) + 1
    size = path.stat().st_size
    assert kept < size * 2 and peak < size * 8, (kept, peak)


# When a build looks


class Weights(Toy):
    """Toy steps over files that are weights; writes down what is looked through before work starts."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.looked: list[set[str]] = []
        self.faults: dict[str, Sequence[Error]] = {}
        self.read: list[str] = []
        self.digesters = {"weights": self.digest}

    def weights(self, name: str, text: str) -> Source:
        return super().write(name, text)._replace(form="weights")

    def digest(self, path: str) -> FileDigest:
        assert not self.faults, "read although something stands against it"
        self.read.append(path)
        return FileDigest("xxh3:" + Path(path).read_text(), b"")

    def preflight(self, graph: Graph, running: Collection[str]) -> Mapping[str, Sequence[Error]]:
        if running:
            self.looked.append(set(running))
        return self.faults

    def side(self) -> ModelSide:
        return super().side()._replace(preflight=self.preflight)

    def run(self, graph: Graph, **options: object) -> list[str]:
        self.looked = []
        return self.build(graph, **options)

    @property
    def summary(self) -> Event:
        return self.events[-1]


def two(toy: Weights) -> Graph:
    """Variants `a` and `b`, each of weights of its own, sharing a text."""
    text = join("text", toy.write("text", "t"), final=True)
    steps, outputs = [text], []
    for name in "ab":
        convert = join(f"{name}/convert", toy.weights(name, name), pool="thread")
        layer = join(f"{name}/model", convert.name, pool="cores", final=True)
        manifest = join(f"{name}/manifest", layer.name, "text", text="{}", cut=2)
        steps += [convert, layer, manifest]
        outputs.append(Output(name, (f"h/n/{name}/latest",), manifest.name, (layer.name, "text")))
    return Graph(steps, outputs)


def test_what_is_to_run_is_looked_through_before_weights_are_read(tmp_path: Path) -> None:
    toy = Weights(tmp_path)
    toy.faults = {"a/convert": [Error("bad")]}
    assert toy.run(two(toy)) == []
    assert toy.looked == [{f"{name}/{step}" for name in "ab" for step in ("convert", "model", "manifest")}]
    assert [error.what for error in toy.errors] == ["bad"]
    assert set(toy.states().values()) == {"failed", "skipped"}
    assert (toy.summary["failed"], toy.summary["skipped"], toy.summary["ran"]) == (1, 6, 0)


def test_with_keep_going_the_others_are_built(tmp_path: Path) -> None:
    toy = Weights(tmp_path)
    graph = two(toy)
    toy.faults = {"a/convert": [Error("bad"), Error("worse")]}
    toy.digesters["weights"] = lambda path: FileDigest("xxh3:" + Path(path).read_text(), b"")
    assert sorted(toy.run(graph, keep_going=True)) == ["b/convert", "b/manifest", "b/model", "text"]
    assert [error.what for error in toy.errors] == ["bad", "worse"]
    states = toy.states()
    assert {name for name, state in states.items() if state == "skipped"} == {"a/model", "a/manifest"}
    assert states["a/convert"] == "failed"
    assert len(states) == len(graph.steps)


def test_what_is_made_already_is_not_looked_at(tmp_path: Path) -> None:
    toy = Weights(tmp_path)
    graph = two(toy)
    # Files as young as their hashing are hashed again.
    time.sleep(0.05)
    assert len(toy.run(graph)) == 7
    assert len(toy.looked) == 1
    assert toy.run(graph) == []
    assert toy.looked == []
    toy.write("text", "other")
    assert toy.run(graph) == ["text", "a/manifest", "b/manifest"]
    assert toy.looked == []
    toy.weights("b", "c")
    time.sleep(0.05)
    toy.run(graph)
    assert toy.looked == [{"b/convert", "b/model", "b/manifest"}]
    toy.run(graph, force=True)
    assert len(toy.looked[0]) == 6
