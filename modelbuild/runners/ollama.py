"""Ollama's server, where one serves this models folder: it lists the name with the digest of our manifest."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from modelbuild.errors import Error
from modelbuild.ollama import server
from modelbuild.runners import Model, Piece, Timing

WAY = "start `ollama serve` on this models folder, or send the model to a server: `modelbuild --ollama TARGET`"


def missing(model: Model) -> str | None:
    at = server.address(os.environ.get("OLLAMA_HOST"))
    if at is None:
        return "$OLLAMA_HOST is not a server of this machine"
    serves = server.listed(at)
    if serves is None:
        return f"no server answers at {at}"
    digest = serves.get(model.name.casefold())
    if digest is None:
        return f"the server at {at} does not list '{model.name}'"
    return None if digest == model.digest else f"the server at {at} lists a different '{model.name}'"


def talk(model: Model) -> Talk:
    return Talk(model)


class Talk:
    about = "Ollama's server makes the prompts"
    warnings: Sequence[Error] = ()

    def __init__(self, model: Model) -> None:
        from modelbuild.ollama.api import Address, Client, Stop

        at = server.address(os.environ.get("OLLAMA_HOST"))
        assert at is not None
        self.timing = Timing()
        self._client = Client(Address("http", at.host, at.port))
        self._model = model
        self._stop: Stop | None = None

    def answer(self, messages: Sequence[tuple[str, str]]) -> Iterator[Piece]:
        # The server puts the system text and the messages of the model before these.
        body: dict[str, Any] = {
            "model": self._model.name,
            "messages": [{"role": role, "content": content} for role, content in messages],
            "options": dict(self._model.given),
        }
        self.timing = Timing()
        for event in self._client.stream("/api/chat", body, self._begun):
            message = event.get("message")
            if isinstance(message, dict):
                for kind, key in (("thought", "thinking"), ("answer", "content")):
                    if text := message.get(key):
                        yield Piece(kind, str(text))  # type: ignore[arg-type]
            if event.get("done") is True:
                self.timing = _timing(event)

    def _begun(self, stop: Any) -> None:
        self._stop = stop

    def stop(self) -> None:
        if self._stop is not None:
            self._stop()

    def close(self) -> None:
        """The server keeps the model loaded for as long as it is set to."""


def _timing(event: dict[str, Any]) -> Timing:
    def number(key: str) -> Any:
        value = event.get(key)
        return value if isinstance(value, int) else None

    def seconds(key: str) -> float | None:
        value = number(key)
        return None if value is None else value / 1e9

    return Timing(
        number("prompt_eval_count"), seconds("prompt_eval_duration"), number("eval_count"), seconds("eval_duration")
    )
