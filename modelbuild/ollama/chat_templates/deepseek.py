"""DeepSeek V2.5, V3, R1 and the models distilled from it: <｜User｜> and <｜Assistant｜>, answers end with EOS."""

from __future__ import annotations

from modelbuild.ollama.chat_templates._go import by_role, literal
from modelbuild.ollama.chat_templates._shape import Shape, System

STOP = ("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>")

END = "<｜end▁of▁sentence｜>"


def template(shape: Shape) -> str | None:
    turns = shape.turns(r"<｜User｜>", r"<｜Assistant｜>")
    if turns is None or (turns.user_end, turns.assistant_end) != ("", END):
        return None
    turn = '{{ if eq .Role "user" }}<｜User｜>{{ else }}<｜Assistant｜>{{ end }}{{ .Content }}'
    turn += '{{ if eq .Role "assistant" }}' + literal(END) + "{{ end }}"
    return by_role(shape, turns, turn, System("", ""))
