"""The grammar of Modelfiles: what Ollama accepts reads the same, and what it refuses is an error with its place."""

from __future__ import annotations

import time

import pytest

from modelbuild.errors import Error, render
from modelbuild.ollama.modelfile import parse

Read = list[tuple[str, str, str]]


def commands(text: str | bytes) -> Read:
    return [(each.name, each.key, each.value) for each in parse(text, "Modelfile").commands]


# The table of Ollama's own test cases, by its numbers. (39 to 44 are about files on disk, which the planner looks at.)

FROM = ("from", "", "foo")


ACCEPTED: list[tuple[str, str | bytes, Read]] = [
    ("1", 'FROM "FOO  BAR  "', [("from", "", "FOO  BAR  ")]),
    ("2", 'FROM "FOO BAR"\nPARAMETER param1 value1', [("from", "", "FOO BAR"), ("parameter", "param1", "value1")]),
    ("3", "FROM     FOOO BAR    ", [("from", "", "FOOO BAR")]),
    ("4", "FROM /what/is/the path ", [("from", "", "/what/is/the path")]),
    ("5", "FROM llama3:7b-instruct-q4_K_M", [("from", "", "llama3:7b-instruct-q4_K_M")]),
    ("8", "PARAMETER param1 value1\nFROM foo", [("parameter", "param1", "value1"), FROM]),
    ("9", "PARAMETER what the \nFROM lemons make lemonade ",
     [("parameter", "what", "the"), ("from", "", "lemons make lemonade")]),
    ("12 renderer", "FROM foo\nRENDERER renderer1", [FROM, ("renderer", "", "renderer1")]),
    ("12 parser", "FROM foo\nPARSER parser1\n", [FROM, ("parser", "", "parser1")]),
    ("12 draft", "FROM foo\nDRAFT ./assistant", [FROM, ("draft", "", "./assistant")]),
    ("13", "FROM foo\nMESSAGE system You are a file parser. Always parse things.",
     [FROM, ("message", "system", "You are a file parser. Always parse things.")]),
    ("13 line end", "FROM foo\nMESSAGE system You are a file parser. Always parse things.\n",
     [FROM, ("message", "system", "You are a file parser. Always parse things.")]),
    ("14", 'FROM foo\nMESSAGE system """\ntext\n"""\n', [FROM, ("message", "system", "\ntext\n")]),
    ("17", 'FROM foo\nSYSTEM """\na\nb\n"""\n\t\t', [FROM, ("system", "", "\na\nb\n")]),
    ("18", 'FROM foo\nSYSTEM """\na\nb"""', [FROM, ("system", "", "\na\nb")]),
    ("19", 'FROM foo\nSYSTEM """a\nb"""', [FROM, ("system", "", "a\nb")]),
    ("20", 'FROM foo\nSYSTEM """one line"""', [FROM, ("system", "", "one line")]),
    ("23", 'FROM foo\nSYSTEM """\nwith "quotes".\n"""', [FROM, ("system", "", '\nwith "quotes".\n')]),
    ("24 six", 'FROM foo\nSYSTEM """"""', [FROM, ("system", "", "")]),
    ("24 two", 'FROM foo\nSYSTEM ""', [FROM, ("system", "", "")]),
    ("25", "FROM foo\nSYSTEM \"'\"", [FROM, ("system", "", "'")]),
    ("26", 'FROM foo\nSYSTEM """\'\'"\'""\'""\'"\'\'\'\'\'""\'""\'"""',
     [FROM, ("system", "", "''\"'\"\"'\"\"'\"'''''\"\"'\"\"'")]),
    ("27", 'FROM foo\nTEMPLATE """ {{..}} """    \n', [FROM, ("template", "", " {{..}} ")]),
    ("28", 'FROM foo\nLICENSE "MIT       "', [FROM, ("license", "", "MIT       ")]),
    ("29", "FROM foo\nPARAMETER param1        value1", [FROM, ("parameter", "param1", "value1")]),
    ("30", "FROM foo\nPARAMETER stop ### User: ", [FROM, ("parameter", "stop", "### User:")]),
    ("31", 'FROM foo\nPARAMETER stop "### User: "', [FROM, ("parameter", "stop", "### User: ")]),
    ("32", 'FROM foo\nPARAMETER stop """### User:\n"""', [FROM, ("parameter", "stop", "### User:\n")]),
    ("33", "FROM foo\nPARAMETER stop <|eot_id|>", [FROM, ("parameter", "stop", "<|eot_id|>")]),
    ("34", "# comment\nFROM foo\n\t", [FROM]),
    ("35 LE", b"\xff\xfe" + "FROM foo\nSYSTEM \U0001f44b".encode("utf-16-le"), [FROM, ("system", "", "\U0001f44b")]),
    ("35 BE", b"\xfe\xff" + "FROM foo\nSYSTEM é".encode("utf-16-be"), [FROM, ("system", "", "é")]),
    ("35 UTF-8", b"\xef\xbb\xbfFROM foo", [FROM]),
    ("36", "FROM test\n\tSYSTEM 你好👋".encode(), [("from", "", "test"), ("system", "", "你好👋")]),
    ("45", "FROM\tfoo", [FROM]),
    ("47", 'FROM foo\nSYSTEM "a" b "c"', [FROM, ("system", "", 'a" b "c')]),
    ("51", 'FROM foo\nSYSTEM foo"', [FROM, ("system", "", 'foo"')]),
    ("49", 'FROM foo\nSYSTEM """a""" b\nMORE"""', [FROM, ("system", "", 'a""" b\nMORE')]),
    ("50 seven", 'FROM foo\nSYSTEM """""""', [FROM, ("system", "", '"')]),
    ("52", 'FROM foo\r\nSYSTEM """a\r\nb"""\r\n', [FROM, ("system", "", "a\r\nb")]),
    ("55", "FROM foo\nSYSTEM x # y", [FROM, ("system", "", "x # y")]),
    ("quote over lines", 'FROM foo\nSYSTEM "a\nb"\n', [FROM, ("system", "", "a\nb")]),
    ("bare CR ends a line", "FROM foo\rSYSTEM a\r", [FROM, ("system", "", "a")]),
    ("any case", "from foo\nSyStEm a", [FROM, ("system", "", "a")]),
    ("empty value", "FROM foo\nSYSTEM \nLICENSE ", [FROM, ("system", "", ""), ("license", "", "")]),
    ("no escapes", 'FROM foo\nSYSTEM "a\\n\\"b"', [FROM, ("system", "", 'a\\n\\"b')]),
    ("quotes hide blanks around them", 'FROM foo\nSYSTEM   "a" \t\n', [FROM, ("system", "", "a")]),
    ("what cannot be printed is dropped", "FROM foo\nSYSTEM \u200ba\xa0b\ufeff\x1b\n", [FROM, ("system", "", "ab")]),
    ("what is special but printed stays", "FROM foo\nSYSTEM \ufe0f｜▁", [FROM, ("system", "", "\ufe0f｜▁")]),
    ("dropped characters hide no quotes", 'FROM foo\nSYSTEM \u200b"""a\n"""\u200b\n', [FROM, ("system", "", "a\n")]),
    ("one dropped character before a word", "\u200bFROM foo", [FROM]),
    ("dropped characters in a comment", "#\xa0\u200b\nFROM foo\n  # \xa0", [FROM]),
    ("broken UTF-8", b"FROM foo\nSYSTEM a\xffb", [FROM, ("system", "", "a\ufffdb")]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "read"), [each[1:] for each in ACCEPTED], ids=[each[0] for each in ACCEPTED])
def test_what_ollama_accepts_reads_the_same(text: str | bytes, read: Read) -> None:
    assert commands(text) == read


REFUSED = [
    ("6", "", "no FROM line"),
    ("7", "PARAMETER param1 value1", "no FROM line"),
    ("10", "FROM foo\nPARAMETER param1\n", "parameter 'param1' has no value"),
    ("11", "FROM foo\nBADCOMMAND param1 value1", "unknown instruction 'BADCOMMAND'"),
    ("15", "FROM foo\nMESSAGE badguy I'm a bad guy!", "unknown role 'badguy'"),
    ("16 line end", "FROM foo\nMESSAGE system\n", "message has no text"),
    ("16", "FROM foo\nMESSAGE system", "message has no text"),
    ("21", 'FROM foo\nSYSTEM """one line""', 'the opening """ is never closed'),
    ("22", 'FROM foo\nSYSTEM "\n', 'the opening " is never closed'),
    ("46", "FROM foo\nFOO\n", "unknown instruction 'FOO'"),
    ("50 five", 'FROM foo\nSYSTEM """""', 'the opening """ is never closed'),
    ("53", "FROM foo\nPARAMETER num-ctx 1", "parameter name 'num-ctx' contains '-', expected letters, digits and '_'"),
    ("54", "FROM foo\nMESSAGE User hi", "unknown role 'User'"),
    (
        "UTF-16 without a mark",
        "FROM foo".encode("utf-16-le"),
        "invisible character U+0000 (NUL) in place of an instruction",
    ),
    ("dropped characters in a word", "FR\u200bOM foo", "invisible character U+200B (zero width space)"),
    ("dropped characters in a name", "FROM foo\nPARAMETER num\xad_ctx 1", "invisible character U+00AD (soft hyphen)"),
    ("dropped characters between lines", "FROM foo\n\xa0\n", "invisible character U+00A0 (no-break space)"),
]


@pytest.mark.parametrize(("text", "what"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED])
def test_what_ollama_refuses_is_an_error(text: str | bytes, what: str) -> None:
    with pytest.raises(Error) as caught:
        parse(text, "Modelfile")
    assert caught.value.what.startswith(what)


def test_a_fault_at_a_line_end_is_on_its_own_line_not_the_next() -> None:
    """A documented difference (case 46): Ollama says line 3."""
    with pytest.raises(Error) as caught:
        parse("FROM foo\r\nFOO\r\n", "Modelfile")
    assert (caught.value.line, caught.value.column) == (2, 1)


def test_a_swallowed_line_is_an_error() -> None:
    """A documented difference (case 48): read as Ollama reads it, and refused."""
    read = parse('FROM foo\nSYSTEM "a" b\nPARAMETER stop "x"\n', "Modelfile")
    assert read.system == 'a" b\nPARAMETER stop "x'
    assert [each.what for each in read.errors] == [
        'the opening " is not closed before line 3, which becomes part of SYSTEM'
    ]


def test_a_command_knows_its_place() -> None:
    read = parse('\n# c\n  SYSTEM   """\nx"""\r\nPARAMETER stop "y"\rFROM\tz', "Modelfile")
    places = [(each.line, each.column, each.value_column) for each in read.commands]
    assert places == [(3, 3, 15), (5, 1, 17), (6, 1, 6)]
    error = read.error(read.commands[2], "no such file 'z'", hint="h")
    assert render(error) == "error: Modelfile:6:6: no such file 'z'\n  6 | FROM\tz\n    |     \t^\n  hint  h"


def best(times: int, text: bytes) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        parse(text, "Modelfile")
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def test_twenty_kilobytes_parse_in_a_millisecond() -> None:
    text = b'FROM x\nLICENSE """' + b'some "words" of a licence\n' * 800 + b'"""\nPARAMETER top_k 1\n'
    assert best(20, text) < 0.001


def test_time_grows_with_length_not_with_its_square() -> None:
    for begin, unit, end in [
        ('FROM x\nSYSTEM "', '"     x', '\n"'),
        ('FROM x\nSYSTEM "', "\nPARAMETER stop ", '\n"'),
        ("FROM x\n", " \n#", "\n"),
        ('FROM x\nSYSTEM """', '"""    \t x\n', '"""'),
        ("FROM x\n", "#\u200b\n", ""),
        ("FROM x\nSYSTEM ", "a\u200b", ""),
    ]:
        text = (begin + unit * 30_000 + end).encode()
        assert best(1, text) < 2, unit
