"""Tables over one another: defaults, globs, models that extend others, and the model itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelbuild.errors import Problems
from modelbuild.observed import Observed
from modelbuild.project import toml
from modelbuild.project.locate import Place
from modelbuild.project.models import Laid, Models
from modelbuild.project.overrides import Overrides
from modelbuild.project.project import DEPTH_LIMIT
from modelbuild.project.texts import Texts
from tests.projects import FROM, Kept, labels, load, names


def test_tables_merge_by_key_from_defaults_to_set(tmp_path: Path) -> None:
    toml = (
        "[defaults]\nparameters = { top_k = 1, top_p = 0.1, min_p = 0.1, seed = 1, num_ctx = 1, num_keep = 1 }\n"
        '[model."*"]\nparameters = { top_p = 0.2, min_p = 0.2, seed = 2, num_ctx = 2, num_keep = 2 }\n'
        '[model."a*"]\nparameters = { min_p = 0.3, seed = 3, num_ctx = 3, num_keep = 3 }\n'
        '[model.base]\nfrom = "x"\nparameters = { seed = 4, num_ctx = 4, num_keep = 4 }\n'
        '[model.abc]\nextends = "base"\nparameters = { num_ctx = 5, num_keep = 5 }\n'
    )
    loaded = load(tmp_path, toml, sets=("a?c.parameters.num_keep=6",))
    assert loaded.select(["abc"])[0].parameters == {
        "top_k": 1, "top_p": 0.2, "min_p": 0.3, "seed": 4, "num_ctx": 5, "num_keep": 6,
    }  # fmt: skip


def test_the_later_of_two_glob_tables_wins(tmp_path: Path) -> None:
    toml = '[model."a*"]\nsystem = "1"\n[model.ab]\nfrom = "x"\n[model."*b"]\nsystem = "2"\n'
    assert load(tmp_path, toml).variants[0].string("system") == "2"


def test_extends_copies_a_table_and_its_matrix_but_not_its_tags(tmp_path: Path) -> None:
    toml = (
        '[model.a]\nfrom = "./x"\nsystem = "s"\ntags = ["v1"]\nmatrix.quantize = ["q8_0", "f16"]\n'
        'default.quantize = "f16"\nparameters = { seed = 1, top_k = 1 }\n'
        '[model.b]\nextends = "a"\nparameters = { seed = 2 }\n'
    )
    loaded = load(tmp_path, toml)
    assert names(loaded) == [["a:q8_0"], ["a:f16", "a:latest", "a:v1"], ["b:q8_0"], ["b:f16", "b:latest"]]
    assert [dict(each.parameters) for each in loaded.select(["b"])] == [{"seed": 2, "top_k": 1}] * 2
    assert {each.string("system") for each in loaded.variants} == {"s"}


def test_a_model_can_extend_a_found_one(tmp_path: Path) -> None:
    toml = '[project]\nmodelfiles = ["a/Modelfile"]\n[model.b]\nextends = "a"\nparameters = { seed = 2 }\n'
    loaded = load(tmp_path, toml, {"a/Modelfile": FROM + "SYSTEM s\nPARAMETER seed 1\nPARAMETER top_k 1\n"})
    made = loaded.select(["b"])[0]
    assert (made.string("system"), made.parameters) == ("s", {"seed": 2, "top_k": 1})


def test_an_empty_axis_clears_an_inherited_one(tmp_path: Path) -> None:
    toml = (
        '[model.a]\nfrom = "./x"\ndescription = "${matrix.tone}"\nmatrix.quantize = ["q8_0", "f16"]\nmatrix.tone = ["x"]\n'
        '[model.b]\nextends = "a"\nmatrix.quantize = []\n'
    )
    assert labels(load(tmp_path, toml), "b") == ["b:x"]


def laid(text: str, problems: Problems, **given: Any) -> list[Laid]:
    overrides, top = Overrides(**given), Place("ModelBuild.toml", text)
    read = toml.read(top, overrides, Observed(), Kept(), problems)
    assert read is not None
    found = {"found": "/p/found/Modelfile"}
    models = Models(read, found, Texts("/p", Observed(), problems))
    made = list(models.laid(overrides, problems))
    models.tell_unmatched(problems)
    return made


def test_each_model_is_laid_over_what_speaks_of_it() -> None:
    problems = Problems()
    text = '[defaults]\nsystem = "d"\n[model."f*"]\ntag = "g"\n[model.a]\nextends = "found"\nlink = "hard"\n'
    a, found = laid(text, problems, sets=("a.system=set",))
    assert (a.model, found.model, str(a.table), str(found.table)) == (
        "a", "found", "ModelBuild.toml:5:8", "found/Modelfile",
    )  # fmt: skip
    assert {key: value for key, (value, _) in a.said.items()} == {
        "system": "set", "modelfile": "/p/found/Modelfile", "extends": "found", "link": "hard",
    }  # fmt: skip
    assert {key: str(place) for key, (_, place) in found.said.items()} == {
        "system": "ModelBuild.toml:2:1", "tag": "ModelBuild.toml:4:1", "modelfile": "found/Modelfile",
    }  # fmt: skip
    assert [table.values for table in a.on_top] == [{"system": "set"}] and not found.on_top
    assert not problems


def test_of_a_model_of_which_something_is_wrong_not_all_is_known() -> None:
    problems = Problems()
    text = '[model.a]\nextends = "b"\n[model.b]\nextends = "a"\n[model.c]\nextends = "x"\n[model.d]\nfrom = "x"\n'
    assert [each.model for each in laid(text, problems, sets=("z.system=x",)) if each.is_all] == ["d", "found"]
    assert [error.what for error in problems.errors] == ["unknown model 'z'"]
    circle = "model 'b': 'extends' is a cycle: a -> b -> a"
    assert {part: [error.what for error in found.errors] for part, found in problems.parts.items() if found} == {
        "a": [circle], "b": [circle], "c": ["model 'c': 'extends' names an unknown model: 'x'"],
    }  # fmt: skip


def test_what_is_wrong_with_a_table_is_wrong_with_all_that_it_speaks_of() -> None:
    problems = Problems()
    text = '[model.a]\ntag = 1\n[model.b]\nextends = "a"\n[model."c*"]\nsystm = "s"\n[model.cc]\nfrom = "x"\n[model.d]\nfrom = "x"\n'
    assert [each.model for each in laid(text, problems) if each.is_all] == ["d", "found"]
    assert {part: [error.line for error in found.errors] for part, found in problems.parts.items() if found} == {
        "a": [2], "b": [2], "cc": [6],
    }  # fmt: skip


def test_how_many_models_may_extend_one_another() -> None:
    for count, wrong in ((DEPTH_LIMIT, False), (DEPTH_LIMIT + 1, True)):
        problems = Problems()
        chain = "".join(f'[model.m{n}]\nextends = "m{n + 1}"\n' for n in range(count))
        laid(f'{chain}[model.m{count}]\nfrom = "x"\n', problems)
        assert bool(problems) == wrong, count
