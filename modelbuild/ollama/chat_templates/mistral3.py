"""Mistral Small 3, Ministral 3, Devstral, Magistral: [INST] around the user's messages, the system message in [SYSTEM_PROMPT] before.

The blanks are those of the template: the first of these tokenizers (v7) has one after each mark.
"""

from __future__ import annotations

import re

from modelbuild.ollama.chat_templates._go import by_role, literal
from modelbuild.ollama.chat_templates._shape import Shape, System

STOP = ("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]")


def template(shape: Shape) -> str | None:
    system = shape.system
    if system is None or not re.search(r"\[SYSTEM_PROMPT\] ?\Z", system.before):
        return None
    turns = shape.turns(r"\[INST\] ?", " ?")
    if turns is None or turns.user_end != "[/INST]" or turns.prompt != "" or turns.assistant_end != shape.eos:
        return None
    turn = (
        '{{ if eq .Role "user" }}'
        + literal(turns.user)
        + "{{ else }}"
        + literal(turns.assistant)
        + "{{ end }}{{ .Content }}"
    )
    turn += (
        '{{ if eq .Role "user" }}' + literal(turns.user_end) + "{{ else }}" + literal(turns.assistant_end) + "{{ end }}"
    )
    return by_role(shape, turns, turn, System("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"))
