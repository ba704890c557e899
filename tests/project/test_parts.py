"""Parts of a project: their names, what they inherit, what they may say, and what is wrong with one alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelbuild.errors import Error, Errors
from modelbuild.project.project import Project
from modelbuild.project.variant import Variant
from tests.projects import FROM, Kept, check_golden, complaint, labels, load, right, write

INCLUDE = '[project]\ninclude = ["teams/*/ModelBuild.toml"]\n'
BASE = INCLUDE + '[model.base]\nfrom = "./weights"\n'
CHAT = '[model.chat]\nfrom = "base"\n'


def parts(root: Path, own: str = BASE, files: dict[str, str] | None = None, /, **texts: str) -> Project:
    write(root, {f"teams/{name}/ModelBuild.toml": text for name, text in texts.items()})
    return right(root, own, files)


def one(project: Project, label: str) -> Variant:
    return next(each for each in project.variants if each.label == label)


def broken(project: Project) -> dict[str, list[str]]:
    return {each.label: [error.what for error in each.errors] for each in project.broken}


def names(project: Project) -> list[str]:
    return [name.display() for each in project.variants for name in each.names]


def test_models_are_named_by_their_part(tmp_path: Path) -> None:
    matrix = '[model.q]\nfrom = "base"\nmatrix.quantize = ["q8_0", "f16"]\n'
    project = parts(tmp_path, vision=CHAT, support=CHAT + matrix, ops='[project]\nname = "operations"\n' + CHAT)
    expected = ["base", "operations/chat", "support/chat", "support/q:q8_0", "support/q:f16", "vision/chat"]
    assert labels(project) == expected
    assert names(project) == [
        "base:latest", "operations/chat:latest", "support/chat:latest", "support/q:q8_0", "support/q:f16", "vision/chat:latest",
    ]  # fmt: skip


def test_a_name_gets_the_namespace_of_its_part_or_the_projects_or_the_parts_name(tmp_path: Path) -> None:
    own = BASE.replace("[project]\n", '[project]\nnamespace = "acme"\n')
    says = '[project]\nnamespace = "pictures"\n'
    named = '[model.a]\nfrom = "base"\nname = "tuned"\n[model.b]\nfrom = "base"\nname = "x/y"\n'
    project = parts(tmp_path / "a", own, vision=says + CHAT, support=CHAT)
    assert names(project) == ["acme/base:latest", "acme/chat:latest", "pictures/chat:latest"]
    assert names(parts(tmp_path / "b", vision=named)) == ["base:latest", "vision/tuned:latest", "x/y:latest"]


def test_two_parts_may_not_make_one_name(tmp_path: Path) -> None:
    own = BASE.replace("[project]\n", '[project]\nnamespace = "acme"\n')
    write(tmp_path, {"teams/a/ModelBuild.toml": CHAT, "teams/b/ModelBuild.toml": CHAT})
    check_golden("parts-one-name", complaint(tmp_path, own))


def test_a_part_inherits_defaults_globs_variables_and_mixes_and_its_own_come_on_top(tmp_path: Path) -> None:
    own = (
        BASE
        + '[vars]\nctx = 1\nwho = "us"\n[ftype.small]\nbase = "q4_K_M"\n[ftype.wide]\nbase = "q4_K_M"\n'
        + '[defaults]\nquantize = "q8_0"\nsystem = "${who}"\nparameters = { num_ctx = "${ctx}", seed = 1, top_k = 1 }\n'
        + '[model."*"]\nlicense = "L"\n[model."vision/c*"]\nparameters = { seed = 3 }\n[model."small/*"]\nquantize = "small"\n'
        + '[model.other]\nfrom = "./x"\nquantize = "wide"\n'
    )
    vision = (
        '[vars]\nctx = 2\nown = "mine"\n[defaults]\nparameters = { top_k = 2 }\n[ftype.wide]\nbase = "q6_K"\n'
        '[model."ch*"]\nparameters = { seed = 4 }\n[model.chat]\nfrom = "./w"\ntemplate = "${own}"\n'
        '[model.wide]\nfrom = "./w"\nquantize = "wide"\n'
    )
    project = parts(tmp_path, own, vision=vision, small='[model.a]\nfrom = "./w"\n')
    chat, wide = one(project, "vision/chat"), one(project, "vision/wide")
    assert chat.parameters == {"num_ctx": 2, "seed": 4, "top_k": 2}
    assert (chat.string("system"), chat.string("template"), chat.licenses, chat.quantize) == (
        "us",
        "mine",
        ("L",),
        "q8_0",
    )
    assert (wide.mix, one(project, "other").mix) == ({"base": "q6_K"}, {"base": "q4_K_M"})
    assert (one(project, "base").parameters["num_ctx"], one(project, "small/a").mix) == (1, {"base": "q4_K_M"})
    assert not project.warnings


def test_paths_start_from_the_file_that_says_them(tmp_path: Path) -> None:
    own = BASE + '[defaults]\nimatrix = "i.dat"\nquantize = "q8_0"\n[model."*"]\nsystem = { file = "s.txt" }\n'
    vision = '[defaults]\noutput = "out/"\n[model.chat]\nfrom = "./w"\ntemplate = { file = "t.txt" }\nadapters = [{ path = "a" }]\n'
    texts = {"s.txt": "S", "teams/vision/t.txt": "T", "teams/vision/M/Modelfile": "FROM ../w\n"}
    vision += '[model.m]\nmodelfile = "M/Modelfile"\n'
    project = parts(tmp_path, own, texts, vision=vision)
    chat, found = one(project, "vision/chat"), one(project, "vision/m")
    here = str(tmp_path / "teams" / "vision")
    imatrix, output = chat.file("imatrix"), chat.file("output")
    assert imatrix and output and (imatrix.path, output.path) == (str(tmp_path / "i.dat"), f"{here}/out")
    assert (chat.string("system"), chat.string("template"), chat.adapters[0].path) == ("S", "T", f"{here}/a")
    assert (chat.froms[0].folder, found.froms[0].folder) == (here, f"{here}/M")
    assert [str(chat.place(key)) for key in ("system", "template")] == [
        "ModelBuild.toml:9:1",
        "teams/vision/ModelBuild.toml:5:1",
    ]


def test_modelfiles_below_a_part_are_the_parts(tmp_path: Path) -> None:
    own = (
        '[project]\ninclude = ["teams/*/ModelBuild.toml"]\nmodelfiles = ["**/Modelfile", "teams/vision/*/Modelfile"]\n'
    )
    files = {"root/Modelfile": FROM, "teams/vision/chat/Modelfile": FROM, "teams/vision/Modelfile": FROM}
    files |= {"teams/free/Modelfile": FROM}
    project = parts(tmp_path, own, files, vision='[project]\nmodelfiles = ["**/Modelfile"]\n')
    assert labels(project) == ["root", "free", "vision/vision", "vision/chat"]
    assert [warning.what for warning in project.warnings] == [
        "project: 'teams/vision/*/Modelfile' matches only files of parts, which find their own Modelfiles"
    ]


def test_models_extend_those_of_other_parts(tmp_path: Path) -> None:
    own = BASE + '[model.tuned]\nextends = "vision/chat"\ntag = "t"\n'
    vision = (
        '[vars]\nwho = "vision"\nctx = 1\n[ftype.mine]\nbase = "q4_K_M"\n[model.plain]\nfrom = "./w"\n'
        '[model.chat]\nextends = "plain"\nquantize = "mine"\nsystem = "${who}"\nparameters = { num_ctx = "${ctx}" }\n'
    )
    support = '[vars]\nctx = 2\n[model.chat]\nextends = "vision/chat"\nlicense = { file = "l" }\n[model.b]\nextends = "base"\n'
    project = parts(tmp_path, own, {"teams/support/l": "L"}, vision=vision, support=support)
    chat, tuned = one(project, "support/chat"), one(project, "tuned")
    assert (chat.string("system"), chat.parameters, chat.mix) == ("vision", {"num_ctx": 2}, {"base": "q4_K_M"})
    assert chat.froms[0].folder == str(tmp_path / "teams" / "vision") and tuned.parameters == {"num_ctx": 1}
    assert one(project, "support/b").froms[0].folder == str(tmp_path)
    assert not project.warnings


def test_a_cycle_through_parts_and_an_unknown_model_are_told(tmp_path: Path) -> None:
    texts = {"a": '[model.x]\nextends = "b/x"\n', "b": '[model.x]\nextends = "a/x"\n[model.y]\nextends = "chatt"\n'}
    write(tmp_path, {f"teams/{name}/ModelBuild.toml": text for name, text in texts.items()})
    check_golden("parts-extends", complaint(tmp_path, BASE + '[model.chat]\nfrom = "x"\n'))


def test_from_looks_in_the_part_in_which_it_is_written(tmp_path: Path) -> None:
    own = BASE + CHAT + '[model.copy]\nextends = "vision/tuned"\n'
    vision = CHAT + '[model.tuned]\nfrom = "chat"\n[model.far]\nfrom = "support/chat"\n'
    project = parts(tmp_path, own, vision=vision, support=CHAT)

    def base(label: str) -> list[str]:
        line = one(project, label).froms[0]
        return [each.label for each in project.candidates(line.text, line.part)]

    assert base("vision/tuned") == ["vision/chat"] and base("copy") == ["vision/chat"]
    assert base("vision/chat") == ["base"] and base("vision/far") == ["support/chat"]
    assert [each.label for each in project.candidates("chat")] == ["chat"]
    assert project.misspelled("chatt", "vision") == "did you mean 'chat'?"


def test_a_part_stands_alone_without_the_project(tmp_path: Path) -> None:
    write(tmp_path, {"teams/vision/ModelBuild.toml": '[model.chat]\nfrom = "./w"\n[group]\nall = ["chat"]\n'})
    alone = load(tmp_path / "teams" / "vision")
    assert labels(alone) == ["chat"] and names(alone) == ["chat:latest"]


BROKEN: dict[str, str] = {
    "not-toml": "[model.chat\n",
    "bad-table": "[modl.chat]\n",
    "bad-variable": "[vars]\nx = [1]\n",
    "nested": '[project]\ninclude = ["*/ModelBuild.toml"]\nmodels = "m"\n',
    "bad-name": '[project]\nname = "a b"\n',
    "name-of-a-model": '[project]\nname = "base"\n',
    "name-of-a-group": '[project]\nname = "all"\n',
    "no-namespace": '[project]\nname = "a.b"\n',
    "unknown-variable": '[defaults]\nsystem = "${nope}"\n',
    "latin-1": "# \udce4\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_part_breaks_that_part_alone(tmp_path: Path, name: str) -> None:
    data = BROKEN[name].encode("utf-8", "surrogateescape")
    write(tmp_path, {"teams/bad/ModelBuild.toml": data, "teams/good/ModelBuild.toml": CHAT})
    own = BASE + '[model.user]\nfrom = "bad/chat"\n[group]\nall = ["good/chat"]\n'
    project = load(tmp_path, own)
    assert [each.label for each in project.variants] == ["base", "user", "good/chat"]
    check_golden(f"part-{name}", complaint(tmp_path, own))


def test_a_word_of_a_broken_part_means_the_part(tmp_path: Path) -> None:
    project = load(tmp_path, BASE, {"teams/bad/ModelBuild.toml": "[", "teams/good/ModelBuild.toml": CHAT})
    words = project.targets.words
    for word in ("bad", "bad/chat", "bad/chat:q8_0"):
        assert words.resolve(word) == {"bad"}
        assert [each.label for each in project.candidates(word)] == ["bad"]
    assert words.resolve("good/nothing") is None and words.within("bad").select(()) == {"bad"}
    assert next(each for each in project.broken).names is None  # so nothing of it is stale


def test_a_found_model_has_no_name_of_a_part(tmp_path: Path) -> None:
    own = BASE.replace("[project]\n", '[project]\nmodelfiles = ["m/*/Modelfile"]\n')
    project = load(tmp_path, own, {"m/vision/Modelfile": FROM, "teams/vision/ModelBuild.toml": CHAT})
    assert broken(project) == {"vision": ["model 'vision' has the name of part 'vision'"]}
    assert labels(project, "vision") == ["vision/chat"]


def test_a_part_whose_name_is_no_word_is_found_by_its_file(tmp_path: Path) -> None:
    words = load(tmp_path, BASE, {"teams/a b/ModelBuild.toml": CHAT}).targets.words
    file = "teams/a b/ModelBuild.toml"
    assert words.within(words.parts[file]).select(()) == {file}


def test_what_is_said_of_a_broken_part_is_not_unknown(tmp_path: Path) -> None:
    own = BASE + '[model."bad/*"]\nsystem = "x"\n'
    project = load(tmp_path, own, {"teams/bad/ModelBuild.toml": "["}, sets=("bad/chat.system=y",))
    assert not project.warnings and set(broken(project)) == {"bad"}


def test_a_broken_part_with_a_name_of_the_project_leaves_that_alone(tmp_path: Path) -> None:
    project = load(tmp_path, BASE, {"teams/base/ModelBuild.toml": "["})
    assert labels(project, "base") == ["base"] and set(broken(project)) == {"teams/base/ModelBuild.toml"}
    assert project.targets.words.within(project.targets.parts["teams/base/ModelBuild.toml"]).select(()) == set(
        broken(project)
    )


def test_two_parts_of_one_name_are_both_broken(tmp_path: Path) -> None:
    text = '[project]\nname = "vision"\n' + CHAT
    write(tmp_path, {f"teams/{name}/ModelBuild.toml": text for name in ("a", "b", "vision")})
    write(tmp_path, {"teams/c/ModelBuild.toml": CHAT})
    project = load(tmp_path, BASE)
    assert [each.label for each in project.variants] == ["base", "c/chat"]
    files = {f"teams/{name}/ModelBuild.toml" for name in ("a", "b", "vision")}
    assert set(broken(project)) == files == {each.model for each in project.broken}
    words = project.targets.words
    assert words.select(["vision"]) == files and words.select(["vision/chat"]) <= files
    assert words.within(words.parts["teams/a/ModelBuild.toml"]).select(()) == files
    check_golden("parts-of-one-name", complaint(tmp_path, BASE))


def test_what_has_no_effect_is_told(tmp_path: Path) -> None:
    own = (
        '[project]\ninclude = ["teams/*/ModelBuild.toml", "teams/a/ModelBuild.toml", "none/*/ModelBuild.toml", "ModelBuild.toml"]\n'
        '[vars]\nused = 1\nidle = 1\n[ftype.idle]\nbase = "q4_K_M"\n[model."a/*"]\nlicense = "x"\n[model."b/*"]\nlicense = "x"\n'
    )
    a = '[vars]\nidle2 = 1\n[ftype.idle2]\nbase = "q4_K_M"\n[model.x]\nfrom = "./x"\nsystem = "${used}"\n[model."y*"]\nlicense = "x"\n'
    check_golden(
        "parts-without-effect", complaint(tmp_path, own, {"teams/a/ModelBuild.toml": a, "teams/e/ModelBuild.toml": ""})
    )


def test_globs_that_are_refused_stop_the_project(tmp_path: Path) -> None:
    own = '[project]\ninclude = ["/x/ModelBuild.toml", "teams/*"]\n'
    check_golden("parts-globs", complaint(tmp_path, own))


@pytest.mark.parametrize(
    ("given", "label", "expected"),
    [
        ({"sets": ("vision/chat.quantize=mine",)}, "vision/chat", ("mine", "v")),
        ({"sets": ("*/chat.quantize=q8_0",)}, "vision/chat", ("q8_0", "v")),
        ({"sets": ("base.quantize=q8_0",)}, "vision/chat", (None, "v")),
        ({"vars": {"own": "w"}}, "vision/chat", (None, "w")),
    ],
)
def test_options_reach_parts(
    tmp_path: Path, given: dict[str, Any], label: str, expected: tuple[str | None, str]
) -> None:
    vision = '[vars]\nown = "v"\n[ftype.mine]\nbase = "q4_K_M"\n[model.chat]\nfrom = "./w"\nsystem = "${own}"\n'
    write(tmp_path, {"teams/vision/ModelBuild.toml": vision})
    keep = Kept()
    for _ in range(2):
        chat = one(load(tmp_path, BASE, keep=keep, **given), label)
        assert (chat.quantize, chat.string("system")) == expected


@pytest.mark.parametrize(
    "given", [{"sets": ("visio/chat.quantize=q8_0",)}, {"sets": ("chat.system=x",)}, {"vars": {"owm": "w"}}]
)
def test_options_that_reach_nothing_are_refused(tmp_path: Path, given: dict[str, Any]) -> None:
    write(tmp_path, {"teams/vision/ModelBuild.toml": '[vars]\nown = "v"\n' + CHAT + 'system = "${own}"\n'})
    with pytest.raises((Error, Errors)) as caught:
        load(tmp_path, BASE, **given)
    (error,) = caught.value.errors
    assert error.hint in ("did you mean 'vision/chat'?", "did you mean 'own'?")


def test_a_part_is_kept_by_what_it_inherits_too(tmp_path: Path) -> None:
    """What was right with a variable of the project is wrong without it."""
    keep = Kept()
    write(tmp_path, {"teams/vision/ModelBuild.toml": '[model.chat]\nfrom = "./w"\nsystem = "${who}"\n'})
    own = BASE + '[vars]\nwho = "us"\n'
    assert one(load(tmp_path, own, keep=keep), "vision/chat").string("system") == "us"
    assert "vision/chat" in broken(load(tmp_path, BASE, keep=keep))


def test_how_many_parts_a_project_includes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelbuild.project.included.PARTS", 1)
    write(tmp_path, {f"teams/{name}/ModelBuild.toml": CHAT for name in "ab"})
    with pytest.raises(Errors, match="matches 2 files, expected at most 1"):
        load(tmp_path, BASE)


def test_an_empty_include_is_warned_of(tmp_path: Path) -> None:
    (warning,) = right(tmp_path, '[project]\ninclude = []\n[model.a]\nfrom = "x"\n').warnings
    assert warning.what == "project: 'include' is empty"
