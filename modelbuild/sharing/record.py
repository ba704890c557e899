"""What a remote keeps of an action: which artifact it made, and where its tensors lie. Whoever can write there may have written it."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

from modelbuild.bounded_json import check
from modelbuild.digest import canonical, sha256
from modelbuild.engine.action import ActionResult, Range
from modelbuild.errors import Error
from modelbuild.sharing.signing import Signer, Trust
from modelbuild.tuples import NamedTuple

VERSION = 1

LIMIT = 64 << 10
"""Bytes of a record that is read."""

SMALL = 16 << 10
"""Bytes of an artifact that stands in its record: one request fewer."""

INDEX_LIMIT = 64 << 20
"""Bytes of the index of an artifact's tensors. That of a model of a thousand tensors takes some hundred thousand."""

_SIZES = 1 << 63
_DIGEST = re.compile("sha256:[0-9a-f]{64}")
_TENSOR = re.compile("xxh3:[0-9a-f]{32}")


class Record(NamedTuple):
    """What an action made.

    key      of the action
    seconds  that it took the machine that made it
    ranges   the digest of the index of its tensors; None if it has none
    data     the artifact itself, if it is small
    """

    key: str
    result: ActionResult
    seconds: float = 0.0
    ranges: str | None = None
    data: bytes | None = None

    def value(self) -> dict[str, Any]:
        """All that it says, as JSON has it."""
        found: dict[str, Any] = {
            "v": VERSION,
            "key": self.key,
            "artifact": self.result.artifact,
            "size": self.result.size,
            "seconds": round(self.seconds, 3),
        }
        if self.ranges is not None:
            found["index"] = self.ranges
        if self.data is not None:
            found["data"] = base64.b64encode(self.data).decode()
        return found

    def encode(self, signer: Signer | None = None) -> bytes:
        return canonical(signer.signed(self.value()) if signer is not None else self.value())

    @staticmethod
    def decode(data: bytes, key: str, trust: Trust | None = None) -> Record | None:
        """A record that says what it should, of this key; None for any other. Raises Untrusted if whom we trust did not sign it."""
        value = _object(data)
        if value is None or value.get("v") != VERSION or value.get("key") != key:
            return None
        if trust is not None:
            trust.check(value)
        artifact, size, seconds = value.get("artifact"), value.get("size"), value.get("seconds")
        index, text = value.get("index"), value.get("data")
        if not isinstance(artifact, str) or not _DIGEST.fullmatch(artifact):
            return None
        if type(size) is not int or not 0 <= size < _SIZES:
            return None
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds < 1e9:
            return None
        if index is not None and not (isinstance(index, str) and _DIGEST.fullmatch(index)):
            return None
        small = None
        if text is not None:
            try:
                small = base64.b64decode(text, validate=True) if isinstance(text, str) else None
            except (binascii.Error, ValueError):
                return None
            if small is None or len(small) != size or sha256(small) != artifact:
                return None
        return Record(key, ActionResult(artifact, size), float(seconds), index, small)


def encode_index(tensors: tuple[tuple[str, Range], ...]) -> bytes:
    """Where the tensors of an artifact lie: [key, offset, length, xxh3] of each."""
    return canonical([VERSION, [[key, at.offset, at.length, at.xxh3] for key, at in tensors]])


def decode_index(data: bytes, result: ActionResult) -> tuple[tuple[str, Range], ...]:
    """The index of an artifact; empty where it says what no index can."""
    try:
        check(data, "index")
        version, ranges = json.loads(data)
        if version != VERSION:
            return ()
        return tuple(_tensor(result, *each) for each in ranges)
    except (Error, ValueError, TypeError, RecursionError):
        return ()


def _tensor(result: ActionResult, key: Any, offset: Any, length: Any, xxh3: Any) -> tuple[str, Range]:
    if {type(offset), type(length)} != {int} or min(offset, length) < 0 or offset + length > result.size:
        raise ValueError("not a range")
    if not _TENSOR.fullmatch(key) or not _TENSOR.fullmatch(xxh3):
        raise ValueError("not a digest")
    return key, Range(result.artifact, offset, length, xxh3)


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data) if len(data) <= LIMIT else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
