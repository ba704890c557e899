"""A plan in parts: the same graph and remarks, and each part kept as it is."""

from __future__ import annotations

from pathlib import Path

from modelbuild.plan import parts
from modelbuild.plan.parts import Part, decode_shared, encode_shared
from tests.plan.test_plan import CHECKPOINT, planned

TOML = """
[model.a]
from = "./weights"
[model.a.matrix]
quantize = ["q8_0", "f16"]
[model.a.default]
quantize = "f16"
[model.b]
from = "./weights"
quantize = "q8_0"
system = "S"
[model.c]
from = "a"
system = "S"
"""


def test_the_graph_is_that_of_all_parts(tmp_path: Path) -> None:
    made = planned(tmp_path, TOML, CHECKPOINT)
    assert parts.graph(made.divided).encode() == made.graph.encode()
    remarks = parts.remarks(made.divided.parts.values())
    assert [(each.labels, str(each.error)) for each in remarks] == [
        (each.labels, str(each.error)) for each in made.remarks
    ]
    assert remarks


def test_a_step_is_of_one_model_or_of_several(tmp_path: Path) -> None:
    made = planned(tmp_path, TOML, CHECKPOINT).divided
    own = {model: sorted(each.step.name for each in part.steps.values()) for model, part in made.parts.items()}
    assert own == {
        "a": ["a:f16/manifest", "a:f16/model", "a:f16/quantize", "a:q8_0/manifest"],
        "b": ["b/manifest", "b/system"],
        "c": ["c/manifest", "c/system"],
    }
    shared = {each.step.name: (each.type, each.owner) for each in made.shared.values()}
    assert shared["weights:q8_0/quantize"] == ("q8_0", "weights")
    assert shared["weights/convert"] == (None, "weights")
    named = {digest: each.step.name for digest, each in made.shared.items()}
    asked = {named[digest] for digest in made.parts["b"].shared["b"]}
    assert {"weights/convert", "weights:q8_0/quantize", "weights:q8_0/model"} <= asked


def test_a_part_says_what_decides_it(tmp_path: Path) -> None:
    files = {**CHECKPOINT, "m/Modelfile": "FROM a\nSYSTEM x\n"}
    made = planned(tmp_path, f'[project]\nmodelfiles = ["m/Modelfile"]\n{TOML}[model.d]\nextends = "m"\n', files)
    part = made.divided.parts["m"]
    file = str(tmp_path / "m/Modelfile")
    assert (part.whole, part.bases, part.found, part.files) == (True, ["a"], {"m": file}, [file])
    assert (part.froms, part.meant) == ({"m": ["a"]}, {"a": ["a:f16"]})
    assert made.divided.parts["d"].files == [file] and made.divided.parts["d"].found == {"m": file}
    assert made.divided.parts["b"].files == []


def test_parts_are_kept_as_they_are(tmp_path: Path) -> None:
    made = planned(tmp_path, TOML, CHECKPOINT).divided
    for part in made.parts.values():
        again = Part.decode(part.encode())
        assert again.encode() == part.encode()
        assert (again.outputs, dict(again.steps), again.order) == (part.outputs, dict(part.steps), part.order)
    assert decode_shared(encode_shared(made.shared)) == made.shared


def test_some_parts_have_a_graph_of_their_own(tmp_path: Path) -> None:
    whole = planned(tmp_path, TOML, CHECKPOINT)
    some = whole.divided._replace(parts={model: whole.divided.parts[model] for model in ("a", "c")})
    found = parts.graph(some)
    wanted = whole.graph.select(output for output in whole.graph.outputs if output.label != "b")
    assert found.outputs == wanted.outputs
    assert found.select(found.outputs).encode() == wanted.encode()
