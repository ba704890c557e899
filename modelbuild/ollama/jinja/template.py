"""A chat template, read and rendered.

A chat template comes with the weights, from anyone. This reads what transformers reads (Jinja 3.1 with trim_blocks, lstrip_blocks and loop
controls; utils/chat_template_utils.py of transformers 4.57) as far as chat templates go: anything else is `Unsupported`. Values are text,
numbers, lists and mappings of our own making; a name of a filter, test or method reaches only what stands in the tables of `functions` and
`values`. Every step and every text made counts against a budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelbuild.ollama.jinja.functions import GLOBALS
from modelbuild.ollama.jinja.lexer import split
from modelbuild.ollama.jinja.nodes import execute_all
from modelbuild.ollama.jinja.parser import Parser
from modelbuild.ollama.jinja.run import Run, Scope
from modelbuild.ollama.jinja.values import DATE, Unsupported

LONGEST_TEMPLATE = 1 << 18
"""Characters. The longest published ones have some 20 thousand."""


Message = Mapping[str, str]


class Template:
    """A chat template, read; raises Unsupported."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST_TEMPLATE:
            raise Unsupported("too long")
        if DATE[0] in text or DATE[1] in text:
            raise Unsupported("a mark of a date")
        try:
            self.body = Parser(split(text)).body()
        except RecursionError as error:
            raise Unsupported("too deep") from error

    def render(self, messages: Sequence[Message], names: Mapping[str, str | bool]) -> str:
        """Render a conversation as transformers' apply_chat_template(add_generation_prompt=True) does.

        names  further variables: `bos_token`, `eos_token`, `enable_thinking`
        A date comes out as DATE with the format in it. Raises Unsupported or Refused.
        """
        given = {"messages": [dict(message) for message in messages], "add_generation_prompt": True, "tools": None}
        run = Run()
        scope = Scope({**GLOBALS, **names, "documents": None, **given}, None)
        out: list[str] = []
        try:
            execute_all(self.body, run, scope, out)
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            raise Unsupported(str(error)) from error
        return "".join(out)
