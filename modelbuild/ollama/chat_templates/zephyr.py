"""Zephyr: the role as <|user|>, messages ended by EOS. TinyLlama and StableLM chat too; in Tulu only the assistant's are ended by it."""

from __future__ import annotations

from modelbuild.ollama.chat_templates._go import by_role, literal
from modelbuild.ollama.chat_templates._shape import Shape, System

STOP = ("<|system|>", "<|user|>", "<|assistant|>")


def template(shape: Shape) -> str | None:
    turns = shape.turns(r"<\|user\|>\n", r"<\|assistant\|>\n")
    ends = (shape.eos, shape.eos + "\n")
    if (
        turns is None
        or not turns.assistant_end
        or turns.assistant_end not in ends
        or turns.user_end not in (*ends, "\n")
    ):
        return None
    turn = """<|{{ .Role }}|>
{{ .Content }}"""
    if turns.user_end == turns.assistant_end:
        turn += literal(turns.user_end)
    else:
        turn += (
            '{{ if eq .Role "assistant" }}'
            + literal(turns.assistant_end)
            + "{{ else }}"
            + literal(turns.user_end)
            + "{{ end }}"
        )
    return by_role(shape, turns, turn, System("<|system|>\n", turns.user_end))
