"""A plan in parts: what one model decides, so that it can be read, and planned again, without the others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modelbuild.engine import graph as graphs
from modelbuild.engine.graph import Graph, Output, Step
from modelbuild.errors import Error
from modelbuild.observed import Look
from modelbuild.plan.remarks import Bare, Prompts, Remark
from modelbuild.tuples import NamedTuple


class Placed(NamedTuple):
    """A step and where it comes in a graph: after those that it needs."""

    order: float
    step: Step


class Shared(NamedTuple):
    """A step that several models ask for.

    type   what its recipe is quantized to
    owner  the table or base that it is named after
    """

    order: float
    step: Step
    type: str | None
    owner: str


class Part(NamedTuple):
    """What one model decides.

    whole     whether all its rows are planned
    order     of its outputs among all
    steps     digest -> a step that no other model asks for
    shared    label -> digests of the steps that others ask for too
    froms     label -> what its FROM lines ask
    meant     such a FROM -> labels of the variants that it means; none where it is no name of the project
    bases     the models that it is based on
    found     model -> Modelfile that was found for it: of this one, and of those that it extends
    files     the Modelfiles that decide it, and no other look
    parts     the parts of the project in which it is, and those that it extends
    warnings  that concern it alone
    prompts   (label, weights, whether it has texts) where these give no TEMPLATE
    looks     that only it was planned by
    """

    whole: bool
    order: tuple[int, ...]
    outputs: tuple[Output, ...]
    steps: Mapping[str, Placed]
    shared: Mapping[str, Sequence[str]]
    froms: Mapping[str, Sequence[str]]
    meant: Mapping[str, Sequence[str]]
    bases: Sequence[str]
    found: Mapping[str, str]
    files: Sequence[str]
    parts: Sequence[str]
    warnings: Sequence[Error]
    prompts: Sequence[tuple[str, Bare, bool]]
    looks: Sequence[Look] = ()

    def encode(self) -> bytes:
        steps = [[digest, order, graphs.spelled(step)] for digest, (order, step) in self.steps.items()]
        warnings = [error.spelled() for error in self.warnings]
        return _json([*self[:3], steps, *self[4:11], warnings, *self[12:]])

    @staticmethod
    def decode(value: bytes) -> Part:
        whole, order, outputs, steps, *others, warnings, prompts, looks = json.loads(value)
        found = [Error.recalled(error) for error in warnings]
        bare = [(label, Bare(*spelled), said) for label, spelled, said in prompts]
        outputs = tuple(map(graphs.output_recalled, outputs))
        placed = {digest: Placed(order, graphs.recalled(step)) for digest, order, step in steps}
        seen = [(verb, subject, what) for verb, subject, what in looks]
        return Part._make([whole, tuple(order), outputs, placed, *others, found, bare, seen])


class Divided(NamedTuple):
    """A whole plan by models, and the steps that several ask for, by digest."""

    parts: Mapping[str, Part]
    shared: Mapping[str, Shared]


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def encode_shared(shared: Mapping[str, Shared]) -> bytes:
    return _json([[digest, *each._replace(step=graphs.spelled(each.step))] for digest, each in shared.items()])  # type: ignore[arg-type]


def decode_shared(value: bytes) -> dict[str, Shared]:
    return {
        digest: Shared(order, graphs.recalled(step), type_, owner)
        for digest, order, step, type_, owner in json.loads(value)
    }


def graph(divided: Divided) -> Graph:
    """The graph of all parts, or of some with those that they are based on."""
    placed = [Placed(each.order, each.step) for each in divided.shared.values()]
    placed += [each for part in divided.parts.values() for each in part.steps.values()]
    steps: dict[str, Step] = {}
    for _, step in sorted(placed, key=lambda each: each.order):
        # What several others ask for may need a step of theirs.
        if all(name in steps for name in step.needs):
            steps[step.name] = step
    outputs = [pair for part in divided.parts.values() for pair in zip(part.order, part.outputs, strict=True)]
    outputs.sort(key=lambda pair: pair[0])
    return Graph(steps.values(), (output for _, output in outputs))


def remarks(parts: Iterable[Part]) -> Sequence[Remark]:
    """The remarks on the models of all parts."""
    found = []
    for part in parts:
        order = {output.label: number for number, output in zip(part.order, part.outputs, strict=True)}
        found += [(order[label], label, bare, said) for label, bare, said in part.prompts if label in order]
    prompts = Prompts()
    for _, label, bare, said in sorted(found, key=lambda each: each[0]):
        prompts.add(label, bare, said)
    return prompts.remarks()
