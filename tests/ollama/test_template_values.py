"""What a template may name: every name that Ollama has passes, in each of its scopes, and any other is shown once."""

from __future__ import annotations

import pytest

from modelbuild.ollama.chat_templates import recognize
from modelbuild.ollama.template import find_fault
from modelbuild.ollama.template_values import unknown
from tests.ollama.chat_templates.templates import KNOWN

RIGHT = [
    "{{ .System }}{{ .Prompt }}{{ .Suffix }}{{ .Response }}{{ .Think }}{{ .ThinkLevel }}{{ .IsThinkSet }}",
    "{{ .Query }}{{ .Document }}{{ .Instruction }}{{ $.System }}{{ . }}{{ $ }}",
    "{{ range .Messages }}{{ .Role }}{{ .Content }}{{ .Thinking }}{{ .Images }}{{ .ToolName }}{{ .ToolCallID }}{{ $.Tools }}{{ end }}",
    "{{ range $i, $_ := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}"
    "{{ if and $last .Content }}{{ $_.Role }}{{ end }}{{ end }}",
    "{{ range .Messages }}{{ range .ToolCalls }}{{ .ID }}{{ .Function.Name }}{{ json .Function.Arguments }}{{ end }}{{ end }}",
    "{{ range .Tools }}{{ .Type }}{{ .Function.Name }}{{ .Function.Parameters.Required }}{{ . }}{{ .String }}{{ end }}{{ .Tools.String }}",
    "{{ range $name, $p := (index .Tools 0).Function.Parameters.Properties }}{{ $p.Type }}{{ $p.Anything }}{{ end }}",
    "{{ with .Tools }}{{ range . }}{{ .Function.Description }}{{ end }}{{ else }}{{ .System }}{{ end }}",
    "{{ with $m := index .Messages 0 }}{{ $m.Role }}{{ .Content }}{{ end }}",
    "{{ range slice .Messages 1 }}{{ .Role }}{{ end }}",
    # of these nothing is known, so nothing is said
    '{{ define "t" }}{{ .Any }}{{ $.Any }}{{ end }}{{ template "t" .System }}',
    "{{ $x := .Prompt }}{{ range .Messages }}{{ $x = . }}{{ end }}{{ $x.Role }}",
    "{{ with (or .Messages .Tools) }}{{ .Any }}{{ end }}{{ range (.Messages | json) }}{{ .Any }}{{ end }}",
    "{{ range $k, $v := .Messages }}{{ $k.Any }}{{ end }}",
    "{{/* {{ .Sytem }} */}}{{ `.Sytem` }} .Sytem",
]
WRONG = [
    ("{{ .Sytem }}", 3, "Ollama gives a template no '.Sytem'", "did you mean '.System'?"),
    ("{{ if .First }}{{ end }}", 6, "Ollama gives a template no '.First'", None),
    ("{{ .messages }}", 3, "Ollama gives a template no '.messages'", "did you mean '.Messages'?"),
    ("{{ $.Promt }}", 4, "Ollama gives a template no '.Promt'", "did you mean '.Prompt'?"),
    ("{{ range .Messages }}{{ end }}{{ .Role }}", 33, "Ollama gives a template no '.Role'",
     "range over the messages: {{ range .Messages }}{{ .Role }}{{ end }}"),
    ("{{ range .Messages }}{{ .Rol }}{{ end }}", 24, "a message has no '.Rol'", "did you mean '.Role'?"),
    ("{{ range .Messages }}{{ .System }}{{ end }}", 24, "a message has no '.System'", "write '$.System'"),
    ("{{ range .Messages }}{{ else }}{{ .Sytem }}{{ end }}", 34, "Ollama gives a template no '.Sytem'", "did you mean '.System'?"),
    ("{{ range $m := .Messages }}{{ $m.Contet }}{{ end }}", 32, "a message has no '.Contet'", "did you mean '.Content'?"),
    ("{{ range .Messages }}{{ range .ToolCalls }}{{ .Name }}{{ end }}{{ end }}", 46, "a tool call has no '.Name'", None),
    ("{{ range .Tools }}{{ .Function.Nam }}{{ end }}", 30, "the function of a tool has no '.Nam'", "did you mean '.Name'?"),
    ("{{ .Messages.Role }}", 12, "the list of messages has no '.Role'", "range over them: {{ range … }}{{ .Role }}{{ end }}"),
    ("{{ (index .Messages 0).Rol }}", 22, "a message has no '.Rol'", "did you mean '.Role'?"),
    ("{{ with .System }}{{ .Prompt }}{{ end }}", 21, "a text has no '.Prompt'", "write '$.Prompt'"),
    ('{{ block "b" .Messages }}{{ .Foo }}{{ end }}', 28, "the list of messages has no '.Foo'", None),
    ('{{ if eq (json .Tols) "" }}{{ end }}', 15, "Ollama gives a template no '.Tols'", "did you mean '.Tools'?"),
    ("{{ if .System }}{{ else if .Promt }}{{ end }}", 27, "Ollama gives a template no '.Promt'", "did you mean '.Prompt'?"),
]  # fmt: skip


@pytest.mark.parametrize("text", RIGHT)
def test_what_ollama_has_passes(text: str) -> None:
    assert find_fault(text) is None
    assert unknown(text) == ()


@pytest.mark.parametrize(("text", "offset", "what", "hint"), WRONG)
def test_what_ollama_has_not_is_shown(text: str, offset: int, what: str, hint: str | None) -> None:
    assert find_fault(text) is None
    (fault,) = unknown(text)
    assert (fault.offset, fault.what, fault.hint) == (offset, what, hint)
    assert text[fault.offset : fault.offset + fault.width] == "." + what.rpartition("'.")[2].rstrip("'")


def test_each_name_is_said_once() -> None:
    assert len(unknown("{{ .A }}{{ .A }}{{ range .Messages }}{{ .A }}{{ .A }}{{ end }}{{ .B }}")) == 3


@pytest.mark.parametrize("name", KNOWN)
def test_the_templates_that_are_made_here_name_nothing_else(name: str) -> None:
    family = recognize(KNOWN[name][1])
    assert family is not None
    assert unknown(family.template) == ()
