"""What is broken, what it stops, and how that is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.project.broken import Broken, told
from modelbuild.project.project import Project
from tests.projects import FROM, complaint, labels, load


def found(loaded: Project) -> dict[str, list[str]]:
    """label -> the places of its errors"""
    return {each.label: [error.place for error in each.errors] for each in loaded.broken}


GOOD = '[model.good]\nfrom = "./x"\n'


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ('[model.bad]\nfrm = "./x"\n', {"bad": ["ModelBuild.toml:4:1"]}),
        ('[model.bad]\nfrom = "./x"\nquantize = "q9"\n', {"bad": ["ModelBuild.toml:5:12"]}),
        ("model.bad = 3\n", {}),
        ('[model."a b"]\nfrom = "./x"\n', {"a b": ["ModelBuild.toml:3:8"]}),
        ('[model.bad]\nfrom = "${nope}"\n', {"bad": ["ModelBuild.toml:4:8"]}),
        ('[model.bad]\nextends = "nope"\n', {"bad": ["ModelBuild.toml:4:11"]}),
        ('[model.bad]\nmodelfile = "nope"\n', {"bad": ["ModelBuild.toml:4:13"]}),
        ('[model.bad]\nfrom = "./x"\nsystem = { file = "nope" }\n', {"bad": ["ModelBuild.toml:5:19"]}),
        ('[model."b*"]\nsystm = 1\n[model.bad]\nfrom = "x"\n[model.bed]\nfrom = "x"\n',
         {"bad": ["ModelBuild.toml:4:1"], "bed": ["ModelBuild.toml:4:1"]}),
        ('[model."x*"]\nsystm = 1\n', {'[model."x*"]': ["ModelBuild.toml:4:1"]}),
        ('[ftype.m]\nbase = "q9"\n', {"[ftype.m]": ["ModelBuild.toml:4:8"]}),
        ('[ftype.m]\nbase = "q9"\n[model.bad]\nfrom = "./x"\nquantize = "m"\n', {"bad": ["ModelBuild.toml:4:8"]}),
        ('[ftype]\nm = 3\n[model.bad]\nfrom = "./x"\nquantize = "m"\n', {"bad": ["ModelBuild.toml:4:5"]}),
        ('[group]\ng = ["good", "nope"]\n', {"[group.g]": ["ModelBuild.toml:4:14"]}),
        ("[group]\ng = 3\n", {"[group.g]": ["ModelBuild.toml:4:5"]}),
        ('[group]\na = ["b"]\nb = ["a"]\n', {"[group.a]": ["ModelBuild.toml:4:1"], "[group.b]": ["ModelBuild.toml:4:1"]}),
        ('[model.bad]\nfrom = "./x"\nname = "Good"\n', {"good": ["ModelBuild.toml:5:8"], "bad": ["ModelBuild.toml:5:8"]}),
        ('[model.bad]\nfrom = "./x"\nmatrix.system = { a = "1", b = { file = "nope" } }\n', {"bad:b": ["ModelBuild.toml:5:41"]}),
    ],
)  # fmt: skip
def test_a_fault_stops_what_it_concerns_and_nothing_else(
    tmp_path: Path, toml: str, expected: dict[str, list[str]]
) -> None:
    if not expected:
        toml, expected = "[model]\nbad = 3\n" + GOOD, {"bad": ["ModelBuild.toml:2:7"]}
        loaded = load(tmp_path, toml)
    else:
        loaded = load(tmp_path, GOOD + toml)
    assert {label: [place.split(": ")[0] for place in places] for label, places in found(loaded).items()} == expected
    assert all(each.label not in expected for each in loaded.variants)
    assert ("good" in labels(loaded, "good")) == ("good" not in expected)
    assert complaint(tmp_path, (tmp_path / "ModelBuild.toml").read_text()).startswith("error: ModelBuild.toml:")


@pytest.mark.parametrize(
    "toml",
    [
        '[defaults]\nsystm = "x"\n', '[project]\nnmae = "x"\n', "[vars]\nx = [1]\n", '[vars]\nx = "${y}"\n', "[nope]\n",
        '[project]\ndefault = ["nope"]\n',
    ],
)  # fmt: skip
def test_what_concerns_everything_is_an_error_of_the_project(tmp_path: Path, toml: str) -> None:
    assert complaint(tmp_path, GOOD + "[model.bad]\nfrm = 1\n" + toml).count("error: ") == 2


def test_modelfiles_break_the_models_that_name_them(tmp_path: Path) -> None:
    toml = (
        '[project]\nmodelfiles = ["*/Modelfile"]\n[model.a]\nmodelfile = "b.txt"\n[model.b]\nextends = "a"\ntag = "x"\n'
    )
    files = {
        "b.txt": "FORM x\n",
        "one/Modelfile": FROM,
        "t w/Modelfile": FROM,
        "three/Modelfile": "FROM ./x\nPARAMETER nope 1\n",
    }
    loaded = load(tmp_path, toml, files)
    assert found(loaded) == {
        "a": ["b.txt:1:1"], "b": ["b.txt:1:1"], "three": ["three/Modelfile:2:11"], "./t w/Modelfile": ["t w/Modelfile"],
    }  # fmt: skip
    assert [each.label for each in loaded.variants] == ["one"]


def test_broken_models_keep_their_words_and_those_of_unknown_rows_every_word(tmp_path: Path) -> None:
    toml = (
        GOOD + '[model.row]\nname = "me/row"\nquantize = "q9"\nfrom = "./x"\n'
        '[model.all]\nfrm = "x"\nmatrix.quantize = ["q8_0", "f16"]\n[group]\ng = ["good", "row", "all:q8_0"]\n'
    )
    loaded = load(tmp_path, toml)
    words = loaded.targets.words
    for target, expected in (
        ("row", {"row"}), ("me/row", {"row"}), ("r*", {"row"}), ("all", {"all"}), ("all:f16", {"all"}), ("good:x", None),
        ("g", {"good", "row", "all"}),
    ):  # fmt: skip
        assert words.resolve(target) == expected, target
    assert list(words.default) == ["good", "row", "all"]
    assert [[each.label for each in loaded.candidates(text)] for text in ("me/row", "all:q8_0", "nope")] == [
        ["row"], ["all"], [],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('frm = 1\nname = "acme/chat"\nmatrix.quantize = ["q8_0", "f16"]\n', ["acme/chat", "acme/chat:q8_0", "chat:f16", "chat:x"]),
        ('extends = "nope"\nname = "${who}/chat"\n', ["acme/chat", "acme/chat:latest", "chat"]),
        ('tag = "a b"\nname = "acme/chat"\n', ["acme/chat", "acme/chat:x", "chat:latest"]),
        ('matrix.quantize = ["q9"]\nname = "acme/chat"\n', ["acme/chat", "acme/chat:q9", "chat:q9"]),
    ],
)  # fmt: skip
def test_no_from_passes_by_a_broken_model_to_what_was_built_of_it_before(
    tmp_path: Path, table: str, words: list[str]
) -> None:
    toml = f'[vars]\nwho = "acme"\n[model.chat]\nfrom = "./x"\n{table}'.replace('from = "./x"\nextends', "extends")
    loaded = load(tmp_path, toml)
    assert [each.names for each in loaded.broken] == [None]
    for word in words:
        assert [each.label for each in loaded.candidates(word)] == ["chat"], word
        assert loaded.targets.words.resolve(word) == {"chat"}, word
    assert not loaded.candidates("other/chat")


def test_a_fault_is_told_once_with_all_that_it_stops() -> None:
    one, two = Error("one", path="a", line=1), Error("two", path="b")
    again = Error("one", path="a", line=1)
    errors = told([Broken("a", "a:x", [one]), Broken("a", "a:y", [again, two]), Broken("", "[group.g]", [two])])
    assert [str(error) for error in errors] == ["error: a:1: one\n  used by  'a:x', 'a:y'", "error: b: two"]
