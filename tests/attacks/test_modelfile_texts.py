"""Texts that were never meant to be Modelfiles, and real ones with damage: a Modelfile or an Error, never anything else."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbuild.errors import Error, render
from modelbuild.files import expand
from modelbuild.ollama.modelfile import parse
from modelbuild.ollama.modelfile import render as printed
from modelbuild.ollama.modelfile.meaning import looks_like_path
from tests.at_length import examples

REAL = Path(__file__).parents[2] / "../shared/data/modelfiles"
TOKENS = [
    "FROM ", "from x\n", "SYSTEM ", "PARAMETER ", "PARAMETER stop ", "PARAMETER num_ctx ", "1", "1e9", "\n", "\r", "\r\n",
    " ", "\t", '"', '"""', '""', '"\n', '"""\n', "MESSAGE ", "user ", "MESSAGE user ", "# c", "TEMPLATE ", "x", "\u200b",
    "\xa0", "é", ":", "model ", "\0", "LICENSE ", "ADAPTER ", "REQUIRES ", "\ud800", "\ufeff", "\U0010ffff",
]  # fmt: skip


def check(data: str | bytes) -> None:
    """What is read has sane places, can be shown, and prints back to itself."""
    try:
        read = parse(data, "Modelfile")
    except Error as error:
        assert render(error).startswith("error: Modelfile")
        return
    for fault in (*read.errors, *read.warnings):
        assert render(fault).startswith("error: Modelfile:")
        assert "\x1b" not in render(fault)
    for command in read.commands:
        assert min(command.line, command.column, command.value_column) >= 1
        looks_like_path(command.value)
        assert render(read.error(command, "x"))
    again = parse(printed(read.commands), "again")
    assert [(each.name, each.key, each.value) for each in again.commands] == [
        (each.name, each.key, each.value) for each in read.commands
    ]


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=16).map("".join))
def test_any_mix_of_tokens(text: str) -> None:
    check(text)
    check("FROM x\n" + text)


@settings(max_examples=examples(200), deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_text_and_any_bytes(data: str | bytes) -> None:
    check(data)


@cache
def real() -> list[bytes]:
    return [path.read_bytes()[:1500] for path in sorted(REAL.iterdir())] if REAL.is_dir() else []


@settings(max_examples=examples(200), deadline=None)
@given(st.data())
def test_damaged_real_modelfiles(data: st.DataObject) -> None:
    if not real():
        pytest.skip("no ../shared/data/modelfiles beside the repository")
    text = data.draw(st.sampled_from(real()))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.sampled_from([0, 0, 1, 5, 200]))
        put = data.draw(st.sampled_from(TOKENS)).encode("utf-8", "surrogatepass")
        text = text[:at] + put + text[at + cut :]
    check(text)


@settings(max_examples=examples(100), deadline=None)
@given(st.text(max_size=30).filter(lambda text: not text.startswith("~")))
def test_any_argument_expands_to_an_absolute_path_or_an_error(argument: str) -> None:
    try:
        path = expand(argument, "/folder")
    except Error:
        return
    assert path.startswith("/")


@pytest.mark.parametrize("argument", ["~\0", "~no-such-user-here", "~/..", "~root/../x", "\0"])
def test_homes_expand_or_are_an_error(argument: str) -> None:
    try:
        assert expand(argument, "/folder").startswith("/")
    except Error as error:
        assert render(error)


def test_a_gguf_file_is_no_modelfile() -> None:
    with pytest.raises(Error, match="unknown instruction|invisible character"):
        parse(b"GGUF\x03\0\0\0" + bytes(range(256)) * 20, "model.gguf")
