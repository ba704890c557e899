"""Chat templates for Ollama: the family that a checkpoint's Jinja template belongs to, and the Go template that renders the same text.

A family is the file named after it. `recognize` renders a few conversations with the Jinja template (`modelbuild.ollama.jinja`) and
learns what it puts around the messages (`_shape.py`); a family knows its marks in that, and makes the Go template (`_go.py`). So two
templates that do the same are the same, and what differs (a default system prompt, a blank, where the system message goes) is in the Go
template just so.

A family's file has
    STOP      the texts at which Ollama stops, in order
    template  Shape -> the Go template, or None where the shape is another family's
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from modelbuild.ollama.chat_templates._shape import learn
from modelbuild.ollama.jinja.values import Unsupported


@dataclass(frozen=True)
class Family:
    """A family as one chat template has it.

    template  the Go template
    stop      values for PARAMETER stop
    """

    name: str
    template: str
    stop: tuple[str, ...]


@lru_cache(maxsize=16)
def recognize(jinja: str, *, bos: str = "<s>", eos: str = "</s>") -> Family | None:
    """Find the family of a Jinja chat template, and its Go template; None for a template of no family that we know.

    bos, eos  the texts of these tokens in the model's vocabulary: what the template calls `bos_token` and `eos_token`
    Any text may be given; nothing is raised.
    """
    shape = learn(jinja, bos, eos)
    if shape is None:
        return None
    for name in families():
        module = _module(name)
        try:
            template = module.template(shape)
        except Unsupported:
            return None
        if template is not None:
            return Family(name, template, module.STOP)
    return None


@cache
def families() -> tuple[str, ...]:
    """The names of all families, sorted."""
    names = (entry.removesuffix(".py") for entry in os.listdir(os.path.dirname(__file__)) if entry.endswith(".py"))
    return tuple(sorted(name for name in names if not name.startswith("_")))


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")
