"""Values that Ollama accepts, but that cannot have the wanted effect: numbers out of range, stops that no model writes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from modelbuild.errors import Error
from modelbuild.ollama.modelfile.source import short
from modelbuild.tuples import NamedTuple


class Range(NamedTuple):
    """The least and the greatest value that means something; None where there is no bound."""

    least: float | None
    most: float | None = None
    is_open: bool = False
    """Whether the least itself means nothing."""
    note: str = ""

    def has(self, value: float) -> bool:
        below = self.least is not None and (value < self.least or (self.is_open and value == self.least))
        return not below and not (self.most is not None and value > self.most)

    def __str__(self) -> str:
        if self.most is not None:
            return f"{self.least} to {self.most}"
        return f"{'more than' if self.is_open else 'at least'} {self.least}{self.note}"


RANGES = {
    "temperature": Range(0),
    "top_p": Range(0, 1),
    "min_p": Range(0, 1),
    "typical_p": Range(0, 1),
    "repeat_penalty": Range(0, is_open=True, note="; 1 is no penalty"),
    "num_ctx": Range(1),
    "num_batch": Range(1),
    "num_thread": Range(0, note="; 0 lets Ollama choose"),
    "num_gpu": Range(-1, note="; -1 lets Ollama choose"),
    "main_gpu": Range(0),
    "num_predict": Range(-2, note="; -1 is without end, -2 fills the context"),
    "num_keep": Range(-1, note="; -1 keeps all"),
    "repeat_last_n": Range(-1, note="; -1 is the whole context, 0 none"),
    "top_k": Range(-1, note="; 0 and -1 take all"),
    "draft_num_predict": Range(0),
}
"""Parameter -> its range, where nobody disputes it. Ollama checks none of them (api/types.go)."""


def of(name: str, value: Any) -> Iterator[Error]:
    """Warnings, without a place, about a parameter in its own type."""
    if name == "stop":
        for stop in value:
            yield from _of_stop(stop)
    elif name in RANGES and not RANGES[name].has(value):
        yield Error(
            f"parameter '{name}' is {int(value) if value == int(value) else value}, which means nothing: expected {RANGES[name]}"
        )


_LIST = (
    r"""\[\s*["'].*["']\s*\]"""  # ["a", "b"] and ['a']
    r"|\[[^\[\]\s]+(?:\s+[^\[\]\s]+)+\]"  # [a b], as Go prints a list
    r"|\[(?:\[[^\[\]]+\](?:\s*,\s*|\s+)?){2,}\]"  # [[INST] [/INST]]
    r"|\[\s*\]"
    r"|<[^<>\s]+>(?:\s*[,;]\s*<[^<>\s]+>)+"  # <a>, <b>
    r"|<\|[^<>\s]+\|>(?:\s+<\|[^<>\s]+\|>)+"  # <|a|> <|b|>
    r"""|[^"\[{][^"]*(?:"\s*,\s*"[^"]*)+"""  # a", "b, of which the outer quotes are taken off
)
_CAPITALS = r"\[[A-Z]+(?: [A-Z]+)+\]"
_ENTITY = r"&(?:lt|gt|amp|quot|#[0-9]+);"
_ESCAPE = r"\\(?:[nrt\"]|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2})"
_QUOTES = ("''", "``", "“”", "‘’", "„“", "«»")


def _of_stop(stop: str) -> Iterator[Error]:
    """What makes a text one that no model ever says."""
    text = stop.strip()
    if not stop:
        yield Error(
            "an empty stop stops nothing",
            hint='to take the base\'s stops away: parameters = { stop = "" } in ModelBuild.toml',
        )
    elif _is_list(text):
        yield Error(
            "a stop is one text, and no model writes a list of them",
            hint='write each by itself: a PARAMETER stop line for each; in ModelBuild.toml stop = ["…", "…"]',
        )
    elif "\\" in stop and re.search(_ESCAPE, stop):
        yield Error(
            "a stop has no escapes: the backslash is part of the stop text",
            hint='for a line break, break the line inside """…"""',
        )
    elif "&" in stop and (entity := re.search(_ENTITY, stop)):
        yield Error(f"'{entity[0]}' is not decoded: it is part of the stop text", hint="write the character")
    elif text.strip(text[:1]) and text[0] + text[-1] in _QUOTES:
        kind = "single quotes" if text[0] == "'" else f"quotes {text[0]}…{text[-1]}"
        yield Error(f"the {kind} are part of the value of stop", hint='quote with "…"')
    elif " # " in text:
        comment = short(text[text.index(" # ") + 1 :])
        yield Error(f"'{comment}' is part of the stop text", hint="put a comment on its own line")
    elif text.startswith("= "):
        yield Error("the '=' is part of the stop text", hint="write 'PARAMETER stop …'")


def _is_list(text: str) -> bool:
    # Most stops are single tokens: the expressions are made only for what may be a list.
    if not (text[:1] in ("[", "{") or '"' in text or (text[:1] == "<" and re.search(r"[\s,;]", text))):
        return False
    if re.fullmatch(_CAPITALS, text):  # [END OF TEXT]
        return False
    is_stop = re.match(r"""\{\s*["']stop["']\s*:""", text)
    return is_stop is not None or re.fullmatch(_LIST, text, re.DOTALL) is not None
