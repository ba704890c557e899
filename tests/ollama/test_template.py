"""Go templates: what Go accepts passes, and what it refuses is shown with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbuild.errors import Error, render
from modelbuild.ollama.modelfile import parse
from modelbuild.ollama.template import WORDS, find_fault, placed
from tests.at_length import examples

REAL = Path(__file__).parents[2] / "../shared/data/modelfiles"


def check(text: str, path: str | None = None) -> None:
    if fault := find_fault(text):
        raise placed(fault, text, path)


GOOD = [
    "", "no action", "}} {", "{{ .Prompt }}", "{{.Prompt}}", "{{- .Prompt -}}", "{{ .Message.Role }}", "{{ $.Messages }}",
    "{{/* a comment */}}", "{{- /* a\ncomment with }} and {{ */ -}}", "{{ $ }}", "{{ . }}", "{{\n.A\n}}", "{{ -1 }}", "{{- -1 }}",
    "{{ 'a' }} {{ '\\'' }} {{ 0x1F }} {{ 1_000 }} {{ 1.5e-3 }} {{ 1+2i }} {{ .5 }}",
    '{{ "a\\n\\"\\u00e9" }}{{ `raw\n\\d` }}', "{{ true }}{{ false }}", '{{ eq .Role "user" }}', '{{"a"}}',
    '{{ if and (eq .Role "user") (not $.Tools) }}a{{ else if .B }}b{{ else }}c{{ end }}',
    "{{ range $i, $m := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}{{ if $last }}{{ $m.Content }}{{ end }}{{ end }}",
    "{{ range .A }}{{ break }}{{ else }}none{{ end }}", "{{ range .A }}{{ if .B }}{{ continue }}{{ end }}{{ end }}",
    "{{ with $x := .A }}{{ $x }}{{ else with .B }}{{ . }}{{ end }}", "{{ $x := 1 }}{{ $x = 2 }}{{ $x }}",
    '{{ define "t" }}{{ .A }}{{ end }}{{ template "t" . }}', '{{ block "b" .A }}{{ . }}{{ end }}',
    "{{ .A | json }}", '{{ printf "%s" .A | printf "%s %s" "x" | len }}', "{{ (index .A 0).B.C }}", "{{ .A.B.C }}",
    '{{ currentDate "x" }}{{ yesterdayDate }}{{ toTypeScriptType .A }}', "{{ if true }}{{ end }}", "{{ nil | json }}",
    "{{ if .A -}}\n a\n{{- end }}", "{{ range $i, $ }}{{ end }}", "{{ .Ünï }}",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_what_go_accepts_passes(text: str) -> None:
    check(text)


BAD = [
    ("a {{ .A", "1:3: template: '{{' is never closed"),
    ("{{ .A }", "1:7: template: unexpected '}' in an action"),
    ("{{ .A \n}\n}", "2:1: template: unexpected '}' in an action"),
    ("{{ }}", "1:1: template: '{{ }}' is empty"),
    ("{{", "1:1: template: '{{' is never closed"),
    ('{{ "a }}', '1:4: template: text in " is never closed'),
    ("{{ `a }}", "1:4: template: text in ` is never closed"),
    ("{{/* a }}", "1:1: template: comment is never closed"),
    ("{{/* a */ }}", "1:8: template: a comment must end right before '}}'"),
    ("{{ .A-}}", "1:6: template: unexpected '-' after '.A'"),
    ("{{-.A}}", "1:3: template: unexpected '-' in an action"),
    ("\n\n {{ end }}", "3:5: template: 'end' has nothing to close"),
    ("{{ if .A }}\n{{ range .B }}{{ end }}", "1:1: template: '{{ if … }}' has no '{{ end }}'"),
    ("{{ if .A }}{{ else }}{{ else }}{{ end }}", "1:25: template: 'else' has no 'if', 'range' or 'with'"),
    ("{{ else }}", "1:4: template: 'else' has no 'if', 'range' or 'with'"),
    ("{{ range .A }}{{ else if .B }}{{ end }}", "1:23: template: unexpected 'if' after 'else'"),
    ("{{ if }}{{ end }}", "1:1: template: 'if' has no value"),
    ("{{ elif .A }}", "1:4: template: no function 'elif'"),
    ("{{ if .A }}{{ end if }}", "1:19: template: unexpected 'if' after 'end'"),
    ("{{ Prompt }}", "1:4: template: no function 'Prompt'"),
    ("{{ .A | upper }}", "1:9: template: no function 'upper'"),
    ('{{ eq(.Role, "user") }}', "1:6: template: unexpected '(' after 'eq'"),
    ("{{ eq .Role 'user' }}", "1:13: template: malformed character 'user'"),
    ("{{ .A == 1 }}", "1:7: template: unexpected '=' after '.A'"),
    ("{{ .A + 1 }}", "1:7: template: unexpected '+' in an action"),
    ("{{ m['x'] }}", "1:5: template: unexpected '[' after 'm'"),
    ("{{ .A && .B }}", "1:7: template: unexpected '&' in an action"),
    ("{{ $x }}", "1:4: template: undefined variable '$x'"),
    ("{{ if .A }}{{ $x := 1 }}{{ end }}{{ $x }}", "1:37: template: undefined variable '$x'"),
    ('{{ $x := 1 }}{{ define "t" }}{{ $x }}{{ end }}', "1:33: template: undefined variable '$x'"),
    ("{{ (.A }}", "1:4: template: '(' is never closed"),
    ("{{ .A) }}", "1:6: template: ')' without '('"),
    ("{{ () }}", "1:5: template: '()' is empty"),
    ("{{ | json }}", "1:4: template: nothing comes before '|'"),
    ('{{ .A | "x" }}', "1:9: template: expected a function after '|', got '\"x\"'"),
    ('{{ "a""b" }}', "1:7: template: unexpected '\"b\"' after '\"a\"'"),
    ('{{ "a".B }}', "1:7: template: unexpected '.B' after '\"a\"'"),
    ('{{ "\\d" }}', "1:5: template: unknown escape '\\d'"),
    ("{{ $x, $y := .A }}", "1:4: template: undefined variable '$x'"),
    ("{{ break }}", "1:4: template: 'break' outside of 'range'"),
    ("{{ range .A }}{{ else }}{{ break }}{{ end }}", "1:28: template: 'break' outside of 'range'"),
    ('{{ if .A }}{{ define "t" }}{{ end }}{{ end }}', "1:15: template: 'define' inside of 'if'"),
    ("{{ template .A }}", "1:13: template: 'template' expects a name in double quotes"),
    ('{{ template "t" }}', "1:1: template: 'template' has no value"),
    ("{{ .A if }}", "1:7: template: unexpected 'if'"),
    ("{{ 12x }}", "1:4: template: unexpected '1' in an action"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), BAD)
def test_what_go_refuses_is_an_error_with_its_place(text: str, shown: str) -> None:
    with pytest.raises(Error) as caught:
        check(text, path="T")
    assert f"{caught.value.place}: {caught.value.what}" == f"T:{shown}"


def test_a_fault_on_the_first_line_shows_the_whole_line_of_the_file() -> None:
    (error,) = parse("FROM x\nTEMPLATE {{ .A }\n", "Modelfile").errors
    assert render(error) == (
        "error: Modelfile:2:16: template: unexpected '}' in an action\n"
        "  2 | TEMPLATE {{ .A }\n"
        "    |                ^"
    )  # fmt: skip


def test_a_fault_on_a_later_line_is_counted_from_the_file() -> None:
    (error,) = parse('FROM x\nTEMPLATE """\n  {{ end }}"""\n', "Modelfile").errors
    assert error.place == "Modelfile:3:6"
    assert error.source == "  {{ end }}"


def test_templates_of_real_modelfiles_pass() -> None:
    if not REAL.is_dir():
        pytest.skip("no ../shared/data/modelfiles beside the repository")
    found = [parse(path.read_bytes(), str(path)).template for path in sorted(REAL.iterdir())]
    texts = [text for text in found if text]
    assert len(texts) == 7
    for text in texts:
        check(text)


TOKENS = [
    "{{", "}}", "{{-", "-}}", "{{ end }}", "{{ else }}", "{{ if .A }}", "{{ range .B }}", " ", ".A", "$x", ":=", "|", "(", ")",
    '"a"', "'c'", "1", "if", "eq", "\n", "text", "{{/* c */}}", "{{ $x := 1 }}", "-", "\\", "'", '"', "`", "é", "0x", "1e",
]  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=16).map("".join) | st.text(max_size=30))
def test_any_text_is_a_template_or_has_a_fault_inside_it(text: str) -> None:
    for each in (text, "{{ " + text + " }}"):
        fault = find_fault(each)
        if fault is not None:
            assert 0 <= fault.offset <= len(each)
            with pytest.raises(Error):
                check(each)


@pytest.mark.parametrize(
    "text", ["{{ " + "(" * 100_000, "{{ if .A }}" * 30_000, "{{ " + " " * 100_000 + "-", "{{ 1" + "_" * 100_000]
)
def test_hostile_templates_are_checked_in_linear_time(text: str) -> None:
    assert find_fault(text) is not None


@pytest.mark.parametrize(
    ("before", "again"),
    [
        ("", "{{ .A }}"), ("", "{{ $a := 1 }}"), ("{{ and ", "1 "), ("{{ ", "("), ("{{ .A ", "| len "), ("{{ .A", ".a"),
        ("", "{{ if .A }}"),
    ],
)  # fmt: skip
def test_more_words_than_any_model_needs_are_not_read(before: str, again: str) -> None:
    fault = find_fault(before + again * 200_000)
    assert fault is not None and fault.what == "more than 10,000 words in its actions"
    assert fault.offset < len(before) + len(again) * (WORDS + 1)


def test_texts_between_actions_may_have_any_length() -> None:
    assert find_fault(("many words " * 500 + "{{ .Prompt }}") * 500) is None
