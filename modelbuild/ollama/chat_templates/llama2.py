"""Llama 2: [INST] around the user's messages, <<SYS>> around the system message inside of the first one, BOS before each."""

from __future__ import annotations

import re

from modelbuild.ollama.chat_templates._go import inside
from modelbuild.ollama.chat_templates._shape import Shape, System

STOP = ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>")


def template(shape: Shape) -> str | None:
    bos, eos = re.escape(shape.bos), re.escape(shape.eos)
    turns = shape.turns(r" ?\[INST\] ?", " ?")
    if turns is None or turns.user_end not in ("[/INST]", " [/INST]"):
        return None
    ended = re.fullmatch(rf" ?{eos} ?({bos})?", turns.assistant_end)
    has_system = "<<SYS>>" in (shape.system.before if shape.system else shape.start)
    if ended is None or not (has_system or ended[1]):
        return None
    return inside(shape, turns, System(turns.user + "<<SYS>>\n", "\n<</SYS>>\n\n"))
