"""Alpaca: "### Instruction:" and "### Response:", the system message before them as it is."""

from __future__ import annotations

import re

from modelbuild.ollama.chat_templates._go import by_role, literal
from modelbuild.ollama.chat_templates._shape import Shape, System

STOP = ("### Instruction:",)


def template(shape: Shape) -> str | None:
    turns = shape.turns(r"### Instruction: ?\n{0,2}", r"### Response: ?\n{0,2}")
    end = rf"\s*(?:{re.escape(shape.eos)}|<\|EOT\|>)?\s*"
    if turns is None or not turns.user_end.isspace() or re.fullmatch(end, turns.assistant_end) is None:
        return None
    user = literal(turns.user) + "{{ .Content }}" + literal(turns.user_end)
    assistant = literal(turns.assistant) + "{{ .Content }}" + literal(turns.assistant_end)
    turn = '{{ if eq .Role "user" }}' + user + '{{ else if eq .Role "assistant" }}' + assistant + "{{ end }}"
    return by_role(shape, turns, turn, System("", "\n\n"))
