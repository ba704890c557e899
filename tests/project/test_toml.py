"""The text with its variables settled, and how it is kept."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from modelbuild.errors import Errors, Problems
from modelbuild.observed import Observed
from modelbuild.project import toml
from modelbuild.project.locate import Place
from modelbuild.project.overrides import Overrides, Set
from tests.projects import Kept, R, check_golden, complaint, declared, load, write


def test_variables_fill_any_string_and_keep_their_type(tmp_path: Path) -> None:
    toml = (
        '[project]\nmodels = "${out}/models"\nnamespace = "${who}"\n[model.m]\nfrom = "${base}"\nname = "m${n}"\n'
        'template = "${off}"\nparameters = { num_ctx = "${n}", temperature = "${t}", use_mmap = "${on}", stop = ["<${n}>"] }\n'
        '[vars]\nout = "${who}/out"\nwho = "me"\nbase = "./b"\nn = 8\nt = 0.5\non = true\noff = false\n'
    )
    loaded = load(tmp_path, toml)
    made = loaded.variants[0]
    assert loaded.models == str(tmp_path / "me/out/models")
    assert [name.display() for name in made.names] == ["me/m8:latest"]
    assert made.parameters == {"num_ctx": 8, "temperature": 0.5, "use_mmap": True, "stop": ["<8>"]}
    assert "template" in made.cleared
    assert made.froms[0].text == "./b"


def test_the_environment_overrides_a_variable_and_the_command_line_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = (
        R
        + 'parameters = { num_ctx = "${ctx}", seed = "${seed}" }\nsystem = "${s}"\n[vars]\nctx = 1\nseed = 1\ns = "a"\n'
    )
    monkeypatch.setenv("MODELBUILD_VAR_ctx", "2")
    monkeypatch.setenv("MODELBUILD_VAR_s", "${ctx}")
    observed = Observed()
    made = load(tmp_path, toml, observed=observed, vars={"ctx": "3"}).variants[0]
    assert made.parameters == {"num_ctx": 3, "seed": 1}
    assert made.string("system") == "${ctx}"
    assert load(tmp_path, toml).variants[0].parameters["num_ctx"] == 2
    looked_at = {subject for verb, subject, *_ in observed.looks() if verb == "env"}
    assert looked_at == {"MODELBUILD_VAR_ctx", "MODELBUILD_VAR_seed", "MODELBUILD_VAR_s"}


@pytest.mark.parametrize(("raw", "value"), [("true", True), ("False", False), ("1", True), ("0", False)])
def test_a_boolean_variable_reads_words(tmp_path: Path, raw: str, value: bool) -> None:
    toml = R + 'parameters = { use_mmap = "${on}" }\n[vars]\non = true\n'
    assert load(tmp_path, toml, vars={"on": raw}).variants[0].parameters == {"use_mmap": value}


def test_an_environment_variable_of_the_wrong_type_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELBUILD_VAR_x", "inf")
    check_golden("var-environment-type", complaint(tmp_path, "[vars]\nx = 0.5\n"))


DESIGN_LIKE = (
    '[project]\ndefault = ["chat*"]\n[model.chat]\nfrom = "x"\nmatrix.quantize = ["q8_0", "f16"]\n'
    'default.quantize = "f16"\n[model.other]\nextends = "chat"\n[group]\nall = ["chat", "other"]\n'
)


def test_a_kept_text_needs_no_pydantic_and_no_tomllib(tmp_path: Path) -> None:
    import subprocess

    write(tmp_path, {"ModelBuild.toml": DESIGN_LIKE})
    script = (
        "import sys, os, pickle\n"
        "from modelbuild.project import loader\n"
        "from modelbuild.observed import Observed\n"
        "class Kept(dict):\n"
        "    def put(self, key, value): self[key] = value\n"
        "path = sys.argv[1] + '/kept'\n"
        "kept = Kept(pickle.load(open(path, 'rb')) if os.path.exists(path) else {})\n"
        "loaded = loader.load(sys.argv[1] + '/ModelBuild.toml', observed=Observed(), keep=kept)\n"
        "pickle.dump(dict(kept), open(path, 'wb'))\n"
        "heavy = {'pydantic', 'tomllib', 'numpy', 'gguf', 'rich', 'tomli_w'} & set(sys.modules)\n"
        "print(sorted(heavy), [each.label for each in loaded.variants])\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    first, second = (
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.partition("]") for _ in range(2)
    )
    assert first[0] == "['pydantic', 'tomllib'"
    assert second[0] == "["
    assert first[2] == second[2]


def test_kept_and_fresh_projects_are_equal(tmp_path: Path) -> None:
    keep = Kept()
    toml = DESIGN_LIKE + '[model.m]\nfrom = "y"\nsystem = "${x}"\n[vars]\nx = "é\\u2028"\n'
    fresh = load(tmp_path, toml, keep=keep, sets=("m.tags=['t']",))
    assert len([key for key in keep if key.startswith("project:")]) == 1
    again = load(tmp_path, toml, keep=keep, sets=("m.tags=['t']",))
    assert declared(again) == declared(fresh)
    assert again.variants[0].place("from") == fresh.variants[0].place("from")


def test_a_text_of_which_nothing_can_be_made_is_not_kept(tmp_path: Path) -> None:
    keep = Kept()
    with pytest.raises(Errors):
        load(tmp_path, '[project]\nnmae = "x"\n[model.m]\nfrom = "x"\n', keep=keep)
    assert not any(key.startswith("project:") for key in keep)


def test_faults_of_tables_are_kept_with_the_text() -> None:
    text, keep = '[model.m]\nfrom = "x"\nquantize = "q9"\n[model.n]\nfrm = "x"\n[group]\ng = 3\n', Kept()
    fresh, again = (read(text, keep, Problems()) for _ in range(2))
    assert fresh is not None and again is not None and any(key.startswith("project:") for key in keep)
    told = [{part: [str(error) for error in errors] for part, errors in each.faults.items()} for each in (fresh, again)]
    assert told[0] == told[1] and list(told[0]) == ["n", "[group.g]", "m"]
    assert (again.document, again.malformed) == (fresh.document, fresh.malformed)


def read(text: str, keep: Kept, problems: Problems, **given: Any) -> toml.Toml | None:
    return toml.read(Place("ModelBuild.toml", text), Overrides(**given), Observed(), keep, problems)


def test_what_is_kept_is_what_was_read() -> None:
    text, sets = '[project]\nname = "${x}"\n[vars]\nx = "n"\n[model.a]\nfrom = "x"\n', ("a.system=s",)
    keep, problems = Kept(), Problems()
    fresh, again = (read(text, keep, problems, sets=sets, vars={"x": "m"}) for _ in range(2))
    assert fresh == again and not problems
    assert fresh is not None and fresh.sets == [Set("a.system=s", "a", {"system": "s"})]
    assert fresh.string(fresh.table("project"), "name", fresh.top.at("project")) == "m"


def test_nothing_more_can_be_said_of_a_text_whose_variables_are_malformed() -> None:
    for text in ("[vars]\nx = [1]\n", "[project]\nnam = 1\n"):
        problems = Problems()
        assert read(text, Kept(), problems) is None and problems


def test_a_malformed_model_is_left_out_and_named() -> None:
    problems = Problems()
    found = read('[model.a]\nfrm = 1\ntag = "t"\n[model."x y"]\nfrom = "x"\n', Kept(), problems)
    assert found is not None and found.malformed == {"a", "x y"}
    assert found.table("model")["a"] == {"tag": "t"}
    assert {part: len(errors) for part, errors in found.faults.items()} == {"a": 1, "x y": 1}
    assert not problems.errors


def test_a_key_is_found_however_deep() -> None:
    assert toml.has_key({"a": [{"b": {"modelfile": "x"}}]}, "modelfile")
    assert not toml.has_key({"a": ["modelfile", 16**5000]}, "modelfile")
