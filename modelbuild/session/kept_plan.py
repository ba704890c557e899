"""What is kept of a project between runs: its graph, the words that mean targets, and every look that these were made by."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from modelbuild.errors import Error
from modelbuild.observed import Look

if TYPE_CHECKING:
    from modelbuild.plan.remarks import Remark
    from modelbuild.project.targets import Words


class KeptPlan(NamedTuple):
    """The plan of a project, good for as long as each of its looks sees the same again.

    root     the project's folder
    models   the models folder to write
    remarks  on the models that it makes
    graph    encoded: a build with nothing to do does not take it apart
    """

    root: str
    models: str
    words: Words
    warnings: Sequence[Error]
    remarks: Sequence[Remark]
    looks: Sequence[Look]
    graph: bytes

    def encode(self) -> bytes:
        warnings = [_spelled(warning) for warning in self.warnings]
        remarks = [[remark.labels, _spelled(remark.error), remark.minor] for remark in self.remarks]
        head = [self.root, self.models, self.words, warnings, remarks, self.looks]
        return json.dumps(head, separators=(",", ":")).encode() + b"\n" + self.graph

    @staticmethod
    def decode(value: bytes) -> KeptPlan:
        head, _, graph = value.partition(b"\n")
        from modelbuild.project.targets import Words

        root, models, words, warnings, remarks, looks = json.loads(head)
        found: list[Remark] = []
        if remarks:
            from modelbuild.plan.remarks import Remark

            found = [Remark(tuple(labels), _read(error), minor) for labels, error, minor in remarks]
        return KeptPlan(root, models, Words(*words), [_read(warning) for warning in warnings], found, looks, graph)


def _spelled(w: Error) -> list[Any]:
    return [w.what, w.path, w.line, w.column, w.source, w.width, w.facts, w.hint]


def _read(spelled: list[Any]) -> Error:
    what, path, line, column, source, width, facts, hint = spelled
    facts = [tuple(fact) for fact in facts]
    return Error(what, path=path, line=line, column=column, source=source, width=width, facts=facts, hint=hint)
