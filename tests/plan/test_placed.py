"""Where what is wrong with a step is told: at the words of the project, or in the files that the step knows as inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.engine.action import Action, Made
from modelbuild.engine.build import Build, BuildOptions
from modelbuild.engine.graph import Graph, Output, Source, Step
from modelbuild.engine.model_side import ModelSide
from modelbuild.errors import Error
from modelbuild.plan.placed import in_named, placed
from modelbuild.project.locate import Place
from modelbuild.project.variant import File
from tests.engine.toy import Toy, join

TOML = '[ftype.mine]\ntensors = { "attn_v.*" = "q8_0" }\n[model.a]\nquantize = "mine"\n'


@pytest.fixture
def quantize(tmp_path: Path) -> Step:
    file = tmp_path / "ModelBuild.toml"
    file.write_text(TOML)
    places = [("ftype", ("model", "a", "quantize")), ("mix", ("ftype", "mine"))]
    said = tuple((name, Place("ModelBuild.toml", TOML, key).spelled(str(tmp_path))) for name, key in places)
    inputs: tuple[tuple[str, Source | str], ...] = (("recipe", "a/convert"), ("imatrix", Source("/m/x.dat", "bytes")))
    return Step("a/quantize", "quantize", 1, "{}", inputs, places=said)


CONVERT = Step(
    "a/convert",
    "convert",
    1,
    "{}",
    (("config.json", Source("/m/config.json", "bytes")), ("w.safetensors", Source("/m/w.safetensors", "safetensors"))),
)


@pytest.mark.parametrize(
    ("parameter", "place"),
    [
        (["ftype"], "ModelBuild.toml:4:12"),
        (["mix"], "ModelBuild.toml:1:8"),
        (["mix", "tensors", "attn_v.*"], "ModelBuild.toml:2:13"),
        (["imatrix"], "imatrix"),
    ],
)
def test_a_parameter_is_placed_where_the_project_says_it(quantize: Step, parameter: list[str], place: str) -> None:
    found = placed(Error("bad", parameter=parameter, facts=[("a", "b")], hint="c"), quantize)
    assert (found.place, found.facts, found.hint) == (place, (("a", "b"),), "c")


def test_an_input_of_the_name_of_a_parameter_is_a_file(quantize: Step) -> None:
    assert placed(Error("bad", input="imatrix"), quantize).place == "/m/x.dat"


def test_an_input_is_placed_at_its_path_and_what_it_names_beside_it() -> None:
    assert placed(Error("bad", input="config.json", line=3, column=5), CONVERT).place == "/m/config.json:3:5"
    assert placed(Error("bad", input="other.json"), CONVERT).place == "/m/other.json"


def test_a_path_is_a_path_already() -> None:
    error = Error("bad", path="config.json")
    assert placed(error, CONVERT) is error


def test_what_is_wrong_with_a_checkpoint_as_a_whole_is_told_of_its_folder(quantize: Step) -> None:
    assert placed(Error("bad"), CONVERT).place == "/m"
    assert placed(Error("bad"), quantize).place == ""


def test_an_error_of_a_file_stands_at_the_words_that_named_it() -> None:
    named = File("/m/w", "./w", "/m", Place("ModelBuild.toml"))
    found = in_named(Error("bad", path="x.json", facts=[("a", "b")]), named, "/m/w", folder=True)
    assert (found.place, found.what) == ("ModelBuild.toml", "'./w': bad")
    assert found.facts == (("file", "/m/w/x.json"), ("a", "b"))
    assert in_named(Error("bad"), named, "/m/w", folder=True).facts == (("folder", "/m/w"),)
    assert in_named(Error("bad"), named, "/m/w").facts == (("file", "/m/w"),)


@pytest.mark.parametrize(
    ("error", "place", "facts"),
    [
        (Error("bad", parameter=["ftype"]), "ModelBuild.toml:4:12", []),
        (Error("bad", input="0", line=2), "", [("file", "text:2")]),
        (Error("bad", path="/m/x", line=2), "", [("file", "/m/x:2")]),
        (Error("bad"), "", []),
    ],
)
def test_a_step_that_fails_tells_its_file_or_what_the_project_says(
    quantize: Step, tmp_path: Path, error: Error, place: str, facts: list[tuple[str, str]]
) -> None:
    def fail(action: Action, step: Step) -> Made:
        raise error

    toy = Toy(tmp_path)
    step = join("a/quantize", toy.write("text", "t"))._replace(places=quantize.places)
    build = Build(
        Graph([step], [Output("a", ("h/n/a/latest",), step.name, ())]),
        toy.records(),
        ModelSide(fail, lambda output, manifest, blobs: False, placed=placed),
        lambda event: None,
        BuildOptions(),
    )
    assert not build.run()
    (told,) = build.errors
    assert told.place == place
    named = [(label, text.replace(f"{tmp_path}/", "")) for label, text in told.facts]
    assert named == [*facts, ("used by", "'a'")]
    assert told.what.endswith("bad") and told.what.startswith("step 'a/quantize' failed: ") is not bool(place)
