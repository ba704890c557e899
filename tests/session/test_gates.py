"""What a gate says of a model: by the figures that a build measured, or that there are none yet."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from modelbuild.engine.action import ActionResult
from modelbuild.engine.standing import Standing
from modelbuild.engine.store import Store
from modelbuild.session import gates
from modelbuild.session.session import Session
from tests import tooling
from tests.plan.test_plan import CHECKPOINT, graph


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        (None, gates.Verdict(0.05, None)),
        (b'{"kld": 0.0123}', gates.Verdict(0.05, 0.0123)),
        (b'{"kld": 0.05}', gates.Verdict(0.05, 0.05)),
        (b'{"kld": 0.2}', gates.Verdict(0.05, 0.2)),
        (b"{", gates.Verdict(0.05, None)),
    ],
)
def test_a_verdict_follows_from_the_figures(figures: bytes | None, expected: gates.Verdict, tmp_path: Path) -> None:
    tooling.write(tmp_path)
    toml = '[tools]\nbinaries = "llama.cpp/bin"\n[model.a]\nfrom = "./weights"\nquantize = "q4_0"\ngate = { kld = 0.05, text = "x.txt" }\n'
    made = graph(tmp_path, toml + '[model.b]\nfrom = "./weights"\n', {**CHECKPOINT, "x.txt": "words"})
    store = Store(str(tmp_path / "cache"))
    results = {} if figures is None else {"a/divergence": ActionResult(store.put(figures).artifact, len(figures))}
    session: Any = SimpleNamespace(graph=made, store=store)
    by_label = {output.label: output for output in made.outputs}
    standing = Standing(made, {}, results, ())
    assert gates.verdict(cast(Session, session), by_label["a"], standing) == expected
    assert gates.verdict(cast(Session, session), by_label["b"], standing) is None


def test_a_verdict_in_words() -> None:
    assert [gates.Verdict(0.05, found).short for found in (None, 0.0123, 0.2)] == [
        "not measured",
        "passed (0.0123)",
        "fell short (0.2)",
    ]
    assert gates.Verdict(0.05, 0.2).said == "its divergence is 0.2, expected at most 0.05"
    assert gates.Verdict(0.05, 0.01).said == ""
    assert json.loads(json.dumps(gates.Verdict(0.05, 0.2).data())) == {
        "kld": 0.05, "divergence": 0.2, "verdict": "fell short",
    }  # fmt: skip
