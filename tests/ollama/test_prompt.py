"""Prompts are those that Ollama's server makes (template/template.go, Execute)."""

from __future__ import annotations

import pytest

from modelbuild.ollama.chat_templates import recognize
from modelbuild.ollama.go_template import Unsupported
from modelbuild.ollama.prompt import PLAIN, rendered
from tests.ollama.chat_templates import gotemplate
from tests.ollama.chat_templates.templates import KNOWN

TURN = "{{ if .System }}[{{ .System }}]{{ end }}<{{ .Prompt }}>{{ .Response }};"
TALK = [("system", "S"), ("user", "a"), ("assistant", "b"), ("user", "c")]


@pytest.mark.parametrize(
    ("template", "messages", "expected"),
    [
        (TURN, TALK[1:2], "<a>"),
        (TURN, TALK[:2], "[S]<a>"),
        (TURN, TALK, "[S]<a>b;<c>"),
        (TURN, [*TALK, ("system", "T"), ("user", "d")], "[S]<a>b;<c>;[T]<d>"),
        (TURN, [*TALK, ("user", "d")], "[S]<a>b;<c\n\nd>"),
        (TURN, [*TALK, ("assistant", "So")], "[S]<a>b;<c>So"),
        (PLAIN, TALK, "abc"),
        ("{{ .Prompt }} ", TALK, "a bc "),
        ("{{ .System }}:{{ range .Messages }}{{ .Role }}={{ .Content }},{{ end }}", TALK,
         "S:system=S,user=a,assistant=b,user=c,"),
        ("{{ if .Prompt }}{{ .Prompt }}{{ if true }}{{ .Response }}!{{ end }}?{{ end }}.", TALK, "ab!?.c"),
    ],
)  # fmt: skip
def test_a_conversation(template: str, messages: list[tuple[str, str]], expected: str) -> None:
    assert rendered(template, messages) == expected


@pytest.mark.parametrize("template", ["{{ if true }}{{ .Response }}{{ else }}x{{ end }}", "{{ len .Response }}"])
def test_what_is_refused(template: str) -> None:
    with pytest.raises(Unsupported):
        rendered(template, TALK)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ range .Messages }}{{ .Content }}{{ .Thinking }}{{ end }}{{ .IsThinkSet }} {{ .Think }}", "atrue true"),
        ("{{ range .Messages }}{{ .Content }}{{ end }}{{ .IsThinkSet }} {{ .Think }}{{ .ThinkLevel }}", "afalse false"),
        ("{{ .Prompt }}{{ if .Think }}?{{ end }}", "a"),
    ],
)
def test_a_model_thinks_if_its_template_knows_thoughts(template: str, expected: str) -> None:
    assert rendered(template, TALK[1:2]) == expected


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_the_templates_of_our_families(name: str) -> None:
    """Another reader of Go templates, which Go itself was compared with, prints the same."""
    family = recognize(KNOWN[name][1])
    assert family is not None
    if "currentDate" in family.template:
        pytest.skip("the other reader has a date of its own")
    for messages in (TALK[1:2], TALK[1:], TALK):
        expected = gotemplate.chat(family.template, [{"role": role, "content": text} for role, text in messages])
        assert rendered(family.template, messages) == expected
