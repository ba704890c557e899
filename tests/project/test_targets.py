"""What words mean on the command line, in groups and in FROM."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Errors
from modelbuild.project.project import Project
from tests.projects import check_golden, labels, load

TARGETS = (
    '[project]\nnamespace = "acme"\ndefault = ["chat*"]\n'
    '[model.chat]\nfrom = "x"\nmatrix.quantize = ["q8_0", "f16"]\ndefault.quantize = "f16"\n'
    '[model.chatty]\nfrom = "x"\ntags = ["v1"]\n'
    '[model.other]\nfrom = "x"\nname = "${matrix.b}-bot"\ntag = "t"\nmatrix.b = ["s", "l"]\n'
    '[group]\nall = ["inner", "other"]\ninner = ["chat:f16"]\nother = ["other", "chatty"]\nglob = ["*-bot"]\n'
)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ((), ["chat:q8_0", "chat:f16", "chatty"]),
        (("chat",), ["chat:q8_0", "chat:f16"]),
        (("chat:f16",), ["chat:f16"]),
        (("chat:latest",), ["chat:f16"]),
        (("acme/chat:q8_0",), ["chat:q8_0"]),
        (("acme/chat",), ["chat:q8_0", "chat:f16"]),
        (("registry.ollama.ai/acme/chat:q8_0",), ["chat:q8_0"]),
        (("REGISTRY.ollama.ai/acme/chatty",), ["chatty"]),
        (("chatty:v1",), ["chatty"]),
        (("other:s",), ["other:s"]),
        (("acme/s-bot:t",), ["other:s"]),
        (("other:t",), ["other:s", "other:l"]),
        (("other", "chat:f16"), ["chat:f16", "chatty", "other:s", "other:l"]),
        (("*:f16",), ["chat:f16"]),
        (("*",), ["chat:q8_0", "chat:f16", "chatty", "other:s", "other:l"]),
        (("inner",), ["chat:f16"]),
        (("all",), ["chat:f16", "chatty", "other:s", "other:l"]),
        (("glob",), ["other:s", "other:l"]),
        (("in*",), ["chat:f16"]),
    ],
)
def test_targets(tmp_path: Path, targets: tuple[str, ...], expected: list[str]) -> None:
    assert labels(load(tmp_path, TARGETS), *targets) == expected


def test_without_default_everything_is_built(tmp_path: Path) -> None:
    assert labels(load(tmp_path, '[model.a]\nfrom = "x"\n[model.b]\nfrom = "x"\n')) == ["a", "b"]


def test_default_glob_that_matches_nothing_is_a_warning(tmp_path: Path) -> None:
    loaded = load(tmp_path, '[project]\ndefault = ["b*"]\n[model.a]\nfrom = "x"\n')
    assert [warning.what for warning in loaded.warnings] == ["project: 'b*' matches nothing"]
    assert labels(loaded) == []
    with pytest.raises(Errors):
        loaded.select(["b*"])


def test_all_unknown_targets_are_said_at_once(tmp_path: Path) -> None:
    loaded = load(tmp_path, TARGETS)
    with pytest.raises(Errors) as caught:
        loaded.select(["chta", "chat", "z*"])
    check_golden("target-unknown", f"{caught.value}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chat", ["chat:f16"]),
        ("chat:q8_0", ["chat:q8_0"]),
        ("chatty", ["chatty"]),
        ("chatty:v1", ["chatty"]),
        ("other", ["other:s", "other:l"]),
        ("other:s", ["other:s"]),
        ("acme/chat", ["chat:f16"]),
        ("acme/chat:q8_0", ["chat:q8_0"]),
        ("all", []),
        ("llama3", []),
        ("chat*", []),
    ],
)
def test_from_means_a_default_row_or_offers_all(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert [each.label for each in load(tmp_path, TARGETS).candidates(text)] == expected


def test_a_near_miss_of_a_project_name_is_known(tmp_path: Path) -> None:
    loaded = load(tmp_path, TARGETS)
    assert loaded.misspelled("chatt") == "did you mean 'chatty'?"
    assert loaded.misspelled("acme/s-bto:t") == "did you mean 'acme/s-bot:t'?"
    assert loaded.misspelled("llama3") is None
    # Other numbers are another model's, not a slip.
    assert loaded.misspelled("chatty2:7b") is None


@pytest.mark.parametrize(
    ("target", "what", "rows", "hint"),
    [
        (
            "chat:q4_K_M",
            "model 'chat' has no row 'q4_K_M'",
            "q8_0, f16",
            "add it to the matrix's 'quantize'; a Modelfile or weights alone are built in it by -q q4_K_M",
        ),
        ("chat:8_0", "model 'chat' has no row '8_0'", "q8_0, f16", "did you mean 'q8_0'?"),
        ("chat:1", "model 'chat' has no row '1'", "q8_0, f16", "did you mean 'f16'?"),
        ("chat:q9", "model 'chat' has no row 'q9'", "q8_0, f16", None),
        ("chat:q8", "model 'chat' has no row 'q8'", "q8_0, f16", "did you mean 'q8_0'?"),
        ("chat:", "model 'chat' has no row ''", "q8_0, f16", None),
    ],
)
def test_an_unknown_row_lists_those_of_its_model(
    tmp_path: Path, target: str, what: str, rows: str, hint: str | None
) -> None:
    words = load(tmp_path, TARGETS).targets.words
    error = words.unknown(target)
    assert (error.what, error.facts, error.hint) == (what, (("rows", rows),), hint)


def test_a_model_without_a_matrix_has_tags_and_no_rows(tmp_path: Path) -> None:
    error = load(tmp_path, TARGETS).targets.words.unknown("chatty:v2")
    assert error.what == "model 'chatty' has no matrix, and no tag 'v2'"
    assert (error.facts, error.hint) == ((("tags", "latest, v1"),), "'chatty' means it")


def test_a_row_that_from_misspells_is_answered_with_those_there_are(tmp_path: Path) -> None:
    loaded = load(tmp_path, TARGETS)
    assert loaded.misspelled("chat:q8") == "did you mean 'chat:q8_0'?"
    assert loaded.misspelled("chat:q9") == "model 'chat' has the rows q8_0, f16"
    assert labels_of(loaded, "registry.ollama.ai/acme/chat:q8_0") == ["chat:q8_0"]


def labels_of(loaded: Project, text: str) -> list[str]:
    return [each.label for each in loaded.candidates(text)]


def test_part_of_a_row_is_answered_with_the_glob_for_all_rows_that_have_it(tmp_path: Path) -> None:
    toml = '[model.m]\nfrom = "./w"\nmatrix = { temperature = [0.1, 0.2], who = ["king", "queen"] }\nsystem = "${matrix.who}"\n'
    words = load(tmp_path, toml).targets.words
    assert words.unknown("m:king").hint == "'m:*king*' means 2 of them"
    assert words.resolve("m:*king*") == {"m:0.1-king", "m:0.2-king"}
