"""Declaring steps: each once, under a name that says whose it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.engine.graph import Source
from modelbuild.plan.declared import Declared
from modelbuild.project.variant import Variant
from modelbuild.steps import config, describe, layer
from tests.projects import load


@pytest.fixture
def rows(tmp_path: Path) -> list[Variant]:
    toml = '[model.a]\nfrom = "./w"\n[model.a.matrix]\nquantize = ["q8_0", "q6_K"]\n'
    return list(load(tmp_path, toml).variants)


def test_who_asks_for_the_same_shares_a_step(rows: list[Variant]) -> None:
    declared = Declared("/p/ModelBuild.toml")
    names = [declared.step(row, layer, layer.Parameters(text="T"), what="system") for row in rows]
    assert names == ["a/system", "a/system"]
    assert declared.step(rows[0], layer, layer.Parameters(text="T"), what="template") == "a/system"
    assert declared.step(rows[0], layer, layer.Parameters(text="T"), [("x", "a/system")], what="system") != "a/system"


def test_a_name_is_that_of_the_model_then_of_the_row_then_has_a_number(rows: list[Variant]) -> None:
    declared = Declared("/p/ModelBuild.toml")
    texts = [declared.step(rows[0], layer, layer.Parameters(text=text), what="system") for text in "abcd"]
    assert texts == ["a/system", "a:q8_0/system", "a:q8_0/system-2", "a:q8_0/system-3"]
    assert declared.step(rows[1], config, config.Parameters(models=1)) == "a:q6_K/config"


def test_a_step_is_what_its_kind_says_of_it(rows: list[Variant]) -> None:
    declared = Declared("/p/ModelBuild.toml")
    declared.step(rows[0], describe, describe.Parameters(metadata={"b": 1, "a": 2}), [("recipe", "r")])
    file = [("file", Source("/m/x.gguf", "gguf"))]
    declared.step(rows[0], layer, layer.Parameters(link=None), file, what="model", pool="cores")
    made, model = declared.steps.values()
    assert (made.kind, made.version, made.pool, made.final) == ("describe", describe.VERSION, "thread", False)
    assert made.parameters == '{"metadata":{"a":2,"b":1}}'
    assert (model.kind, model.parameters, model.pool, model.final) == ("layer", "{}", "cores", True)


def test_places_of_parameters_go_along_where_there_are_any(rows: list[Variant]) -> None:
    declared = Declared("/p/ModelBuild.toml")
    places = {"metadata": rows[0].place("quantize"), "other": None}
    name = declared.step(rows[0], describe, describe.Parameters(metadata={}), places=places)
    assert declared.steps[name].places == (
        ("metadata", '["/p/ModelBuild.toml", ["model", "a", "matrix", "quantize", 0]]'),
    )
