"""Vicuna: "USER:" and "ASSISTANT:", the system message before them as it is."""

from __future__ import annotations

import re

from modelbuild.ollama.chat_templates._go import by_role, literal
from modelbuild.ollama.chat_templates._shape import Shape, System

STOP = ("\nUSER:", "\nASSISTANT:")
"""At the beginning of a line, as a model writes them that goes on; within a line they may be text."""


def template(shape: Shape) -> str | None:
    turns = shape.turns(r"USER: ?\n?", r"ASSISTANT: ?\n?")
    if turns is None or not turns.user_end.isspace():
        return None
    if re.fullmatch(rf"\s*(?:{re.escape(shape.eos)})?\s*", turns.assistant_end) is None or not turns.assistant_end:
        return None
    user = literal(turns.user) + "{{ .Content }}" + literal(turns.user_end)
    assistant = literal(turns.assistant) + "{{ .Content }}" + literal(turns.assistant_end)
    turn = '{{ if eq .Role "user" }}' + user + '{{ else if eq .Role "assistant" }}' + assistant + "{{ end }}"
    return by_role(shape, turns, turn, System("", "\n\n" if "\n" in turns.user_end else " "))
