"""Names of steps: unique, and told by all that is declared, not by who came first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelbuild.plan.declared import Declared
from modelbuild.project.variant import Variant
from modelbuild.steps import layer, quantize
from tests.e2e.project import Project
from tests.projects import load


def variants(folder: Path, toml: str) -> dict[str, Variant]:
    return {variant.label: variant for variant in load(folder, toml).variants}


def named(*asked: tuple[Variant, str, Any]) -> list[str]:
    """The names of layers of texts: (who asks, what it is, the text)."""
    declared = Declared("/p/ModelBuild.toml")
    for variant, what, text in asked:
        declared.step(variant, layer, layer.Parameters(text=text), what=what)
    return list(declared.graph(()).steps)


ROWS = """
[model.a]
from = "./w"
[model.a.matrix]
quantize = ["q8_0", "q6_K"]
"""

SEVERAL = """
[defaults]
license = "L"
[model."p-*"]
template = "T"
[model.p-1]
from = "./bases/story.gguf"
system = "S"
[model.p-2]
from = "./bases/story.gguf"
system = "S"
[model.p-3]
from = "story.gguf"
[model.q]
from = "./other"
"""


def test_a_step_of_one_row_is_named_after_the_model_unless_other_rows_have_such_a_step(tmp_path: Path) -> None:
    found = variants(tmp_path, ROWS)
    one, two = found["a:q8_0"], found["a:q6_K"]
    assert named((one, "system", "x")) == ["a/system"]
    assert named((one, "system", "x"), (two, "system", "y")) == ["a:q8_0/system", "a:q6_K/system"]
    assert named((one, "system", "x"), (two, "system", "x")) == ["a/system"]
    assert named((one, "model", "x"), (two, "model", "y")) == ["a:q8_0/model", "a:q6_K/model"]


def test_a_number_is_the_last_resort(tmp_path: Path) -> None:
    one = variants(tmp_path, ROWS)["a:q8_0"]
    asked = [(one, "license", text) for text in "abc"]
    assert named(*asked) == ["a:q8_0/license", "a:q8_0/license-2", "a:q8_0/license-3"]


def test_what_rows_share_is_named_after_the_type_that_they_ask_for(tmp_path: Path) -> None:
    toml = '[model.a]\nfrom = "./w"\nquantize = "q8_0"\n[model.a.matrix]\nseed = [1, 2]\n'
    declared = Declared("/p/ModelBuild.toml")
    for variant in variants(tmp_path, toml).values():
        recipe = declared.step(variant, quantize, quantize.Parameters(ftype="q8_0"))
        declared.step(variant, layer, layer.Parameters(), [("recipe", recipe)], what="model")
    assert list(declared.graph(()).steps) == ["a:q8_0/quantize", "a:q8_0/model"]


def test_what_models_share_is_named_after_the_table_of_a_text_or_the_base(tmp_path: Path) -> None:
    found = variants(tmp_path, SEVERAL)
    p1, p2, p3, q = (found[label] for label in ("p-1", "p-2", "p-3", "q"))
    assert named((p1, "template", "T"), (p2, "template", "T"), (p3, "template", "T")) == ["p-*/template"]
    assert named(*((each, "license", "L") for each in (p1, p2, q))) == ["defaults/license"]
    assert named((p1, "convert", "x"), (p2, "convert", "x"), (q, "convert", "x")) == ["story/convert"]
    assert named((q, "base", "x"), (p3, "base", "x"), (p2, "base", "x")) == ["story/base"]


def test_bases_of_one_last_part_are_told_apart_by_what_stands_before_it(tmp_path: Path) -> None:
    toml = ""
    bases = ("./qwen/1b", "./llama/1b", "story:q8_0", "hf.co/org/Model", "./m/qwen/model.gguf", "./m/llama/model.gguf")
    cached = "./hub/models--org--Tiny/snapshots/0123abcd"
    for number, base in enumerate([*bases, cached]):
        toml += "".join(f'[model.m{number}{each}]\nfrom = "{base}"\n' for each in "ab")
    found = variants(tmp_path, toml)
    asked = [(each, "convert", "".join(line.text for line in each.froms)) for each in found.values()]
    assert named(*asked) == [
        "qwen/1b/convert", "llama/1b/convert", "story/convert", "Model/convert",
        "qwen/model/convert", "llama/model/convert", "Tiny/convert",
    ]  # fmt: skip
    assert named(*asked[:2], *asked[4:]) == [
        "1b/convert", "story/convert", "Model/convert", "qwen/model/convert", "llama/model/convert", "Tiny/convert"
    ]  # fmt: skip
    two = [(each, "base", text) for each in (found["m0a"], found["m0b"]) for text in ("x", "y")]
    assert named(*two) == ["1b/base", "1b/base-2"] or named(*two) == ["qwen/1b/base", "qwen/1b/base-2"]


def test_an_edit_of_a_text_renames_no_step(tmp_path: Path) -> None:
    found = variants(tmp_path, SEVERAL)
    p1, p2 = found["p-1"], found["p-2"]
    assert named((p1, "system", "S"), (p2, "system", "S")) == ["p-1/system", "p-2/system"], "equal by chance"
    assert named((p1, "system", "S"), (p2, "system", "edited")) == ["p-1/system", "p-2/system"]
    child = variants(tmp_path, SEVERAL + '[model.r]\nextends = "p-1"\n')
    assert named((child["p-1"], "system", "S"), (child["r"], "system", "S")) == ["p-1/system"]


def test_what_models_share_with_their_base_is_the_bases(tmp_path: Path) -> None:
    found = variants(tmp_path, '[model.b]\nfrom = "./w"\n[model.a]\nfrom = "b"\n[model.c]\nfrom = "b:latest"\n')
    assert named(*((found[label], "config", "x") for label in "abc")) == ["b/config"]


def test_names_do_not_depend_on_the_order_of_declaration(tmp_path: Path) -> None:
    found = variants(tmp_path, SEVERAL)
    asked = [(each, what, text) for each in found.values() for what, text in (("system", "S"), ("convert", each.model))]
    asked += [(found["p-1"], "params", "x"), (found["q"], "params", "y")]
    assert sorted(named(*asked)) == sorted(named(*reversed(asked)))
    assert len(set(named(*asked))) == len(named(*asked))


def test_a_model_keeps_its_bytes_when_others_come_to_share_its_steps(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.checkpoint()
    model = '[model.{}]\nfrom = "./weights"\nquantize = "q8_0"\n'
    project.write("ModelBuild.toml", model.format("b"))
    assert "b:q8_0/quantize" not in (alone := project.build()) and alone["b/quantize"] == "ran"
    before = project.manifest("b:latest")
    project.write("ModelBuild.toml", model.format("a") + 'system = "S"\n' + model.format("b"))
    assert project.build("b") == {}, "no step of it runs again under its new name"
    assert "weights:q8_0/quantize" in {event["step"] for event in project.events if event["event"] == "step"}
    assert project.manifest("b:latest") == before
