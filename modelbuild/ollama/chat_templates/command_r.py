"""Command R, Command R+ and Aya: the role as a token after <|START_OF_TURN_TOKEN|>, each message up to <|END_OF_TURN_TOKEN|>."""

from __future__ import annotations

from modelbuild.ollama.chat_templates._go import by_role
from modelbuild.ollama.chat_templates._shape import Shape, System

STOP = ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>")

END = "<|END_OF_TURN_TOKEN|>"
ROLE = '{{ if eq .Role "user" }}<|USER_TOKEN|>{{ else }}<|CHATBOT_TOKEN|>{{ end }}'
TURN = "<|START_OF_TURN_TOKEN|>" + ROLE + "{{ .Content }}" + END


def template(shape: Shape) -> str | None:
    start = r"<\|START_OF_TURN_TOKEN\|>"
    turns = shape.turns(rf"{start}<\|USER_TOKEN\|>", rf"{start}<\|CHATBOT_TOKEN\|>")
    if turns is None or (turns.user_end, turns.assistant_end) != (END, END) or turns.prompt != turns.assistant:
        return None
    return by_role(shape, turns, TURN, System("<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>", END))
