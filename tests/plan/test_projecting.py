"""Metadata of a project in projectors: of checkpoints, files, and models that others stand on."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.engine.graph import Graph, Source
from modelbuild.errors import Errors
from tests.plan.test_plan import gguf_file, graph, layers
from tests.plan.test_sides import TOWER, seeing

GELU = 'metadata = { "clip.use_gelu" = true }\n'


def projector(made: Graph, label: str = "a") -> str:
    """The step of a variant's projector."""
    output = next(output for output in made.outputs if output.label == label)
    steps = dict(made.steps[output.manifest].inputs)
    at = [kind for kind, _ in layers(made, label)].index("projector")
    return str(steps[str(at)])


def chain(made: Graph, label: str = "a") -> list[str]:
    """The kinds of the steps that make the projector of a variant, from its layer on."""
    step: Source | str = projector(made, label)
    found = []
    while isinstance(step, str):
        found.append(made.steps[step].kind)
        step = dict(made.steps[step].inputs).get("recipe", Source("", ""))
    return found


def test_metadata_of_the_projector_is_its_own(tmp_path: Path) -> None:
    made = graph(tmp_path, f'[model.a]\nfrom = "./seeing"\n{GELU}', seeing(TOWER))
    assert chain(made) == ["layer", "describe", "convert"]
    assert [name for name, step in made.steps.items() if step.kind == "describe"] == ["a/describe-projector"]
    assert dict(made.steps["a/model"].inputs)["recipe"] == "a/convert"
    assert sorted(name for name in made.steps if "projector" in name) == [
        "a/convert-projector",
        "a/describe-projector",
        "a/projector",
    ]


def test_metadata_of_a_projector_that_is_a_file(tmp_path: Path) -> None:
    files = {"x.gguf": gguf_file(), "p.gguf": gguf_file("mmproj")}
    made = graph(tmp_path, f'[model.a]\nfrom = "./x.gguf"\nprojector = "p.gguf"\n{GELU}', files)
    assert chain(made) == ["layer", "describe", "import"]


def test_what_stands_on_a_model_keeps_the_metadata_of_its_projector(tmp_path: Path) -> None:
    toml = f'[model.a]\nfrom = "./seeing"\n{GELU}[model.b]\nfrom = "a"\n[model.c]\nfrom = "b"\nprojector = "f32"\n'
    toml += '[model.d]\nfrom = "c"\nmetadata = { "clip.use_gelu" = "" }\n'
    made = graph(tmp_path, toml, seeing(TOWER))
    assert projector(made, "b") == projector(made, "a")
    assert chain(made, "c") == ["layer", "describe", "convert"]
    assert chain(made, "d") == ["layer", "describe", "describe", "convert"]


def test_metadata_of_a_projector_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(Errors) as raised:
        graph(tmp_path, f'[model.a]\nfrom = "./x.gguf"\n{GELU}', {"x.gguf": gguf_file()})
    assert "'a' has no projector whose metadata could be set" in str(raised.value.errors[0])
    toml = f'[defaults]\n{GELU}[model.a]\nfrom = "./x.gguf"\n[model.b]\nfrom = "./seeing"\n[model.c]\nfrom = "b"\nsystem = "S"\n'
    made = graph(tmp_path, toml, {"x.gguf": gguf_file(), **seeing(TOWER)})
    assert chain(made, "b") == ["layer", "describe", "convert"]
    assert projector(made, "c") == projector(made, "b")
