"""Gemma 1 and 2, whose templates are the same: turns of a user and a model. The system message, which they refuse, opens the first one's.

Gemma 3 puts it there itself.
"""

from __future__ import annotations

from modelbuild.ollama.chat_templates._go import inside
from modelbuild.ollama.chat_templates._shape import Shape, System

STOP = ("<start_of_turn>", "<end_of_turn>")

USER = "<start_of_turn>user\n"
END = "<end_of_turn>\n"


def template(shape: Shape) -> str | None:
    turns = shape.turns(USER, "<start_of_turn>model\n")
    if turns is None or (turns.user_end, turns.assistant_end) != (END, END) or turns.prompt != turns.assistant:
        return None
    return inside(shape, turns, System(USER, "\n\n"))
