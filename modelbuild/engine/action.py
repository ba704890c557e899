"""Actions: a step with the digests of its inputs, and its result. The digest of the action is the only rebuild rule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from modelbuild.tuples import NamedTuple

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
        import hashlib

        lines = (f"{name}\t{value}" if name else value for _, name, value in self.fields())
        self.digest = "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def fields(self) -> Iterator[tuple[str, str, str]]:
        """All that decides what is made: (what it is, its name, its value). The digest is taken of these and of nothing else."""
        yield "kind", "", self.kind
        yield "version", "", str(self.version)
        yield "parameters", "", self.parameters
        for role, digest in self.inputs:
            yield "input", role, digest

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


class Range(NamedTuple):
    """Where a tensor's bytes lie: in which blob, from where, how many, and their xxh3."""

    blob: str
    offset: int
    length: int
    xxh3: str


class Made(NamedTuple):
    """What running an action gave: its result, where in that which tensors lie (by key), and how much work it was.

    seconds  how long it took, where that was measured
    """

    result: ActionResult
    tensors: tuple[tuple[str, Range], ...] = ()
    computed: int = 0
    reused: int = 0
    written: int = 0
    seconds: float = 0.0


def differences(old: Action, new: Action) -> list[tuple[str, str, str]]:
    """What changed between two actions, of the fields that their digests are taken of: (field, before, after)."""
    before, after = _named(old), _named(new)
    fields = sorted(dict.fromkeys([*before, *after]), key=lambda field: _ORDER.index(field[0]))
    return [
        (f"{what} '{name}'" if what in ("parameter", "input") else what, *sides)
        for what, name in fields
        if len(set(sides := (before.get((what, name), "(none)"), after.get((what, name), "(none)")))) > 1
    ]


_ORDER = ("kind", "version", "parameter", "input")


def _named(action: Action) -> dict[tuple[str, str], str]:
    """The fields of an action, each parameter one of its own."""
    found: dict[tuple[str, str], str] = {}
    for what, name, value in action.fields():
        if what == "parameters":
            found.update((("parameter", key), each) for key, each in _flat(json.loads(value)))
        else:
            found[what, name] = value
    return found


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [pair for key, item in value.items() for pair in _flat(item, f"{prefix}.{key}" if prefix else key)]
    return [(prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]
