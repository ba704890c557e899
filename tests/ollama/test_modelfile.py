"""Modelfiles: what Ollama accepts means the same here, what it walks into is said, and what is printed reads back."""

from __future__ import annotations

import os
import pwd
import re
import struct
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbuild.errors import Error, render
from modelbuild.ollama import modelfile
from modelbuild.ollama.modelfile import Command, expand, float32, looks_like_path, parse
from modelbuild.ollama.modelfile import render as printed

ROOT = Path(__file__).parents[2]
REAL = ROOT / "../shared/data/modelfiles"
GOLDEN = ROOT / "tests/golden/modelfile"

Read = list[tuple[str, str, str]]


def commands(text: str | bytes) -> Read:
    return [(each.name, each.key, each.value) for each in parse(text, "Modelfile").commands]


def real_modelfiles() -> list[Path]:
    if not REAL.is_dir():
        pytest.skip("no ../shared/data/modelfiles beside the repository")
    return sorted(REAL.iterdir())


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
    ("53", "FROM foo\nPARAMETER num-ctx 1", "parameter name 'num-ctx' holds '-', expected letters, digits and '_'"),
    ("54", "FROM foo\nMESSAGE User hi", "unknown role 'User'"),
    ("UTF-16 without a mark", "FROM foo".encode("utf-16-le"), "invisible character U+0000 (NUL) where an instruction"),
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


# What a Modelfile asks for


def test_parameters_have_the_types_of_ollama() -> None:
    read = parse("FROM test\nPARAMETER temperature 0.5\nPARAMETER top_k 1", "Modelfile")
    assert read.parameters == {"temperature": 0.5, "top_k": 1}
    assert [type(each) for each in read.parameters.values()] == [float, int]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("num_ctx", "+4096", 4096),
        ("num_predict", "-1", -1),
        ("seed", "007", 7),
        ("seed", "9007199254740993", 9007199254740992),
        ("seed", "-1234567890123456789", -1234567890123456800),
        ("temperature", "1", 1.0),
        ("temperature", "0.123456789", 0.12345679),
        ("temperature", ".5", 0.5),
        ("temperature", "5.", 5.0),
        ("temperature", "1e-7", 1e-07),
        ("temperature", "1_0.5", 10.5),
        ("temperature", "0x1p-2", 0.25),
        ("temperature", "1e-60", 0.0),
        ("top_p", "0.7", 0.7),
        ("use_mmap", "T", True),
        ("use_mmap", "False", False),
        ("use_mmap", "0", False),
        ("stop", "", [""]),
    ],
)
def test_a_parameter_is_read_as_go_reads_it(name: str, text: str, value: Any) -> None:
    read = parse(f'FROM x\nPARAMETER {name} "{text}"', "Modelfile")
    assert not read.errors
    assert read.parameters == {name: value}
    assert type(read.parameters[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("num_ctx", "4k"), ("num_ctx", "1.0"), ("num_ctx", "0x10"), ("num_ctx", "1_000"), ("num_ctx", "٣"),
        ("num_ctx", "9223372036854775808"), ("num_ctx", ""), ("num_ctx", "9" * 5000), ("temperature", "1e39"),
        ("temperature", "inf"), ("temperature", "-Infinity"), ("temperature", "NaN"), ("temperature", "0x1"),
        ("temperature", "1__0"), ("temperature", "e5"), ("temperature", "."), ("temperature", ""),
        ("temperature", "0x1p99999"), ("use_mmap", "yes"), ("use_mmap", "tRUE"),
    ],
)  # fmt: skip
def test_a_parameter_that_go_cannot_read_is_an_error(name: str, text: str) -> None:
    read = parse(f'FROM x\nPARAMETER {name} "{text}"', "Modelfile")
    assert len(read.errors) == 1
    assert read.parameters == {}


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [("temperature", 1, 1.0), ("temperature", 0.2, 0.2), ("stop", "a", ["a"]), ("stop", ["a", "b"], ["a", "b"]),
     ("use_mmap", True, True), ("num_ctx", 8192, 8192), ("num_ctx", "8192", 8192)],
)  # fmt: skip
def test_a_value_of_toml_becomes_the_same(name: str, value: object, stored: object) -> None:
    assert modelfile.parameter(name, value) == stored


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_ctx", True), ("num_ctx", 1.5), ("num_ctx", 1 << 63), ("temperature", True), ("temperature", float("nan")),
     ("temperature", 10**400), ("use_mmap", 1), ("use_mmap", [1]), ("stop", [1]), ("stop", 1), ("temperature", [1])],
)  # fmt: skip
def test_a_value_of_toml_of_the_wrong_type_is_an_error(name: str, value: object) -> None:
    with pytest.raises(Error, match=f"parameter '{name}' expects"):
        modelfile.parameter(name, value)


@settings(deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_float32_is_the_shortest_decimal(value: float) -> None:
    numpy = pytest.importorskip("numpy")
    assert float32(value) == float(str(numpy.float32(value)))
    assert struct.pack("<f", float32(value)) == struct.pack("<f", value)


def test_float32_is_the_shortest_decimal_at_powers_of_two() -> None:
    numpy = pytest.importorskip("numpy")
    for power in range(-149, 128):
        assert float32(2.0**power) == float(str(numpy.float32(2.0**power))), power


def test_lists_add_up_and_of_scalars_the_last_counts() -> None:
    read = parse(
        "FROM a\nFROM b\nADAPTER c\nDRAFT d\nLICENSE a\nLICENSE b\nMESSAGE user q: r\nMESSAGE assistant\ts\n"
        "SYSTEM x\nSYSTEM y\nTEMPLATE t\nRENDERER r\nPARSER p\nREQUIRES v0.14.0-rc1\nPARAMETER stop a\nPARAMETER stop b\n"
        "PARAMETER top_k 1\nPARAMETER top_k 2\nPARAMETER mirostat 1",
        "Modelfile",
    )
    assert not read.errors
    assert [each.value for each in read.from_] == ["a", "b"]
    assert [each.value for each in read.adapters] == ["c"]
    assert [each.value for each in read.drafts] == ["d"]
    assert read.licenses == ("a", "b")
    assert read.messages == (("user", "q: r"), ("assistant", "s"))
    assert (read.system, read.template, read.renderer, read.parser, read.requires) == ("y", "t", "r", "p", "0.14.0-rc1")
    assert read.parameters == {"stop": ["a", "b"], "top_k": 2}
    assert len(read.warnings) == 3


def test_an_empty_scalar_counts_as_not_given() -> None:
    read = parse('FROM a\nSYSTEM x\nSYSTEM ""\nTEMPLATE ""\nRENDERER ""\n', "Modelfile")
    assert (read.system, read.template, read.renderer) == (None, None, None)


@pytest.mark.parametrize("text", ["0.14", "1", "v0.14.0-rc1", "0.14.0+build.7", "0.1.0-a-b.0"])
def test_a_version_is_what_go_takes_for_one(text: str) -> None:
    assert modelfile.version(text) == text.removeprefix("v")


@pytest.mark.parametrize(
    "text", ["", "v", "0.14.0.1", "01.2", "1.2-rc1", "1.2.3-01", "1.2.3-", "latest", "vv1", "1.2.3 "]
)
def test_another_version_is_an_error(text: str) -> None:
    with pytest.raises(Error, match="REQUIRES expects a version"):
        modelfile.version(text)


def test_a_command_knows_its_place() -> None:
    read = parse('\n# c\n  SYSTEM   """\nx"""\r\nPARAMETER stop "y"\rFROM\tz', "Modelfile")
    places = [(each.line, each.column, each.value_column) for each in read.commands]
    assert places == [(3, 3, 15), (5, 1, 17), (6, 1, 6)]
    error = read.error(read.commands[2], "no such file 'z'", hint="h")
    assert render(error) == "error: Modelfile:6:6: no such file 'z'\n  6 | FROM\tz\n    |     \t^\n  hint  h"


def test_places_count_dropped_characters() -> None:
    read = parse("# \u200b\nFROM a\nSYSTEM \u200b\u200bb\nPARAMETER top_k x\u200b1", "Modelfile")
    assert [(each.line, each.column, each.value_column) for each in read.commands] == [
        (2, 1, 6),
        (3, 1, 10),
        (4, 1, 17),
    ]
    assert [(each.line, each.column) for each in read.warnings] == [(3, 8), (4, 18)]


def test_errors_show_no_control_characters() -> None:
    with pytest.raises(Error) as caught:
        parse("FROM x\nFOO \x1b[31m", "Modelfile")
    assert "\x1b" not in render(caught.value)


def test_the_dropped_characters_are_those_that_unicode_calls_unprintable() -> None:
    for code in range(0x110000):
        char = chr(code)
        category = unicodedata.category(char)
        if category == "Cn" or char in " \t\r\n":
            continue
        unprintable = category in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs")
        assert bool(re.match(modelfile._DROPPED, char)) is unprintable, f"U+{code:04X}"


# Faults and traps, as they are shown

FAULTS = {
    "unknown_instruction": "FORM llama3\n",
    "unknown_instruction_after_unquoted_text": "FROM x\nSYSTEM You are a helpful\nassistant who explains.\n",
    "unknown_instruction_after_inner_quotes": 'FROM x\nSYSTEM "Say\n"hello"\nand go on."\n',
    "unknown_instruction_after_inner_triple_quotes": 'FROM x\nSYSTEM """Python:\ndef f():\n  """\n  Sum."""\n',
    "comment_with_slashes": "FROM x\n// the prompt\n",
    "no_space": "FROM: llama3\n",
    "no_value": "FROM x\nSYSTEM\nPARAMETER top_k 1\n",
    "no_value_at_the_end": "FROM",
    "no_from": "SYSTEM hello\n",
    "empty_file": "",
    "parameter_alone": "FROM x\nPARAMETER\n",
    "parameter_without_name": "FROM x\nPARAMETER \n",
    "parameter_without_value": "FROM x\nPARAMETER num_ctx\n",
    "parameter_with_a_hyphen": "FROM x\nPARAMETER num-ctx 4096\n",
    "parameter_with_equals": "FROM x\nPARAMETER temperature=0.7\n",
    "parameter_after_two_spaces": "FROM x\nPARAMETER  num_ctx 4096\n",
    "parameter_that_is_an_instruction": "FROM x\nPARAMETER system You are kind.\n",
    "parameter_model": "PARAMETER model llama3\n",
    "parameter_unknown": "FROM x\nPARAMETER temprature 0.7\n",
    "parameter_gone": "FROM x\nPARAMETER tfs_z 1.0\n",
    "parameter_deprecated": "FROM x\nPARAMETER mirostat 2\n",
    "parameter_no_number": "FROM x\n\nPARAMETER temperature warm\n",
    "parameter_no_int": "FROM x\nPARAMETER num_ctx 4096.5\n",
    "parameter_int_too_large": "FROM x\nPARAMETER seed 9223372036854775808\n",
    "parameter_int_rounded": "FROM x\nPARAMETER seed 9007199254740993\n",
    "parameter_no_bool": "FROM x\nPARAMETER use_mmap yes\n",
    "parameter_infinite": "FROM x\nPARAMETER temperature inf\n",
    "parameter_too_large_for_float32": "FROM x\nPARAMETER temperature 1e39\n",
    "parameter_with_a_comment": "FROM x\nPARAMETER temperature 0.7 # warm\n",
    "parameter_twice": "FROM x\nPARAMETER top_k 10\nPARAMETER top_k 20\n",
    "stop_with_an_escape": 'FROM x\nPARAMETER stop "\\nUser:"\n',
    "stop_in_single_quotes": "FROM x\nPARAMETER stop '<|im_end|>'\n",
    "message_unknown_role": "FROM x\nMESSAGE assisstant hi\n",
    "message_role_in_capitals": "FROM x\nMESSAGE User hi\n",
    "message_role_with_a_colon": "FROM x\nMESSAGE user: hi\n",
    "message_after_two_spaces": "FROM x\nMESSAGE  user hi\n",
    "message_without_text": "FROM x\nMESSAGE user\n",
    "message_alone": "FROM x\nMESSAGE\n",
    "message_without_role": "FROM x\nMESSAGE \n",
    "quote_never_closed": 'FROM x\nSYSTEM "You are kind.\nPARAMETER top_k 1\n',
    "triple_quote_never_closed": 'FROM x\nTEMPLATE """{{ .Prompt }}\nPARAMETER top_k 1\n',
    "triple_quote_closed_by_two": 'FROM x\nSYSTEM """You are kind.""\n',
    "text_after_the_closing_quotes": 'FROM x\nSYSTEM """You are kind.""" # and short\nPARAMETER top_k 1\n',
    "stray_quote_swallows_a_line": 'FROM x\nSYSTEM "You are kind.\nPARAMETER stop "<|im_end|>"\n',
    "stray_quote_swallows_a_template": 'FROM x\nSYSTEM "You are kind.\nTEMPLATE """\n{{ .Prompt }}\n"""\n',
    "stray_quote_swallows_several_lines": 'FROM x\nSYSTEM "kind\nparameter top_k 1\nMESSAGE user say "hi"\n',
    "triple_quote_swallows_a_line": 'FROM x\nSYSTEM """You are kind.\nTEMPLATE """{{ .Prompt }}"""\n',
    "quoted_text_holds_a_command": 'FROM x\nSYSTEM "Write a Dockerfile:\nFROM nginx\nand no more."\n',
    "template_unclosed_action": "FROM x\nTEMPLATE {{ .System }} {{ .Prompt }\n",
    "template_without_end": 'FROM x\nTEMPLATE """{{ if .System }}{{ .System }}\n{{ .Prompt }}"""\n',
    "template_with_one_end_too_many": 'FROM x\nTEMPLATE """\n{{ .Prompt }}\n  {{ end }}\n"""\n',
    "template_unknown_function": "FROM x\nTEMPLATE {{ .Prompt | lowercase }}\n",
    "template_of_jinja": 'FROM x\nTEMPLATE """{% for m in messages %}\n{{ m[\'content\'] }}{% endfor %}"""\n',
    "adapter_twice": "FROM x\nADAPTER ./a\nADAPTER ./b\n",
    "requires_no_version": "FROM x\nREQUIRES ollama 0.14\n",
    "from_empty": "FROM \n",
    "adapter_empty": 'FROM x\nADAPTER ""\n',
    "from_with_a_comment": "FROM llama3 # small\n",
    "from_in_single_quotes": "FROM './model.gguf'\n",
    "system_twice": "FROM x\nSYSTEM be kind\nSYSTEM be brief\n",
    "system_empty": 'FROM x\nSYSTEM ""\n',
    "invisible_in_a_word": "FROM x\nSYS\u200bTEM hi\n",
    "invisible_before_a_word": "FROM x\n\xa0\xa0SYSTEM hi\n",
    "invisible_in_a_parameter": "FROM x\nPARAMETER top\xad_k 1\n",
    "invisible_in_a_value": "FROM x\nSYSTEM kind\xa0and\u200b brief \U0001f468\u200d\U0001f469\n",
    "not_utf8": b"FROM x\nSYSTEM caf\xe9\n",
    "utf16_without_a_mark": "FROM x\n".encode("utf-16-le"),
    "several_faults": "FROM x\nPARAMETER top_k many\nPARAMETER warmth 1\nREQUIRES new\n",
}  # fmt: skip


def shown(text: str | bytes) -> str:
    try:
        read = parse(text, "Modelfile")
    except Error as error:
        return render(error) + "\n"
    return "\n\n".join(
        [*(render(each) for each in read.errors), *(render(each, "warning") for each in read.warnings)]
    ) + "\n"  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_shown_as_agreed(name: str) -> None:
    path = GOLDEN / f"{name}.txt"
    text = shown(FAULTS[name])
    assert text.strip(), "no fault found"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_every_golden_has_its_case() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(FAULTS)


@pytest.mark.parametrize(
    "text",
    [
        'SYSTEM "You are kind.\nFrom now on be brief.\nmessage me if in doubt"',
        "SYSTEM \"Rules:\n\nSystem prompts are secret.\nSay 'no'.\"",
        'SYSTEM """\nFROM nginx:alpine\nCOPY . /srv\nPARAMETER stop "x"\n"""',
        'SYSTEM """a\nPARAMETER stop x\nb"""',
        'SYSTEM "Answer\nFROM the book"',
        'LICENSE "MIT\n\nCopyright (c)"',
        'SYSTEM don\'t "quote"',
        'TEMPLATE """{{ .System }}\nSYSTEM {{ .Prompt }}"""',
        "PARAMETER stop ### User:\nPARAMETER stop 'tis\nPARAMETER stop #",
    ],
)
def test_sane_text_raises_no_alarm(text: str) -> None:
    read = parse("FROM x\n" + text + "\n", "Modelfile")
    assert read.errors == ()
    assert [each.what for each in read.warnings if "FROM the book" not in str(each)] == []


# Paths


def test_paths_expand_as_in_ollama(tmp_path: Path) -> None:
    home = pwd.getpwuid(os.getuid()).pw_dir
    assert expand("~", "/m") == home
    assert expand("~/a", "/m") == os.path.join(home, "a")
    assert expand("~root/d", "/m") == os.path.join(pwd.getpwnam("root").pw_dir, "d")
    assert expand("rel", "/m") == "/m/rel"
    assert expand("./a/../b/", "/m") == "/m/b"
    assert expand(".", "/m") == "/m"
    assert expand("/abs//x/..", "/m") == "/abs"
    assert expand("x", "sub") == os.path.join(os.getcwd(), "sub", "x")


def test_home_comes_from_the_list_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/elsewhere")
    assert expand("~/a", "/m") == os.path.join(pwd.getpwuid(os.getuid()).pw_dir, "a")


def test_an_unknown_user_is_an_error() -> None:
    with pytest.raises(Error, match="no user 'nobody-of-that-name'"):
        expand("~nobody-of-that-name/f", "/m")


@pytest.mark.parametrize(
    "text",
    ["./missing.gguf", "../x", "/models/x", "~/x", "~", ".", "model.gguf", "weights/model.Q4_K_M.gguf", "a/b/c/d",
     "C:\\models\\x", "C:/models", "models\\x", "base/model.safetensors"],
)  # fmt: skip
def test_looks_like_a_path(text: str) -> None:
    assert looks_like_path(text)


@pytest.mark.parametrize(
    "text",
    ["llama3", "llama3:8b", "user/model", "hf.co/user/repo-GGUF", "hf.co/user/repo-GGUF:repo.Q4_K_M.gguf",
     "hf.co/user/repo.gguf", "localhost:5000/ns/m", "host/ns/m:tag", "hg://a/b/c/d", "support-q4_k_m", ""],
)  # fmt: skip
def test_looks_like_a_name(text: str) -> None:
    assert not looks_like_path(text)


# Printing


def printable(text: str) -> bool:
    return not re.search(modelfile._DROPPED, text)


values = st.text(st.sampled_from("ab\"' \t\n\r#\\é"), max_size=12) | st.text(max_size=20).filter(printable)
PLAIN = [name for name in modelfile.INSTRUCTIONS if name not in ("parameter", "message")]
anything = st.one_of(
    st.builds(Command, st.sampled_from(PLAIN), values, st.just("")),
    st.builds(Command, st.just("parameter"), values, st.from_regex("[A-Za-z0-9_]*", fullmatch=True)),
    st.builds(Command, st.just("message"), values, st.sampled_from(modelfile.ROLES)),
)


def same(left: tuple[Command, ...] | list[Command]) -> Read:
    return [(each.name, each.key, each.value) for each in left]


@settings(deadline=None)
@given(st.lists(anything, max_size=5).map(lambda lines: [Command("from", "x"), *lines]))
def test_what_is_printed_reads_back(lines: list[Command]) -> None:
    try:
        text = printed(lines)
    except Error as error:
        assert error.what.startswith("no Modelfile can hold a line that ends in")
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
        (Command("system", 'a"""\nb"""\n'), "no Modelfile can hold a line that ends in"),
        (Command("system", "a\u200bb"), "no Modelfile can hold U\\+200B"),
        (Command("system", "a\x00b"), "no Modelfile can hold U\\+0000"),
        (Command("parameter", "1", "num-ctx"), "no Modelfile can name a parameter 'num-ctx'"),
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


# Speed


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
