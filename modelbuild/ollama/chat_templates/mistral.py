"""Mistral and Mixtral, whose templates are the same: [INST] around the user's messages, the system message inside of the first or last one.

The blanks are those of the template: with them the versions of the tokenizer differ (v1, v3, v3 of Nemo).
"""

from __future__ import annotations

import re

from modelbuild.ollama.chat_templates._go import inside
from modelbuild.ollama.chat_templates._shape import Shape, System

STOP = ("[INST]", "[/INST]")


def template(shape: Shape) -> str | None:
    turns = shape.turns(r" ?\[INST\] ?", " ?")
    if turns is None or turns.user_end not in ("[/INST]", " [/INST]"):
        return None
    if re.fullmatch(rf" ?{re.escape(shape.eos)} ?", turns.assistant_end) is None:
        return None
    system = shape.system or System(turns.user, "\n\n")
    if "<<SYS>>" in shape.start + system.before or re.search(r"[\[<\]>]", system.after.removesuffix(turns.user)):
        return None
    return inside(shape, turns, system)
