"""Tables of tensors: how a line reads, and that no two tables say different things of one tensor."""

from __future__ import annotations

import pytest

from modelbuild.checkpoint import architectures, loadable, structure, tables
from modelbuild.checkpoint.file_model import FileModel
from modelbuild.checkpoint.tables import Line, lines


def test_how_lines_read() -> None:
    table = """
        token_embd           embd vocab
        output?              embd vocab
        dense blk.N.ffn_up   embd 2*ff
        rope_freqs?          rot/2
    """
    assert lines(table) == (
        Line("", "token_embd", False, ("embd", "vocab")),
        Line("", "output", True, ("embd", "vocab")),
        Line("dense", "blk.N.ffn_up", False, ("embd", "2*ff")),
        Line("", "rope_freqs", True, ("rot/2",)),
    )


@pytest.mark.parametrize("text", ["output", "output? ? embd", "output embd, vocab"])
def test_what_is_no_line(text: str) -> None:
    with pytest.raises(AssertionError):
        lines(text)


def tabled() -> list[type[architectures.Architecture]]:
    return [each for each in architectures.known() if each.LOADS]


@pytest.mark.parametrize("architecture", tabled(), ids=lambda each: each.__name__)
def test_every_word_has_a_meaning(architecture: type[architectures.Architecture]) -> None:
    sizes = FileModel(architecture.NAME, {}).dimensions()
    for line in lines(architecture.LOADS):
        for word in line.dimensions:
            assert loadable._size(word, sizes) == (word in ("1", "labels"))
            assert word in tables.SAID


def plain(words: tuple[str, ...], free_heads: bool) -> tuple[str, ...]:
    """Words of either table as they are the same in a simple model: one size of heads, one of what is fed forward."""
    same = {"values": "keys", "2*ff": "ff", "up": "ff", "ff_exp": "ff", "3*embd": "qkv"} | (
        {} if free_heads else {"queries": "embd"}
    )
    return tuple(same.get(word, word) for word in words)


@pytest.mark.parametrize("architecture", tabled(), ids=lambda each: each.__name__)
def test_a_configuration_expects_what_the_runtime_loads(architecture: type[architectures.Architecture]) -> None:
    expected: dict[str, set[tuple[str, ...]]] = {}
    own = lines(architecture.SHAPES)
    others = {line.name for line in own}
    for line in (*own, *(line for line in structure._SHAPES if line.name not in others)):
        words = plain(line.dimensions, architecture.FREE_HEADS)
        expected.setdefault(line.name, set()).add(words)
        expected.setdefault(f"{line.name}.bias", set()).add(words if "norm" in line.name else words[1:])
    for line in lines(architecture.LOADS):
        words = plain(line.dimensions, architecture.FREE_HEADS)
        if line.name == "blk.N.qkv":
            queries = next((each.dimensions[1] for each in own if each.name == "blk.N.attn_q"), "queries")
            assert words == plain((queries, "keys", "keys"), architecture.FREE_HEADS)
        elif not line.name.startswith("rope_"):  # constants, which no checkpoint holds
            assert words in expected[line.name], line
