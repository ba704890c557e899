"""What is printed reads back as the same; what no Modelfile can say is an error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbuild.errors import Error
from modelbuild.ollama.modelfile import parse
from modelbuild.ollama.modelfile import render as printed
from modelbuild.ollama.modelfile.grammar import INSTRUCTIONS, ROLES, Command
from modelbuild.ollama.modelfile.source import DROPPED
from tests.at_length import examples

ROOT = Path(__file__).parents[3]


REAL = ROOT / "../shared/data/modelfiles"


def real_modelfiles() -> list[Path]:
    if not REAL.is_dir():
        pytest.skip("no ../shared/data/modelfiles beside the repository")
    return sorted(REAL.iterdir())


def printable(text: str) -> bool:
    return not re.search(DROPPED, text)


values = st.text(st.sampled_from("ab\"' \t\n\r#\\é"), max_size=12) | st.text(max_size=20).filter(printable)


PLAIN = [name for name in INSTRUCTIONS if name not in ("parameter", "message")]


anything = st.one_of(
    st.builds(Command, st.sampled_from(PLAIN), values, st.just("")),
    st.builds(Command, st.just("parameter"), values, st.from_regex("[A-Za-z0-9_]*", fullmatch=True)),
    st.builds(Command, st.just("message"), values, st.sampled_from(ROLES)),
)


def same(left: tuple[Command, ...] | list[Command]) -> list[tuple[str, str, str]]:
    return [(each.name, each.key, each.value) for each in left]


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(anything, max_size=5).map(lambda lines: [Command("from", "x"), *lines]))
def test_what_is_printed_reads_back(lines: list[Command]) -> None:
    try:
        text = printed(lines)
    except Error as error:
        assert error.what.startswith("a Modelfile cannot contain a line that ends in")
        return
    assert same(parse(text, "Modelfile").commands) == same(lines)


def test_real_modelfiles_parse_and_print_back() -> None:
    for path in real_modelfiles():
        read = parse(path.read_bytes(), str(path))
        again = parse(printed(read.commands), str(path))
        assert same(again.commands) == same(read.commands), path
        assert again._replace(text="", commands=(), from_=(), errors=(), warnings=()) == read._replace(
            text="", commands=(), from_=(), errors=(), warnings=()
        )
        # The ninth is of a fork of Ollama that takes a grammar.
        assert [each.what for each in read.errors] == (
            ["unknown parameter 'grammar'"] if path.name == "09.Modelfile" else []
        )


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (Command("system", 'a"""\nb"""\n'), "a Modelfile cannot contain a line that ends in"),
        (Command("system", "a\u200bb"), "a Modelfile cannot contain U\\+200B"),
        (Command("system", "a\x00b"), "a Modelfile cannot contain U\\+0000"),
        (Command("parameter", "1", "num-ctx"), "a Modelfile cannot name a parameter 'num-ctx'"),
        (Command("message", "hi", "tool"), "unknown role 'tool'"),
        (Command("sistem", "hi"), "no instruction 'sistem'"),
    ],
)
def test_what_no_modelfile_can_say_is_an_error(command: Command, what: str) -> None:
    with pytest.raises(Error, match=what):
        printed([Command("from", "x"), command])


def test_a_modelfile_without_from_is_not_printed() -> None:
    with pytest.raises(Error, match="no FROM"):
        printed([Command("system", "x")])
