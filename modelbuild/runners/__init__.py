"""Programs that run a finished model, one file for each. They get a model as it lies in a models folder, and answer messages."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Literal, Protocol, cast

from modelbuild.errors import Error
from modelbuild.tuples import NamedTuple

ORDER = ("ollama", "llama-server", "xllamacpp")
"""Which is used if several could be; others come after these."""


class Model(NamedTuple):
    """A model of a models folder.

    name        as Ollama displays it
    digest      of its manifest, in hex
    weights     the file of the model layer; adapters, projector: those of their layers
    template    the TEMPLATE, in Go's language; None where the model has none
    chat        the chat template of the weights, in Jinja, with the texts of the tokens BOS and EOS
    renderer    the RENDERER of Ollama by which its server makes prompts
    messages    (role, content) of MESSAGE
    parameters  of PARAMETER and the command line; `given` are the latter alone
    context     tokens for which the weights were trained; 0 where they do not say
    """

    name: str
    digest: str
    weights: str
    adapters: Sequence[str] = ()
    projector: str | None = None
    template: str | None = None
    chat: tuple[str, str, str] | None = None
    renderer: str | None = None
    system: str = ""
    messages: Sequence[tuple[str, str]] = ()
    parameters: Mapping[str, Any] = {}
    given: Mapping[str, Any] = {}
    context: int = 0


class Piece(NamedTuple):
    """A part of an answer, or of a thought before it."""

    kind: Literal["answer", "thought"]
    text: str


class Timing(NamedTuple):
    """Tokens and seconds of one answer; None where the runner does not say."""

    prompt_tokens: int | None = None
    prompt_seconds: float | None = None
    tokens: int | None = None
    seconds: float | None = None


class Full(Error):
    """The conversation is longer than the context."""


class Talk(Protocol):
    """A loaded model.

    about     how it makes prompts, in a few words
    warnings  what it does otherwise than Ollama
    timing    of the last answer
    """

    about: str
    warnings: Sequence[Error]
    timing: Timing

    def answer(self, messages: Sequence[tuple[str, str]]) -> Iterator[Piece]:
        """Go on with a conversation, whose last message is the user's. Raises Error."""

    def stop(self) -> None:
        """End the answer under way; safe in a handler of a signal."""

    def close(self) -> None:
        """Unload the model; never raises."""


class Runner(Protocol):
    """A module of this folder.

    WAY   how to get it, an imperative
    """

    WAY: str

    def missing(self, model: Model) -> str | None:
        """Why it cannot run the model; None if it can."""

    def talk(self, model: Model) -> Talk:
        """Load the model. Raises Error."""


@cache
def names() -> tuple[str, ...]:
    """The names of all runners, in the order in which they are tried."""
    files = (entry.removesuffix(".py") for entry in os.listdir(os.path.dirname(__file__)) if entry.endswith(".py"))
    found = sorted(name.replace("_", "-") for name in files if not name.startswith("_"))
    return tuple(sorted(found, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER)))


def get(name: str) -> Runner:
    return cast(Runner, import_module(f"{__name__}.{name.replace('-', '_')}"))


def choose(model: Model, named: str | None = None) -> tuple[str, Runner]:
    """The runner that was named, else the first that can run the model. Raises Error that says how to get each."""
    tried = {name: get(name) for name in ([named] if named else names())}
    reasons = {}
    for name, runner in tried.items():
        reason = runner.missing(model)
        if reason is None:
            return name, runner
        reasons[name] = reason
    facts = [(name, f"{reasons[name]}: {runner.WAY}") for name, runner in tried.items()]
    what = f"'{named}' cannot run '{model.name}' here" if named else f"nothing here can run '{model.name}'"
    raise Error(what, facts=facts)
