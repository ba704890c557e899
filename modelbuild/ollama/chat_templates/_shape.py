"""What a chat template does, learned by rendering conversations with it: the text around the messages, however the Jinja is written."""

from __future__ import annotations

import re
from collections.abc import Mapping

from modelbuild.ollama.jinja.template import Template
from modelbuild.ollama.jinja.values import Refused, Unsupported
from modelbuild.tuples import NamedTuple

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
ONE = (USER,)
TWO = (USER, ASSISTANT, USER)
THREE = (USER, ASSISTANT, USER, ASSISTANT, USER)

BOS = ("<|begin_of_text|>", "<|startoftext|>", "<bos>", "<s>")
"""Tokens with which templates begin as plain text. Ollama's runner adds the token that the tokenizer asks for."""
LONGEST = 200
"""Characters between messages. A system prompt of the template's own stands before all messages."""
THOUGHT = "<think>\nqz0t\n</think>"
OPENED = "<think>\n"
"""How a prompt ends that has the model think before it answers."""


class System(NamedTuple):
    """The text before a system message and after it, where that stands before the first user message, or the `last` one.

    Before the last one, what stands before it is what stands before a user message; `before` is empty then.
    """

    before: str
    after: str
    last: bool = False


class Turns(NamedTuple):
    """What stands before and after a user's message (from the second on) and an assistant's, and where the model goes on."""

    user: str
    user_end: str
    assistant: str
    assistant_end: str
    prompt: str


class Shape(NamedTuple):
    """The text around messages, without BOS at the beginning.

    start   before the first user message where there is no system message
    answer  from a user's message to the assistant's
    ask     from an assistant's message to the user's
    end     after the last user message
    bos, eos  the texts of these tokens
    system  None where the template refuses system messages or leaves them out
    mute    None where thoughts of former answers stay; else they are left out, and this ends a prompt without thinking
    """

    start: str
    answer: str
    ask: str
    end: str
    bos: str
    eos: str
    system: System | None = None
    mute: str | None = None

    def around(self, roles: tuple[str, ...]) -> list[str]:
        """The texts before, between and after the messages of a conversation, in the order in which they come out."""
        system = self.system if roles[0] == SYSTEM else None
        count = roles.count(USER)
        texts = [self.start, *[self.answer, self.ask] * (count - 1), self.end]
        if system is None:
            return texts
        if system.last:
            return [*texts[:-1], system.after, self.end]
        return [system.before, system.after, *texts[1:]]

    def turns(self, user: str, assistant: str) -> Turns | None:
        """Cut the texts between messages at what opens a user's message and an assistant's: two patterns."""
        answer = re.fullmatch(rf"(.*?)({assistant})", self.answer, re.DOTALL)
        ask = re.fullmatch(rf"(.*?)({user})", self.ask, re.DOTALL)
        if answer is None or ask is None or not self.end.startswith(answer[1]):
            return None
        opening = self.start if re.fullmatch(user, self.start) and self.ask.endswith(self.start) else ask[2]
        prompt = self.end[len(answer[1]) :]
        if prompt.rstrip() != answer[2].rstrip() and (self.mute is None or prompt != answer[2] + OPENED):
            return None
        return Turns(opening, answer[1], answer[2], self.ask.removesuffix(opening), prompt)


def learn(jinja: str, bos: str, eos: str) -> Shape | None:
    """The shape of a template; None where it does more than to put text around messages, or cannot be read."""
    try:
        return _learn(Template(jinja), bos, eos)
    except (Unsupported, Refused):
        return None


class _Rendering:
    """Renders conversations with a template, and says what comes out around the messages."""

    def __init__(self, template: Template, bos: str, eos: str) -> None:
        self._template = template
        self._names: dict[str, str | bool] = {"bos_token": bos, "eos_token": eos}
        # SmolLM calls <|im_start|> its BOS. What opens every message is no BOS, and stays.
        opens = bos not in BOS and template.render([{"role": USER, "content": "qz"}], self._names).count(bos) > 1
        self._begins = BOS if opens else (bos, *BOS)

    def around(
        self, roles: tuple[str, ...], thought: str = "", kept: str = "", more: Mapping[str, bool] | None = None
    ) -> tuple[list[str], list[str]]:
        """The texts around the messages and the roles, as both come out. What is left out has no place in them.

        thought, kept  what begins each answer, and what of it is expected to come out
        """
        contents = [f"{kept if role == ASSISTANT else ''}qz{at}{role}" for at, role in enumerate(roles)]
        sent = [
            thought + each.removeprefix(kept) if role == ASSISTANT else each
            for each, role in zip(contents, roles, strict=True)
        ]
        messages = [{"role": role, "content": content} for role, content in zip(roles, sent, strict=True)]
        text = self._template.render(messages, {**self._names, **(more or {})})
        for token in self._begins:
            if token and text.startswith(token):
                text = text.removeprefix(token)
                break
        places = sorted((text.find(content), len(content), role) for content, role in zip(contents, roles, strict=True))
        if any(text.count(content) > 1 for content in contents):
            raise Unsupported("a message comes out twice")
        texts, at = [], 0
        for place, size, _ in places:
            if place >= 0:
                texts.append(text[at:place])
                at = place + size
        return [*texts, text[at:]], [role for place, _, role in places if place >= 0]


def _learn(template: Template, bos: str, eos: str) -> Shape | None:
    around = _Rendering(template, bos, eos).around
    texts, order = around(THREE)
    if order != list(THREE) or max(map(len, texts[1:])) > LONGEST:
        return None
    shape = Shape(texts[0], texts[1], texts[2], texts[-1], bos, eos)
    for roles in (ONE, TWO, THREE):
        if around(roles) != (shape.around(roles), list(roles)):
            return None
    plain = (shape.around(TWO), list(TWO))
    if around(TWO, THOUGHT, THOUGHT) != plain:
        if around(TWO, THOUGHT) != plain:
            return None
        mute = around(ONE, more={"enable_thinking": False})[0][-1]
        if not mute.startswith(shape.end.removesuffix(OPENED)):
            return None
        shape = shape._replace(mute=mute)

    try:
        texts, order = around((SYSTEM, *THREE))
    except Refused:
        return shape
    if SYSTEM not in order:
        return shape if texts == shape.around(THREE) else None
    last = order == [*THREE[:-1], SYSTEM, USER]
    shape = shape._replace(system=System("", texts[-2], True) if last else System(texts[0], texts[1]))
    for turns in (ONE, TWO, THREE):
        expected = [*turns[:-1], SYSTEM, USER] if last else [SYSTEM, *turns]
        if around((SYSTEM, *turns)) != (shape.around((SYSTEM, *turns)), expected):
            return None
    return shape
