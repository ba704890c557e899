"""The keys that travel: of an action by the sha256 of all that decides its result, and of nothing of this machine.

The engine's own digest of an action names sources by xxh3, and the recipes among its inputs name tensors by xxh3 too. A key names a source
by its sha256, and a recipe by its own sha256 together with those of all weights files that its leaves may lie in. So two different
contents have two keys. What two different shardings of the same tensors make has two keys as well: that costs time alone.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping

from modelbuild.digest import canonical
from modelbuild.engine.action import ABSENT, Action
from modelbuild.engine.graph import Source, Step

VERSION = 1
"""The next number when keys are made otherwise: nobody finds what was kept by the older ones."""


class Keys:
    """Makes the keys of a build's actions; used by several threads at once.

    contents  the sha256 of the file of a source that has this digest for the engine; None if that is not known
    """

    def __init__(self, contents: Callable[[Source, str], str | None]) -> None:
        self._contents = contents
        self._mutex = threading.RLock()
        self._steps: dict[str, tuple[Step, Action]] = {}
        self._latest: dict[str, str] = {}
        self._made: dict[str, str | None] = {}
        self._leaves: dict[str, frozenset[str] | None] = {}

    def learn(self, steps: Mapping[Step, Action]) -> None:
        """Hear what steps are, after those that they need."""
        with self._mutex:
            for step, action in steps.items():
                self._steps.setdefault(action.digest, (step, action))
                self._latest[step.name] = action.digest

    def step(self, action: str) -> Step | None:
        """The step of an action that was heard of."""
        found = self._steps.get(action)
        return found[0] if found else None

    def key(self, action: str) -> str | None:
        """64 hex digits; None where a file that decides the result is not what it was, or nobody knows its sha256."""
        with self._mutex:
            if action not in self._made:
                self._made[action] = self._key(action)
            return self._made[action]

    def weights(self, action: str) -> dict[str, Source]:
        """The weights files that an action's recipes may name tensors of, by the digests that the engine has of them."""
        with self._mutex:
            found: dict[str, Source] = {}
            todo = [action]
            while todo:
                if (known := self._steps.get(todo.pop())) is None:
                    continue
                for (_, ref), (_, local) in zip(known[0].inputs, known[1].inputs, strict=True):
                    if isinstance(ref, str):
                        todo.append(self._latest.get(ref, ""))
                    elif ref.is_weights:
                        found[local] = ref
            return found

    def recipe(self, action: str) -> str | None:
        """The recipe that an action is run on; None if it has none."""
        known = self._steps.get(action)
        return dict(known[1].inputs).get("recipe") if known else None

    def _key(self, digest: str) -> str | None:
        if digest not in self._steps:
            return None
        step, action = self._steps[digest]
        inputs = []
        for (role, ref), (_, local) in zip(step.inputs, action.inputs, strict=True):
            if isinstance(ref, str):
                leaves = self._leaves_of(self._latest.get(ref, ""))
                if leaves is None:
                    return None
                inputs.append([role, local, sorted(leaves)])
            elif local == ABSENT:
                inputs.append([role, ABSENT, []])
            elif (sha256 := self._contents(ref, local)) is not None:
                inputs.append([role, sha256, []])
            else:
                return None
        told = ["modelbuild", VERSION, action.kind, action.version, action.parameters, inputs]
        return hashlib.sha256(canonical(told)).hexdigest()

    def _leaves_of(self, digest: str) -> frozenset[str] | None:
        """The sha256 of all weights files that an action's result may name tensors of; None where one is not known.

        What goes into a models folder is whole, and names none.
        """
        if digest not in self._leaves:
            self._leaves[digest] = self._all_leaves(digest)
        return self._leaves[digest]

    def _all_leaves(self, digest: str) -> frozenset[str] | None:
        if digest not in self._steps:
            return None
        step, action = self._steps[digest]
        found: set[str] = set()
        for (_, ref), (_, local) in zip(step.inputs, action.inputs, strict=True):
            if step.final:
                continue
            if isinstance(ref, str):
                of_input = self._leaves_of(self._latest.get(ref, ""))
            elif not ref.is_weights or local == ABSENT:
                continue
            else:
                sha256 = self._contents(ref, local)
                of_input = frozenset([sha256]) if sha256 is not None else None
            if of_input is None:
                return None
            found |= of_input
        return frozenset(found)
