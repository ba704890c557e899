"""Tensors that lie in artifacts of the remote: where, by keys that travel, as those of actions do.

A tensor's key in the local index is of its expression and the xxh3 of the leaves. The one that travels is of the same with the sha256
of the leaves, so that what two weights files have in common is found, whatever else is in them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from modelbuild.digest import canonical
from modelbuild.sharing.record import LIMIT
from modelbuild.sharing.signing import Signer, Trust
from modelbuild.tensors import operations
from modelbuild.tensors.recipe import Expression
from modelbuild.tuples import NamedTuple

VERSION = 1

LEAST = 64 << 10
"""Bytes of a tensor that is worth a record: a smaller one is computed more quickly than it is asked for."""

_DIGEST = re.compile("sha256:[0-9a-f]{64}")
_SIZES = 1 << 63


def key(x: Expression, leaves: Mapping[str, str]) -> str | None:
    """The key of a tensor that travels, 64 hex digits; None where a leaf is none of `leaves`, xxh3 -> sha256."""
    if x.operation == "leaf":
        sha256 = leaves.get(x.digest)
        parts: list[Any] = ["leaf", sha256, x.dtype, x.shape]
        if sha256 is None:
            return None
    else:
        keys = [key(operand, leaves) for operand in x.operands]
        if None in keys:
            return None
        parts = [x.operation, operations.version(x.operation), x.parameters, x.dtype, x.shape, keys]
    return hashlib.sha256(canonical(["modelbuild tensor", VERSION, *parts])).hexdigest()


class Part(NamedTuple):
    """A tensor that lies in an artifact.

    blob     the artifact
    sha256   of the tensor's bytes
    seconds  that it took to make, as far as that can be told of one of many
    """

    key: str
    blob: str
    offset: int
    length: int
    sha256: str
    seconds: float = 0.0

    def encode(self, signer: Signer | None = None) -> bytes:
        value = {"v": VERSION, **self._asdict(), "seconds": round(self.seconds, 6)}
        return canonical(signer.signed(value) if signer is not None else value)

    @staticmethod
    def decode(data: bytes, key: str, trust: Trust | None = None) -> Part | None:
        """A part that says what it should, of this key; None for any other. Raises Untrusted if whom we trust did not sign it."""
        try:
            value = json.loads(data) if len(data) <= LIMIT else None
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict) or value.get("v") != VERSION or value.get("key") != key:
            return None
        if trust is not None:
            trust.check(value)
        blob, sha256, seconds = value.get("blob"), value.get("sha256"), value.get("seconds")
        offset, length = value.get("offset"), value.get("length")
        if not (
            isinstance(blob, str) and isinstance(sha256, str) and _DIGEST.fullmatch(blob) and _DIGEST.fullmatch(sha256)
        ):
            return None
        if type(offset) is not int or type(length) is not int or offset < 0 or length < 0 or offset + length >= _SIZES:
            return None
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
            return None
        return Part(key, blob, offset, length, sha256, float(seconds))
