"""The part of a project that is kept between runs: its graph, the words that mean targets, and all looks of the planner."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from modelbuild.errors import Error
from modelbuild.observed import Look

if TYPE_CHECKING:
    from modelbuild.plan.remarks import Remark
    from modelbuild.project.broken import Broken
    from modelbuild.project.lock import Outside
    from modelbuild.project.targets import Words


class KeptPlan(NamedTuple):
    """The plan of a project, good for as long as each of its looks sees the same again.

    root     the project's folder
    models   the models folder to write
    broken   what is not in the graph, and why
    remarks  on the models that it makes
    outside  by label, what of elsewhere a variant is based on
    graph    encoded: a build with nothing to do does not take it apart
    """

    root: str
    models: str
    words: Words
    warnings: Sequence[Error]
    broken: Sequence[Broken]
    remarks: Sequence[Remark]
    looks: Sequence[Look]
    outside: Mapping[str, Outside]
    graph: bytes

    def encode(self) -> bytes:
        errors = {error.key: error for each in self.broken for error in each.errors}
        numbers = {key: number for number, key in enumerate(errors)}
        broken = [
            [
                each.model,
                each.label,
                [numbers[error.key] for error in each.errors],
                None if each.names is None else [name.path() for name in each.names],
                each.row,
                each.is_default,
                each.wanted,
            ]
            for each in self.broken
        ]
        faults = [error.spelled() for error in errors.values()]
        head = [
            self.root,
            self.models,
            self.words,
            [error.spelled() for error in self.warnings],
            faults,
            broken,
            [[remark.labels, remark.error.spelled(), remark.minor] for remark in self.remarks],
            self.looks,
            self.outside,
        ]
        return json.dumps(head, separators=(",", ":")).encode() + b"\n" + self.graph

    @staticmethod
    def decode(value: bytes) -> KeptPlan:
        head, _, graph = value.partition(b"\n")
        from modelbuild.project.targets import Words

        root, models, words, warnings, faults, broken, remarks, looks, outside = json.loads(head)
        warned, errors = [*map(Error.recalled, warnings)], [*map(Error.recalled, faults)]
        found = [_broken(each, errors) for each in broken]
        remarked: list[Remark] = []
        if remarks:
            from modelbuild.plan.remarks import Remark

            remarked = [Remark(tuple(labels), Error.recalled(error), minor) for labels, error, minor in remarks]
        based = {label: _outside(each) for label, each in outside.items()}
        return KeptPlan(root, models, Words(*words), warned, found, remarked, looks, based, graph)


def _outside(spelled: Sequence[Any]) -> Outside:
    from modelbuild.project.lock import Outside

    return Outside(*spelled)


def _broken(spelled: Sequence[Any], errors: Sequence[Error]) -> Broken:
    from modelbuild.ollama.name import Name
    from modelbuild.project.broken import Broken

    model, label, numbers, names, row, is_default, wanted = spelled
    called = None if names is None else tuple(map(Name.from_path, names))
    return Broken(
        model,
        label,
        [errors[number] for number in numbers],
        called,
        tuple((axis, text) for axis, text in row),
        is_default,
        wanted=None if wanted is None else _outside(wanted),
    )
