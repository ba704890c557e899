"""The build graph: steps, the sources they read, and the order between them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from modelbuild import lfs
from modelbuild.digest import canonical
from modelbuild.tuples import NamedTuple


class Source(NamedTuple):
    """A file the project reads.

    form   how its digest is taken: `bytes`, or a weights format with a digest per tensor
    known  its digest where it is not there, or only a pointer to it: what was made of it needs it no more
    """

    path: str
    form: str
    known: str = ""

    @property
    def is_weights(self) -> bool:
        """Whether its digest comes from those of the tensors in it."""
        return self.form != "bytes"

    def is_away(self) -> bool:
        """Whether it is not there, and its digest is known all the same."""
        return bool(self.known) and not lfs.is_here(self.path)


class Step(NamedTuple):
    """One thing to make, by name: what kind, from what, with which parameters. It names its inputs; an action knows their digests.

    parameters  canonical JSON; kept as text because a build with nothing to do only digests it
    inputs      (role, source or name of the step that makes it), in the order the step wants them
    pool        `` for a quick step, `thread` for one that waits for files, `cores` for one that uses every core by itself
    final       its artifact goes into the models folder, so it must be at hand even when nothing ran
    places      (parameter, where the project says it, in a spelling of the planner's), for errors: no part of the action
    """

    name: str
    kind: str
    version: int
    parameters: str
    inputs: tuple[tuple[str, Source | str], ...]
    pool: str = ""
    final: bool = False
    places: tuple[tuple[str, str], ...] = ()

    @property
    def needs(self) -> Iterator[str]:
        """Names of the steps whose artifacts this one reads."""
        return (ref for _, ref in self.inputs if isinstance(ref, str))

    @property
    def sources(self) -> Iterator[Source]:
        """The files it reads."""
        return (ref for _, ref in self.inputs if isinstance(ref, Source))


class Output(NamedTuple):
    """A finished variant: the names it gets, and the steps that make its manifest, config and layers.

    files    (path, one of the blobs) of what is also wanted as a file of its own
    exports  where else all of it is wanted and how, in a spelling of the planner's
    beside   the steps that make what is in an export and not in the manifest
    """

    label: str
    names: tuple[str, ...]
    manifest: str
    blobs: tuple[str, ...]
    files: tuple[tuple[str, str], ...] = ()
    exports: tuple[tuple[str, ...], ...] = ()
    beside: tuple[str, ...] = ()

    @property
    def made(self) -> tuple[str, ...]:
        """The steps of all that it consists of, but the manifest."""
        return (*self.blobs, *self.beside)


class Graph:
    """Steps by name, every step after the steps it needs, and the outputs they lead to."""

    def __init__(self, steps: Iterable[Step], outputs: Iterable[Output] = ()) -> None:
        self.steps: dict[str, Step] = {}
        for step in steps:
            assert all(name in self.steps for name in step.needs), f"{step.name} comes before what it needs"
            self.steps[step.name] = step
        self.outputs = tuple(outputs)

    def select(self, outputs: Iterable[Output]) -> Graph:
        """The part of the graph that the given outputs need."""
        chosen = tuple(outputs)
        part = self.up_to(name for output in chosen for name in (output.manifest, *output.made))
        part.outputs = chosen
        return part

    def up_to(self, names: Iterable[str]) -> Graph:
        """The steps of these names and all that they need, without outputs."""
        wanted = self._needed(names)
        return Graph(step for name, step in self.steps.items() if name in wanted)

    def _needed(self, names: Iterable[str]) -> set[str]:
        needed: set[str] = set()
        stack = list(names)
        while stack:
            name = stack.pop()
            if name not in needed:
                needed.add(name)
                stack.extend(self.steps[name].needs)
        return needed

    def waves(self) -> list[list[Step]]:
        """All steps: first those that need no other, then those that need only these, and so on."""
        depth: dict[str, int] = {}
        waves: list[list[Step]] = []
        for name, step in self.steps.items():
            depth[name] = 1 + max((depth[need] for need in step.needs), default=-1)
            if depth[name] == len(waves):
                waves.append([])
            waves[depth[name]].append(step)
        return waves

    def longest(self, costs: Mapping[str, float]) -> dict[str, float]:
        """For each step, the seconds of the longest path of steps that begins with it; `costs` are those of each, as far as known."""
        after: dict[str, float] = {}
        paths: dict[str, float] = {}
        for name, step in reversed(self.steps.items()):
            paths[name] = costs.get(name, 0.0) + after.get(name, 0.0)
            for need in step.needs:
                after[need] = max(after.get(need, 0.0), paths[name])
        return paths

    def sources(self) -> dict[Source, None]:
        """Every source, in the order of first use."""
        return {source: None for step in self.steps.values() for source in step.sources}

    def targets(self) -> dict[str, list[str]]:
        """For each step, the labels of the outputs that need it."""
        found: dict[str, list[str]] = {name: [] for name in self.steps}
        for output in self.outputs:
            for name in self._needed((output.manifest, *output.made)):
                found[name].append(output.label)
        return found

    def encode(self) -> bytes:
        steps = [spelled(step) for step in self.steps.values()]
        return json.dumps([steps, self.outputs], separators=(",", ":")).encode()

    @staticmethod
    def decode(data: bytes) -> Graph:
        steps, outputs = json.loads(data)
        graph = Graph(())
        for step in map(recalled, steps):
            graph.steps[step.name] = step
        graph.outputs = tuple(map(output_recalled, outputs))
        return graph


def spelled(step: Step) -> list[Any]:
    """A step as JSON has it, to be read by `recalled`."""
    inputs = [[role, ref] for role, ref in step.inputs]
    return [step.name, step.kind, step.version, step.parameters, inputs, step.pool, step.final, *step.places]


def recalled(spelled: Sequence[Any]) -> Step:
    name, kind, version, parameters, inputs, pool, final, *places = spelled
    refs = tuple((role, ref if isinstance(ref, str) else Source(*ref)) for role, ref in inputs)
    said = tuple((parameter, place) for parameter, place in places)
    return Step(name, kind, version, parameters, refs, pool, final, said)


def output_recalled(spelled: Sequence[Any]) -> Output:
    """An output that JSON has as it is."""
    label, names, manifest, blobs, files, exports, beside = spelled
    return Output(
        label,
        tuple(names),
        manifest,
        tuple(blobs),
        tuple((path, blob) for path, blob in files),
        tuple(map(tuple, exports)),
        tuple(beside),
    )


def parameters(values: Mapping[str, Any]) -> str:
    """Spell a step's parameters; keys whose value is None are left out."""
    return canonical({key: value for key, value in values.items() if value is not None}).decode()
