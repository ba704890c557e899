"""Go templates, made of the texts around messages."""

from __future__ import annotations

import re

from modelbuild.ollama.chat_templates._shape import Shape, System, Turns
from modelbuild.ollama.jinja.values import DATE, Unsupported

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"
)  # fmt: skip


def by_role(shape: Shape, turns: Turns, turn: str, system: System) -> str | None:
    """A template in which each message is a turn of its own, the system message too.

    turn    Go text of any turn but the system message's
    system  the texts around a system message where the chat template has none
    If the chat template leaves out thoughts of former answers, so does this one: only those after the last question stay.
    """
    if not shape.start.endswith(turns.user):
        return None
    default = literal(shape.start.removesuffix(turns.user))
    if shape.system is not None:
        if shape.system.last or not shape.system.after.endswith(turns.user):
            return None
        system = System(shape.system.before, shape.system.after.removesuffix(turns.user))
    first = "{{ if eq $i 0 }}" + default + "{{ end }}" if default else ""
    thinks = shape.mute is not None
    return _with_month(
        (LAST_QUESTION if thinks else "")
        + ("{{- range $i, $_ := .Messages }}\n" if default or thinks else "{{- range .Messages }}\n")
        + '{{- if eq .Role "system" }}' + literal(system.before) + "{{ .Content }}" + literal(system.after)
        + "{{ else }}" + first + (turn.replace("{{ .Content }}", THOUGHTS + "{{ .Content }}") if thinks else turn) + "{{ end }}\n"
        + "{{- end }}" + _prompt(shape, turns)
    )  # fmt: skip


LAST_QUESTION = """{{- $last := -1 }}
{{- range $i, $_ := .Messages }}{{ if eq .Role "user" }}{{ $last = $i }}{{ end }}{{ end }}
"""
THOUGHTS = """{{ if and .Thinking (gt $i $last) }}<think>
{{ .Thinking }}
</think>

{{ end }}"""
"""Ollama learns from it how the model's thoughts begin and end (thinking/template.go, InferTags)."""


def _prompt(shape: Shape, turns: Turns) -> str:
    """Go text for the end of the prompt, which depends on `Think` where the chat template asks for that."""
    mute = turns.prompt if shape.mute is None else shape.mute.removeprefix(turns.user_end)
    if mute == turns.prompt:
        return literal(turns.prompt)
    common = turns.prompt if mute.startswith(turns.prompt) else ""
    off, on = literal(mute.removeprefix(common)), literal(turns.prompt.removeprefix(common))
    end = "{{ else }}" + on + "{{ end }}" if on else "{{ end }}"
    return literal(common) + "{{ if and .IsThinkSet (not .Think) }}" + off + end


def inside(shape: Shape, turns: Turns, system: System) -> str | None:
    """A template in which the system message stands inside of a user's message; none of those leaves out thoughts.

    system  the texts around it, where the chat template has none
    """
    if shape.mute is not None:
        return None
    system = shape.system or system
    before, after, user = literal(system.before), literal(system.after), literal(turns.user)
    plain = shape.start == turns.user
    if system.last and not plain:
        return None
    if system.last:
        head = "{{- range $i, $_ := .Messages }}\n"
        last = "{{ if and $.System (eq (len (slice $.Messages $i)) 1) }}"
        opening = user + last + "{{ $.System }}" + after + "{{ end }}"
    elif plain and system.before.startswith(turns.user):
        head = "{{- $system := .System }}\n{{- range .Messages }}\n"
        inner = literal(system.before.removeprefix(turns.user)) + "{{ $system }}" + after
        opening = user + "{{ if $system }}" + inner + '{{ $system = "" }}{{ end }}'
    else:
        head = "{{- $first := true }}\n{{- range .Messages }}\n"
        opening = "{{ if not $first }}" + user + "{{ else if $.System }}" + before + "{{ $.System }}" + after
        opening += "{{ else }}" + literal(shape.start) + "{{ end }}{{ $first = false }}"
    return _with_month(
        head
        + '{{- if eq .Role "user" }}' + opening + "{{ .Content }}" + literal(turns.user_end)
        + '{{ else if eq .Role "assistant" }}' + literal(turns.assistant) + "{{ .Content }}" + literal(turns.assistant_end)
        + "{{ end }}\n{{- end }}" + literal(turns.prompt)
    )  # fmt: skip


def literal(text: str) -> str:
    """Go text that prints `text`; dates in it are printed as of the day, in English."""
    parts = re.split(f"{DATE[0]}([^{DATE[0]}{DATE[1]}]*){DATE[1]}", text)
    if any(mark in part for part in parts for mark in DATE):
        raise Unsupported("half a date")
    return "".join(_date(part) if at % 2 else _BRACES.sub(_quoted, part) for at, part in enumerate(parts))


_BRACES = re.compile(r"\{{2,}|\{\Z")
"""A brace at the end would join those of the action that follows."""


def _quoted(match: re.Match[str]) -> str:
    return '{{ "' + match[0] + '" }}'


def _date(notation: str) -> str:
    """Go text for a date in the notation of strftime. Ollama's `currentDate` is YYYY-MM-DD whatever it is asked for."""
    parts = re.split(r"(%-?[a-zA-Z%])", notation)
    if any(part[:1] == "%" and part not in _DATES for part in parts):
        raise Unsupported("date")
    return "".join(_DATES.get(part, part) for part in parts)


_DATES = {
    "%Y": "{{ slice currentDate 0 4 }}",
    "%m": "{{ slice currentDate 5 7 }}",
    "%d": "{{ slice currentDate 8 10 }}",
    "%b": "{{ slice $month 0 3 }}",
    "%B": "{{ $month }}",
    "%%": "%",
}


def _with_month(template: str) -> str:
    """Put before a template what its dates need."""
    if "$month" not in template:
        return template
    names = (f'if eq $month "{at:02}" }}}}{{{{ $month = "{name}" }}}}\n' for at, name in enumerate(MONTHS, 1))
    return "{{- $month := slice currentDate 5 7 }}\n{{- " + "{{- else ".join(names) + "{{- end }}\n" + template
