"""What travels between a build and a worker, as JSON: an action with what it needs, and the answer. Bytes go by the shared cache."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Sequence
from typing import Any

from modelbuild import __version__
from modelbuild.bounded_json import check
from modelbuild.digest import canonical
from modelbuild.engine.action import Action, ActionResult, Made
from modelbuild.errors import Error
from modelbuild.tensors import formats
from modelbuild.tuples import NamedTuple

VERSION = 1
"""The next number when a task or an answer is spelled otherwise."""

_SHA256 = re.compile("sha256:[0-9a-f]{64}")
_XXH3 = re.compile("xxh3:[0-9a-f]{32}")
_KEY = re.compile("[0-9a-f]{64}")
_SIZES = 1 << 63


class Weights(NamedTuple):
    """A weights file whose tensors an action may read.

    digest  by which the engine knows the file
    form    its format
    path    where it lies on the machine of the build, and perhaps on the worker's
    file    the sha256 of its bytes, and how many there are: so the shared cache may have it
    table   what its header says, with the digest of each tensor, as the shared cache has it
    """

    digest: str
    form: str
    path: str
    file: ActionResult
    table: ActionResult


class Part(NamedTuple):
    """An action that makes some tensors of a layer beforehand, and its key in the shared cache."""

    action: Action
    key: str


class Task(NamedTuple):
    """An action to run.

    key        by which the shared cache knows it: 64 hex digits
    artifacts  what other steps made of its inputs
    parts      where tensors that it makes may be had from
    """

    action: Action
    key: str
    artifacts: tuple[ActionResult, ...]
    weights: tuple[Weights, ...] = ()
    parts: tuple[Part, ...] = ()

    def encode(self) -> str:
        value = {
            "v": VERSION,
            "modelbuild": __version__,
            "action": self.action.encode(),
            "key": self.key,
            "artifacts": self.artifacts,
            "weights": self.weights,
            "parts": [[each.action.encode(), each.key] for each in self.parts],
        }
        return canonical(value).decode()

    @staticmethod
    def decode(text: str) -> Task:
        """Read what `encode` wrote. Raises Error for what another version wrote, and for what no task can be."""
        try:
            check(text.encode(), "task")
            value = json.loads(text)
            if value["v"] != VERSION or value["modelbuild"] != __version__:
                raise _skewed(value["modelbuild"])
            action = Action.decode(value["action"])
            artifacts = tuple(_result(*each) for each in value["artifacts"])
            weights = tuple(_weights(*each) for each in value["weights"])
            parts = tuple(Part(Action.decode(action), _key(key)) for action, key in value["parts"])
            return Task(action, _key(value["key"]), artifacts, weights, parts)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise Error("the worker was sent something that is not a task of modelbuild") from None


def _skewed(other: object) -> Error:
    return Error(
        "the worker has another version of modelbuild",
        facts=[("worker", f"{__version__}, on {socket.gethostname()}"), ("build", str(other))],
        hint="install the same version on all machines",
    )


def _key(text: Any) -> str:
    if not _KEY.fullmatch(text):
        raise ValueError("not a key")
    return str(text)


def _result(artifact: Any, size: Any) -> ActionResult:
    if not _SHA256.fullmatch(artifact) or type(size) is not int or not 0 <= size < _SIZES:
        raise ValueError("not a result")
    return ActionResult(artifact, size)


def _weights(digest: Any, form: Any, path: Any, file: Any, table: Any) -> Weights:
    if not _XXH3.fullmatch(digest) or form not in formats.WEIGHTS or "\0" in path:
        raise ValueError("not weights")
    return Weights(digest, form, path, _result(*file), _result(*table))


class Answer(NamedTuple):
    """What became of a task: one of these.

    made     what the action made; it is in the shared cache
    error    why it failed
    missing  what is neither on the worker nor in the shared cache, by sha256
    lost     the shared cache cannot be reached from the worker: why

    remote   the shared cache, as messages name it
    host     the worker's machine
    """

    made: Made | None = None
    error: Error | None = None
    missing: tuple[str, ...] = ()
    lost: str = ""
    remote: str = ""
    host: str = ""

    def encode(self) -> str:
        made = self.made
        value = {
            "v": VERSION,
            "made": [*made.result, made.computed, made.reused, made.written, made.seconds] if made else None,
            "error": self.error.spelled() if self.error else None,
            "missing": self.missing,
            "lost": self.lost,
            "remote": self.remote,
            "host": self.host,
        }
        return canonical(value).decode()

    @staticmethod
    def decode(text: object) -> Answer:
        """Read what `encode` wrote. Raises Error for what no answer can be."""
        try:
            check(str(text).encode(), "answer")
            value = json.loads(str(text))
            if value["v"] != VERSION:
                raise ValueError("another version")
            return Answer(
                _made(value["made"]) if value["made"] is not None else None,
                Error.recalled(value["error"]) if value["error"] is not None else None,
                tuple(each for each in value["missing"] if _SHA256.fullmatch(each)),
                str(value["lost"]),
                str(value["remote"]),
                str(value["host"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            hint = "install the same version of modelbuild on all machines"
            raise Error("a worker answered something that is not an answer of modelbuild", hint=hint) from None


def _made(value: Sequence[Any]) -> Made:
    artifact, size, computed, reused, written, seconds = value
    if {type(computed), type(reused), type(written)} != {int} or not isinstance(seconds, int | float):
        raise ValueError("not what was made")
    return Made(_result(artifact, size), (), computed, reused, written, float(seconds))
