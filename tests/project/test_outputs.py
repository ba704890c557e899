"""`output`: where files go, and that no two variants share one."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.ollama.name import Name
from modelbuild.project.outputs import file_name, one_gguf, path_of
from tests.projects import complaint, load

ROWS = '[model.m]\nfrom = "./x"\noutput = "{}"\n[model.m.matrix]\nquantize = ["q8_0", "q4_0"]\n'


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("d/${matrix.quantize}.gguf", ["d/q8_0.gguf", "d/q4_0.gguf"]),
        ("d/", ["d/m-q8_0.gguf", "d/m-q4_0.gguf"]),
        ("", [None, None]),
    ],
)
def test_a_file_a_row(tmp_path: Path, output: str, expected: list[str | None]) -> None:
    found = [path_of(each) for each in load(tmp_path, ROWS.format(output)).variants]
    assert found == [path and str(tmp_path / path) for path in expected]


def test_defaults_may_say_a_folder_and_extends_copies_none(tmp_path: Path) -> None:
    toml = '[defaults]\noutput = "d/"\n[model.a]\nfrom = "./x"\noutput = "a.gguf"\n[model.b]\nextends = "a"\n'
    assert [path_of(each) for each in load(tmp_path, toml).variants] == [
        str(tmp_path / "a.gguf"),
        str(tmp_path / "d/b.gguf"),
    ]


@pytest.mark.parametrize(
    ("toml", "said", "hint"),
    [
        (ROWS.format("m.gguf"), "'m:q8_0' and 'm:q4_0' would both be written to 'm.gguf'", "${matrix.quantize}"),
        (
            '[model.a]\nfrom = "./x"\noutput = "M.gguf"\n[model.b]\nfrom = "./x"\noutput = "./m.gguf"\n',
            "'a' and 'b' would both be written to 'm.gguf'",
            "another `output`",
        ),
        (
            '[model.a]\nfrom = "./x.gguf"\noutput = "sub/../x.gguf"\n',
            "'x.gguf' cannot be an output: 'a' is built from it",
            "name another file",
        ),
        (ROWS.format("${matrix.quantize}"), "ends in '.gguf', or in '/' for a folder, got 'q8_0'", ""),
    ],
)
def test_what_cannot_be(tmp_path: Path, toml: str, said: str, hint: str) -> None:
    told = complaint(tmp_path, toml)
    assert said in told and hint in told
    assert "ModelBuild.toml:" in told
    assert not load(tmp_path, toml).variants, "neither is right"


def test_what_files_are_called() -> None:
    assert file_name(Name.parse("acme/chat")) == "chat"
    assert file_name(Name.parse("chat:q4_K_M")) == "chat-q4_K_M"


def test_one_file_is_one_gguf() -> None:
    one_gguf("m", ["model", "template", "system"])
    with pytest.raises(Error, match="'m' has an adapter and a draft besides its model"):
        one_gguf("m", ["model", "adapter", "draft", "adapter"])
    with pytest.raises(Error, match="no model file of its own"):
        one_gguf("m", ["system"])
