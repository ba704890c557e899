"""Actions: a step with the digests of its inputs. The digest of the action is the only rebuild rule."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

ABSENT = "absent"
"""Stands for the digest of a source that isn't there: absence decides bytes too."""


class Action:
    """What is run: kind, version, parameters (canonical JSON), (role, digest) of each input. Knows no names and no paths."""

    __slots__ = ("digest", "inputs", "kind", "parameters", "version")

    def __init__(self, kind: str, version: int, parameters: str, inputs: tuple[tuple[str, str], ...]) -> None:
        self.kind = kind
        self.version = version
        self.parameters = parameters
        self.inputs = inputs
        lines = [kind, str(version), parameters, *[f"{role}\t{digest}" for role, digest in inputs]]
        self.digest = "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def encode(self) -> str:
        return json.dumps([self.kind, self.version, self.parameters, self.inputs], separators=(",", ":"))

    @staticmethod
    def decode(text: str) -> Action:
        kind, version, parameters, inputs = json.loads(text)
        return Action(kind, version, parameters, tuple((role, digest) for role, digest in inputs))


class ActionResult(NamedTuple):
    """What an action made: the artifact's sha256 digest and its size in bytes."""

    artifact: str
    size: int


def differences(old: Action, new: Action) -> list[tuple[str, str, str]]:
    """What changed between two actions, field by field: (field, before, after)."""
    found: list[tuple[str, str, str]] = []
    if old.kind != new.kind:
        found.append(("kind", old.kind, new.kind))
    if old.version != new.version:
        found.append(("version", str(old.version), str(new.version)))
    found += _fields("parameter", _flat(json.loads(old.parameters)), _flat(json.loads(new.parameters)))
    found += _fields("input", list(old.inputs), list(new.inputs))
    return found


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [pair for key, item in value.items() for pair in _flat(item, f"{prefix}.{key}" if prefix else key)]
    return [(prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]


def _fields(what: str, old: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
    before, after = dict(old), dict(new)
    return [
        (f"{what} '{key}'", before.get(key, "(none)"), after.get(key, "(none)"))
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    ]
