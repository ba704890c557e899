"""Phi-3 and Phi-3.5: the role as a token of its own, each message up to <|end|>."""

from __future__ import annotations

from modelbuild.ollama.chat_templates._go import by_role
from modelbuild.ollama.chat_templates._shape import Shape, System

STOP = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>")

TURN = """<|{{ .Role }}|>
{{ .Content }}<|end|>
"""
END = "<|end|>\n"


def template(shape: Shape) -> str | None:
    turns = shape.turns(r"<\|user\|>\n", r"<\|assistant\|>\n")
    if turns is None or (turns.user_end, turns.assistant_end) != (END, END) or turns.prompt != turns.assistant:
        return None
    return by_role(shape, turns, TURN, System("<|system|>\n", END))
