"""ChatML: each message between <|im_start|> with its role and <|im_end|>. Qwen 2 to 3, Hermes, Yi, LFM2, and many fine-tunes."""

from __future__ import annotations

from modelbuild.ollama.chat_templates._go import by_role
from modelbuild.ollama.chat_templates._shape import OPENED, Shape, System

STOP = ("<|im_start|>", "<|im_end|>")

TURN = """<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
"""
END = "<|im_end|>\n"


def template(shape: Shape) -> str | None:
    turns = shape.turns(r"<\|im_start\|>user\n", r"<\|im_start\|>assistant\n")
    if (
        turns is None
        or (turns.user_end, turns.assistant_end) != (END, END)
        or turns.prompt.removesuffix(OPENED) != turns.assistant
    ):
        return None
    return by_role(shape, turns, TURN, System("<|im_start|>system\n", END))
