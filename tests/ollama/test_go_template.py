"""Go templates are executed as Go does, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from modelbuild.ollama import go_template
from modelbuild.ollama.go_template import Unsupported
from modelbuild.ollama.template import find_fault

DATA = {"System": "Be <brief>.", "Prompt": "Zoë", "Empty": "", "No": False, "List": ["a", "b", "c"], "Map": {"K": "v"}}


def printed(text: str, data: dict[str, Any] = DATA) -> str:
    assert find_fault(text) is None, text
    return go_template.execute(go_template.parse(text), data)


# The right side is what Go 1.24 prints.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain { } %", "plain { } %"),
        ("a {{- .Prompt -}} b", "aZoëb"),
        ("a \n{{- /* said */ -}}\n b", "ab"),
        ("a {{/* said */}} b", "a  b"),
        ("{{ .Missing }}|{{ .Map.K }}|{{ .Map.Missing }}", "<no value>|v|<no value>"),
        ("{{ if .System }}1{{ else }}2{{ end }}", "1"),
        ("{{ if .Empty }}1{{ else if .No }}2{{ else }}3{{ end }}", "3"),
        ("{{ if and .System (not .Empty) }}1{{ end }}", "1"),
        ("{{ and .System .Empty .Prompt }}|{{ or .Empty .Prompt }}", "|Zoë"),
        ("{{ range $i, $e := .List }}{{ $i }}{{ $e }}{{ . }} {{ end }}", "0aa 1bb 2cc "),
        ("{{ range .List }}{{ if eq . \"b\" }}{{ continue }}{{ end }}{{ . }}{{ end }}", "ac"),
        ("{{ range .List }}{{ if eq . \"b\" }}{{ break }}{{ end }}{{ . }}{{ end }}", "a"),
        ("{{ range .Missing2 }}x{{ end }}", None),
        ("{{ range .None }}x{{ else }}y{{ end }}", "y"),
        ("{{ with .Map }}{{ .K }}{{ end }}{{ with $x := .Prompt }}{{ $x }}{{ . }}{{ end }}", "vZoëZoë"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}", "21"),
        ("{{ range .List }}{{ $.Prompt }}{{ end }}", "ZoëZoëZoë"),
        ("{{ len .Prompt }} {{ len .List }} {{ index .List 1 }} {{ slice .Prompt 0 2 }}", "4 3 b Zo"),
        ("{{ len (slice .List 1) }}{{ (index .List 0) | len }}", "21"),
        ("{{ eq .Prompt \"a\" \"Zoë\" }} {{ ne 1 2 }} {{ lt 1 2 }} {{ ge 1 2 }} {{ le 2 2 }}", "true true true false true"),
        ("{{ json .System }}", '"Be \\u003cbrief\\u003e."'),
        ("{{ print 1 2 \"a\" 3 }}", "1 2a3"),
        ("{{ \"\\u00e9\\n\" }}{{ `\\n` }}", "é\n\\n"),
        ("{{ printf \"%s\" .Prompt }}", None),
        ("{{ .Prompt.Field }}", None),
        ("{{ .List }}", None),
        ("{{ eq 1 \"1\" }}", None),
        ("{{ slice .List 4 }}", None),
        ("{{ index .List -1 }}", None),
        ("{{ template \"x\" . }}", None),
        ("{{ define \"x\" }}{{ end }}", None),
    ],
)  # fmt: skip
def test_what_go_prints_or_a_refusal(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(Unsupported):
            printed(text)
    else:
        assert printed(text, {**DATA, "None": []}) == expected


def test_a_range_of_ranges_has_an_end() -> None:
    with pytest.raises(Unsupported, match="too many"):
        printed("{{ range $.List }}" * 8 + "x" + "{{ end }}" * 8, {"List": ["a"] * 20})


def test_the_fields_that_a_template_asks_for() -> None:
    nodes = go_template.parse("{{ if and .System (eq (len $.Messages) 1) }}{{ .Response }}{{ end }}")
    assert go_template.fields(nodes) == {"System", "Messages", "Response"}
    assert go_template.asks_for(nodes[1], "Messages") and not go_template.asks_for(nodes[1], "Response")
