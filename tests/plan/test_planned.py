"""A plan read back: what each variant's graph says of its layers, its config and its model."""

from __future__ import annotations

import pytest

from modelbuild import steps
from modelbuild.engine.graph import Graph, Output
from modelbuild.plan import planned
from tests.plan.test_plan import CHECKPOINT, gguf_file, graph, library

TOML = """
[ftype.mine]
base = "q4_K_M"
tensors = { attn_v = "q8_0" }
[model.a]
from = "./weights"
outtype = "bf16"
quantize = "mine"
allow_requantize = true
system = "S"
metadata = { "general.name" = "A", "general.author" = "B" }
[model.b]
from = "a"
metadata = { "general.name" = "B" }
[model.c]
from = "./weights"
outtype = "bf16"
renderer = "r"
[model.d]
from = "./x.gguf"
[model.e]
from = "base"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    folder = tmp_path_factory.mktemp("planned")
    return graph(folder, TOML, {**CHECKPOINT, **library(folder, template=b"T"), "x.gguf": gguf_file()})


def output(made: Graph, label: str) -> Output:
    return next(each for each in made.outputs if each.label == label)


def test_layers_are_those_of_the_manifest_to_be(made: Graph) -> None:
    found = planned.layers(made, output(made, "b"))
    assert [(layer.kind, layer.origin, layer.step.name) for layer in found] == [
        ("model", "", "b/model"),
        ("system", "a:latest", "a/system"),
    ]
    assert found[1].parameters() == {"text": "S"}


def test_config_is_that_of_the_variant(made: Graph) -> None:
    assert planned.config_of(made, output(made, "c")) == {"models": 1, "renderer": "r"}
    assert planned.config_of(made, output(made, "e"))["base"]["model_family"] == "llama"


def test_the_steps_of_a_recipe_go_back_to_the_weights(made: Graph) -> None:
    names = [step.name for step in planned.recipe_steps(made, output(made, "b"))]
    assert names == ["b/describe-2", "a/quantize", "a/describe", "weights/convert"]
    assert list(planned.recipe_steps(made, output(made, "e"))) == []


def test_types_are_decided_by_the_last_step_that_does_not_leave_them(made: Graph) -> None:
    found = {each.label: planned.typing_step(made, each) for each in made.outputs}
    assert {label: step and step.name for label, step in found.items()} == {
        "a": "a/quantize", "b": "a/quantize", "c": "weights/convert", "d": "d/import", "e": None,
    }  # fmt: skip
    asked = {label: planned.asked_ftype(step) for label, step in found.items()}
    assert asked == {"a": "q4_K_M", "b": "q4_K_M", "c": "bf16", "d": None, "e": None}
    assert planned.quantization(found["b"]) == {
        "ftype": "q4_K_M",
        "mix": {"tensors": [["attn_v", "q8_0"]]},
        "requantize": True,
    }
    assert planned.quantization(found["c"]) is planned.quantization(None) is None


def test_metadata_are_a_variants_own_over_those_it_stands_on(made: Graph) -> None:
    assert planned.metadata(made, output(made, "b")) == {"general.name": "B", "general.author": "B"}
    assert planned.metadata(made, output(made, "d")) == {}


def test_the_kinds_that_are_told_apart_are_step_kinds() -> None:
    for kind in (planned.ADAPT, planned.CONVERT, planned.DESCRIBE, planned.MERGE, planned.QUANTIZE):
        assert steps.kind_of(steps.module(kind)) == kind
