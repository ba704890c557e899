"""Declaring steps: each once, whoever asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.engine.graph import Output, Source
from modelbuild.plan.declared import Declared
from modelbuild.project.variant import Variant
from modelbuild.steps import config, describe, layer, manifest
from tests.projects import load


@pytest.fixture
def rows(tmp_path: Path) -> list[Variant]:
    toml = '[model.a]\nfrom = "./w"\n[model.a.matrix]\nquantize = ["q8_0", "q6_K"]\n'
    return list(load(tmp_path, toml).variants)


def test_who_asks_for_the_same_shares_a_step(rows: list[Variant]) -> None:
    declared = Declared("/p/ModelBuild.toml")
    first, second = (declared.step(row, layer, layer.Parameters(text="T"), what="system") for row in rows)
    assert first == second
    assert declared.step(rows[0], layer, layer.Parameters(text="T"), what="template") == first
    assert declared.step(rows[0], layer, layer.Parameters(text="T"), [("x", first)], what="system") != first


def test_steps_and_outputs_get_their_names_when_all_is_declared(rows: list[Variant]) -> None:
    declared = Declared("/p/ModelBuild.toml")
    outputs = []
    for row in rows:
        text = declared.step(row, layer, layer.Parameters(text="T"), what="system")
        made = declared.step(row, config, config.Parameters(models=1))
        listing = manifest.Parameters(layers=[("m", row.label)])
        outputs.append(Output(row.label, ("n",), declared.step(row, manifest, listing, [("0", text)]), (made, text)))
    graph = declared.graph(outputs)
    assert list(graph.steps) == ["a/system", "a/config", "a:q8_0/manifest", "a:q6_K/manifest"]
    assert [step.name for step in graph.steps.values()] == list(graph.steps)
    assert graph.steps["a:q6_K/manifest"].inputs == (("0", "a/system"),)
    assert graph.outputs[1] == Output("a:q6_K", ("n",), "a:q6_K/manifest", ("a/config", "a/system"))


def test_a_step_is_what_its_kind_says_of_it(rows: list[Variant]) -> None:
    declared = Declared("/p/ModelBuild.toml")
    declared.step(
        rows[0], describe, describe.Parameters(metadata={"b": 1, "a": 2}), [("recipe", Source("/m/r", "bytes"))]
    )
    file = [("file", Source("/m/x.gguf", "gguf"))]
    declared.step(rows[0], layer, layer.Parameters(link=None), file, what="model", pool="cores")
    made, model = declared.graph(()).steps.values()
    assert (made.kind, made.version, made.pool, made.final) == ("describe", describe.VERSION, "thread", False)
    assert made.parameters == '{"metadata":{"a":2,"b":1}}'
    assert (model.kind, model.parameters, model.pool, model.final) == ("layer", "{}", "cores", True)


def test_places_of_parameters_go_along_where_there_are_any(rows: list[Variant]) -> None:
    declared = Declared("/p")
    places = {"metadata": rows[0].place("quantize"), "other": None}
    declared.step(rows[0], describe, describe.Parameters(metadata={}), places=places)
    assert declared.graph(()).steps["a/describe"].places == (
        ("metadata", '["/p", "ModelBuild.toml", ["model", "a", "matrix", "quantize", 0]]'),
    )
