"""How long steps may take: as before, else by their bytes."""

from __future__ import annotations

from pathlib import Path

from modelbuild.engine.graph import Graph, Source
from modelbuild.engine.kept import Kept
from modelbuild.engine.store import Store
from modelbuild.session.durations import PACE, Durations
from tests.engine.toy import join


def test_steps_cost_what_they_took_else_what_they_read_and_write(tmp_path: Path) -> None:
    weights = tmp_path / "w"
    weights.write_bytes(bytes(1000))
    graph = Graph([join("a", Source(str(weights), "gguf")), join("b", "a"), join("c", "b"), join("d")])
    running, sizes = {"a", "b", "c"}, {"b": 500}
    kept = Kept(Store(str(tmp_path / "cache")).database)
    assert Durations(kept, "p").costs(graph, running, sizes) == {"a": 1000 / PACE, "b": 500 / PACE, "c": 0.0}
    heard = Durations(kept, "p")
    for step, state, seconds in (("a", "ran", 3.5), ("b", "hit", 9.0), ("c", "ran", 0.001)):
        heard.hear({"event": "step", "step": step, "state": state, "seconds": seconds})
    heard.save()
    assert Durations(kept, "p").costs(graph, running, sizes) == {"a": 3.5, "b": 500 / PACE, "c": 0.0}
    assert Durations(kept, "other").costs(graph, {"a"}, {}) == {"a": 1000 / PACE}


def test_what_was_kept_and_is_damaged_counts_as_nothing(tmp_path: Path) -> None:
    kept = Kept(Store(str(tmp_path / "cache")).database)
    graph = Graph([join("a")])
    for data in (b"{", b"[]", b'{"a": "x"}', b"\xff"):
        kept.put("durations\tp", data)
        assert Durations(kept, "p").costs(graph, {"a"}, {}) == {"a": 0.0}
