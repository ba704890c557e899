"""What is kept of a project between runs: its graph, the words that mean targets, and every look that these were made by."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from modelbuild.errors import Error
from modelbuild.observed import Look

if TYPE_CHECKING:
    from modelbuild.project.targets import Words


class KeptPlan(NamedTuple):
    """The plan of a project, good for as long as each of its looks sees the same again.

    root    the project's folder
    models  the models folder to write
    graph   encoded: a build with nothing to do does not take it apart
    """

    root: str
    models: str
    words: Words
    warnings: Sequence[Error]
    looks: Sequence[Look]
    graph: bytes

    def encode(self) -> bytes:
        warnings = [[w.what, w.path, w.line, w.column, w.source, w.width, w.facts, w.hint] for w in self.warnings]
        head = [self.root, self.models, self.words, warnings, self.looks]
        return json.dumps(head, separators=(",", ":")).encode() + b"\n" + self.graph

    @staticmethod
    def decode(value: bytes) -> KeptPlan:
        head, _, graph = value.partition(b"\n")
        from modelbuild.project.targets import Words

        root, models, words, warnings, looks = json.loads(head)
        found = [
            Error(
                what,
                path=path,
                line=line,
                column=column,
                source=source,
                width=width,
                facts=[tuple(f) for f in facts],
                hint=hint,
            )
            for what, path, line, column, source, width, facts, hint in warnings
        ]
        return KeptPlan(root, models, Words(*words), found, looks, graph)
