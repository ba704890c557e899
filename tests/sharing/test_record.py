"""Records: what is written is read again, and what nobody could have written is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelbuild.digest import sha256
from modelbuild.engine.action import ActionResult, Range
from modelbuild.sharing.record import LIMIT, Record, decode_index, encode_index

KEY = "a" * 64
RESULT = ActionResult(sha256(b"x"), 1)
RANGE = ("xxh3:" + "0" * 32, Range(RESULT.artifact, 0, 1, "xxh3:" + "1" * 32))


@pytest.mark.parametrize(
    "record", [Record(KEY, RESULT), Record(KEY, RESULT, 1.5, sha256(b"i")), Record(KEY, RESULT, 0.0, None, b"x")]
)
def test_what_is_written_is_read_again(record: Record) -> None:
    assert Record.decode(record.encode(), KEY) == record
    assert Record.decode(record.encode(), "b" * 64) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"v": 2}, {"v": None}, {"artifact": "sha256:1"}, {"artifact": 3}, {"size": -1}, {"size": True}, {"size": 1 << 63},
        {"size": 1.0}, {"seconds": "1"}, {"seconds": -1}, {"seconds": True}, {"index": 4}, {"index": "sha256:"},
        {"data": "eQ=="}, {"data": "!"}, {"data": 5},
    ],
)  # fmt: skip
def test_what_says_something_else_is_none(wrong: dict[str, Any]) -> None:
    value = {**Record(KEY, RESULT).value(), **wrong}
    assert Record.decode(json.dumps(value).encode(), KEY) is None


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"[" * 5000, b"\xff", b" " * (LIMIT + 1)])
def test_what_is_no_record_is_none(data: bytes) -> None:
    assert Record.decode(data, KEY) is None


def test_an_index_is_read_again_and_ends_with_its_artifact() -> None:
    assert decode_index(encode_index((RANGE,)), RESULT) == (RANGE,)
    assert decode_index(encode_index((RANGE,)), ActionResult(RESULT.artifact, 0)) == ()
    for wrong in (b"", b"[]", b"[1, 2]", b'[1, [["xxh3:", 0, 1, "xxh3:"]]]', b"[1, [[1, 2]]]", b"[2, []]", b"[" * 9999):
        assert decode_index(wrong, RESULT) == ()
