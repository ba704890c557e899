"""An answer that is not the one we need, as an error: whose it is, what it says, and what to do."""

from __future__ import annotations

import json
from typing import Any

from modelbuild.errors import Error
from modelbuild.ollama.name import HOST
from modelbuild.registry.faults import Unreachable
from modelbuild.registry.origin import Origin
from modelbuild.registry.transport import Answer
from modelbuild.words import shown


def refusal(answer: Answer, subject: str, hint: str | None = None) -> Error:
    """The error for an answer's status. Reads its body, which is a registry's own words at best.

    subject  what was asked for, as it reads before "is not known": "'library/llama3:latest'"
    hint     what to do if that does not exist
    """
    origin, status = answer.origin, answer.status
    told = message(answer)
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
    return Error(what, facts=facts, hint="check the name: this may not be a registry of models")


def way_in(origin: Origin) -> str:
    """How a user gets into a registry: a hint."""
    if origin.host == HOST:
        return "`modelbuild whoami` shows your key, and where to add it"
    return f"`docker login {origin}`"


def message(answer: Answer) -> str | None:
    """What a registry says of an error, in one short line; None where it says nothing that can be read."""
    try:
        value: Any = json.loads(answer.body(what="error"))
    except (Error, ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        errors = value.get("errors")
        if isinstance(errors, list) and errors and isinstance(errors[0], dict):
            value = errors[0]
        for key in ("message", "error", "detail", "code"):
            if isinstance(value.get(key), str) and value[key].strip():
                return shown(value[key].strip())
    return None
