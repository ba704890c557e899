from __future__ import annotations

import json

import pytest

from modelbuild.registry.faults import Unreachable
from modelbuild.registry.refusals import message, refusal
from tests.registry.clients import transport
from tests.registry.standin import Reply, Standin


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, "access denied"),
        (403, "access denied"),
        (404, "is not known to"),
        (418, "answered with status 418"),
        (429, "refuses more requests"),
        (500, "failed (status 500)"),
    ],
)
def test_each_status_says_whose_it_is_and_what_to_do(status: int, told: str) -> None:
    with Standin() as registry:
        registry.script.append(lambda asked: Reply(status, b'{"errors": [{"code": "X", "message": "our words"}]}'))
        with transport().request("GET", f"{registry.url}/v2/") as answer:
            error = refusal(answer, "'library/m:latest'")
    assert told in error.what and registry.host in error.what
    assert ("registry", "our words") in error.facts and error.hint
    assert isinstance(error, Unreachable) == (status in (429, 500))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error": "Repository not found"}', "Repository not found"),
        (b'{"errors": [{"code": "DENIED"}]}', "DENIED"),
        (b'{"errors": []}', None),
        (b'{"errors": [[]], "message": 5}', None),
        (b"<html>", None),
        (b"[" * 100_000, None),
        (b"", None),
        (json.dumps({"message": "\x1b[31m" + "x" * 500}).encode(), None),
    ],
)
def test_what_a_registry_says_is_read_with_care(body: bytes, expected: str | None) -> None:
    with Standin() as registry:
        registry.script.append(lambda asked: Reply(400, body))
        with transport().request("GET", f"{registry.url}/v2/") as answer:
            told = message(answer)
    if expected is None and told is not None:
        assert len(told) <= 80 and told.isprintable()
    else:
        assert told == expected
