"""Llama 3 to 3.3: the role between <|start_header_id|> and <|end_header_id|>, each message up to <|eot_id|>."""

from __future__ import annotations

from modelbuild.ollama.chat_templates._go import by_role
from modelbuild.ollama.chat_templates._shape import Shape, System

STOP = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")

TURN = """<|start_header_id|>{{ .Role }}<|end_header_id|>

{{ .Content }}<|eot_id|>"""
END = "<|eot_id|>"


def template(shape: Shape) -> str | None:
    header = r"<\|start_header_id\|>{}<\|end_header_id\|>\n\n"
    turns = shape.turns(header.format("user"), header.format("assistant"))
    if turns is None or (turns.user_end, turns.assistant_end) != (END, END) or turns.prompt != turns.assistant:
        return None
    return by_role(shape, turns, TURN, System("<|start_header_id|>system<|end_header_id|>\n\n", END))
