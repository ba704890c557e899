"""Granite 3 and 4: the role between <|start_of_role|> and <|end_of_role|>, each message up to <|end_of_text|>."""

from __future__ import annotations

from modelbuild.ollama.chat_templates._go import by_role
from modelbuild.ollama.chat_templates._shape import Shape, System

STOP = ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>")

TURN = """<|start_of_role|>{{ .Role }}<|end_of_role|>{{ .Content }}<|end_of_text|>
"""
END = "<|end_of_text|>\n"


def template(shape: Shape) -> str | None:
    header = r"<\|start_of_role\|>{}<\|end_of_role\|>"
    turns = shape.turns(header.format("user"), header.format("assistant"))
    if turns is None or (turns.user_end, turns.assistant_end) != (END, END) or turns.prompt != turns.assistant:
        return None
    return by_role(shape, turns, TURN, System("<|start_of_role|>system<|end_of_role|>", END))
