"""An answer that is not the one we need, as an error: whose it is, what it says, and what to do."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from modelbuild.errors import Error
from modelbuild.ollama.name import HOST
from modelbuild.registry.faults import Unreachable
from modelbuild.registry.origin import Origin
from modelbuild.registry.transport import Answer
from modelbuild.words import shown

SHORTEST = 8
"""Characters of a value of a link from which on it may be a secret; shorter ones are words and numbers."""


def refusal(answer: Answer, subject: str, hint: str | None = None) -> Error:
    """The error for an answer's status. Reads its body, which is a registry's own words at best.

    subject  what was asked for, as it reads before "is not known": "'library/llama3:latest'"
    hint     what to do if that does not exist
    """
    origin, status = answer.origin, answer.status
    data = _body(answer)
    told = _message(answer, data)
    facts = [("registry", told)] if told else []
    if status in (401, 403):
        what = f"access denied: '{origin}' does not let us have {subject}"
        return Error(what, facts=facts, hint=f"check the name; for a private model: {way_in(origin)}")
    if status in (404, 410):
        return Error(f"{subject} is not known to '{origin}'", facts=facts, hint=hint or "check the name and its tag")
    if status == 429:
        return Unreachable(f"'{origin}' refuses more requests for now", facts=facts, hint="try again later")
    if status >= 500:
        what = f"'{origin}' failed (status {status}) when asked for {subject}"
        return Unreachable(what, facts=facts, hint="try again later")
    what = f"'{origin}' answered with status {status} when asked for {subject}"
    hint = "check the name: this may not be a registry of models"
    if status == 400 and origin.scheme == "http" and b"https" in data.lower():
        hint = "it speaks https: leave out --insecure, or name its certificate with --ca-file"
    return Error(what, facts=facts, hint=hint)


def way_in(origin: Origin) -> str:
    """How a user gets into a registry: a hint."""
    if origin.host == HOST:
        return "`modelbuild whoami` shows your key, and where to add it"
    return f"`docker login {origin}`"


def message(answer: Answer) -> str | None:
    """What a registry says of an error, in one short line; None where that cannot be read, or repeats a secret that it was sent."""
    return _message(answer, _body(answer))


def _body(answer: Answer) -> bytes:
    """The body of an error; nothing where it cannot be had."""
    try:
        return answer.body(what="error")
    except Error:
        return b""


def _message(answer: Answer, data: bytes) -> str | None:
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        errors = value.get("errors")
        if isinstance(errors, list) and errors and isinstance(errors[0], dict):
            value = errors[0]
        for key in ("message", "error", "detail", "code"):
            if isinstance(value.get(key), str) and value[key].strip():
                told = value[key].strip()
                return None if any(secret in told for secret in _secrets(answer)) else shown(told)
    return None


def _secrets(answer: Answer) -> Iterator[str]:
    """What the request had that is secret: what let us in, and what signs a storage's link."""
    query = urlsplit(answer.url).query
    yield from (value for _, value in parse_qsl(query) if len(value) >= SHORTEST)
    scheme, _, given = (answer.let_in_by or "").partition(" ")
    if given:
        yield given
        if scheme == "Basic":
            login = base64.b64decode(given).decode("utf-8", "replace")
            yield from filter(None, (login, login.partition(":")[2]))
