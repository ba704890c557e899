"""The interpreter of Go templates that the tests use: what it says is what Go's text/template says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ollama.chat_templates.gotemplate import chat, execute

MESSAGES = [{"Role": "system", "Content": "S"}, {"Role": "user", "Content": "U"}, {"Role": "assistant", "Content": "A"}]
DATA: dict[str, Any] = {"System": "S", "Empty": "", "Messages": MESSAGES, "None": []}

KNOWN = [
    ("", ""),
    ("a {{ .System }} b", "a S b"),
    ("a \n{{- .System -}}\n b", "aSb"),
    ("a \n{{- /* a comment */ -}}\n b", "ab"),
    ("a {{/* }} */}} b", "a  b"),
    ("{{ .System }}{{ .Missing }}|", "S<no value>|"),
    ("{{ if .Empty }}a{{ else if .System }}b{{ else }}c{{ end }}", "b"),
    ("{{ if .None }}a{{ else }}c{{ end }}{{ if .Missing }}d{{ end }}", "c"),
    ("{{ range .Messages }}{{ .Role }}={{ .Content }};{{ end }}", "system=S;user=U;assistant=A;"),
    ("{{ range $i, $m := .Messages }}{{ $i }}{{ $m.Content }}{{ $.System }}{{ end }}", "0SS1US2AS"),
    ("{{ range $i, $_ := .Messages }}{{ $i }}{{ .Content }}{{ end }}", "0S1U2A"),
    ("{{ range $m := .Messages }}{{ $m.Content }}{{ end }}", "SUA"),
    ("{{ range .None }}x{{ else }}none{{ end }}", "none"),
    ('{{ range .Messages }}{{ if eq .Role "user" }}{{ continue }}{{ end }}{{ .Content }}{{ end }}', "SA"),
    ('{{ range .Messages }}{{ if eq .Role "user" }}{{ break }}{{ end }}{{ .Content }}{{ end }}', "S"),
    ('{{ $x := "a" }}{{ range .Messages }}{{ $x }}{{ $x = .Content }}{{ end }}{{ $x }}', "aSUA"),
    ('{{ $x := "a" }}{{ if true }}{{ $x := "b" }}{{ $x }}{{ end }}{{ $x }}', "ba"),
    ("{{ with .System }}{{ . }}{{ end }}{{ with .Empty }}x{{ else }}y{{ end }}", "Sy"),
    ("{{ with $x := .System }}{{ $x }}{{ end }}", "S"),
    ('{{ or .Empty "x" }}{{ and .System "y" }}{{ or .Empty 0 }}', "xy0"),
    ("{{ not .Empty }}{{ not .System }}", "truefalse"),
    ('{{ eq .System "a" "S" }} {{ ne .System "S" }} {{ eq 1 1 }} {{ lt 1 2 }}', "true false true true"),
    ("{{ len .Messages }}{{ len .System }}", "31"),
    ("{{ range $i, $_ := .Messages }}{{ eq (len (slice $.Messages $i)) 1 }} {{ end }}", "false false true "),
    ('{{ slice "2026-11-23" 5 7 }} {{ slice currentDate 0 4 }}', "11 2026"),
    ("{{ (index .Messages 1).Content }}", "U"),
    ('{{ printf "%s-%s" .System "x" }} {{ .System | printf "%s" }}', "S-x S"),
    ('{{ "a\\n\\"b\\"" }}{{ `c\\n` }}', 'a\n"b"c\\n'),
    ('{{ "{{" }} }} {{ "}}" }}', "{{ }} }}"),
    ('{{ if and (eq 1 1) (ne .System "x") }}y{{ end }}', "y"),
    ("{{- $system := .System }}\n{{- range .Messages }}\n{{ .Role }} {{ end }}!\n", "\nsystem \nuser \nassistant !\n"),
]


@pytest.mark.parametrize(("template", "expected"), KNOWN)
def test_a_template_says_what_go_says(template: str, expected: str) -> None:
    assert execute(template, DATA) == expected


@pytest.mark.parametrize(
    "template", ["{{ if .A }}", "{{ end }}", "{{ $x }}", "{{ .A.B.C }}", "{{ nothing .A }}", '{{ eq 1 "1" }}']
)
def test_a_template_that_go_refuses_fails(template: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        execute(template, DATA)


def test_messages_of_one_role_in_a_row_become_one_and_system_messages_are_joined() -> None:
    messages = [
        {"role": role, "content": text}
        for role, text in (("system", "a"), ("user", "b"), ("user", "c"), ("system", "d"))
    ]
    assert chat("{{ .System }}|{{ range .Messages }}{{ .Role }}:{{ .Content }};{{ end }}", messages) == (
        "a\n\nd|system:a;user:b\n\nc;system:d;"
    )
