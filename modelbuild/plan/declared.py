"""The steps of a plan: each is declared once, for all variants that use it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cached_property

from modelbuild import steps
from modelbuild.digest import xxh3
from modelbuild.engine.graph import Graph, Output, Source, Step, parameters
from modelbuild.plan.naming import Asked, names, table
from modelbuild.project.locate import Place
from modelbuild.project.variant import Variant
from modelbuild.steps import layer
from modelbuild.tensors import operations

Refs = Iterable[tuple[str, Source | str]]
"""(role, source or key of the step that makes it), in order."""


class Declared:
    """Steps in the order in which they were declared; `root` is the project's folder.

    While variants are planned a step goes by a key. It gets its name when all who ask for it are known.
    """

    def __init__(self, root: str) -> None:
        self._steps: dict[str, Step] = {}
        self._asked: dict[str, Asked] = {}
        self._root = root
        self._same: dict[tuple[str, str, tuple[tuple[str, Source | str], ...], str], str] = {}

    def step(
        self,
        variant: Variant,
        kind: steps.Kind,
        values: Mapping[str, object],
        inputs: Refs = (),
        *,
        what: str = "",
        pool: str | None = None,
        places: Mapping[str, Place | None] | None = None,
    ) -> str:
        """Declare a step, or find the one that makes the same. Returns its key.

        values  the `Parameters` of its kind
        what    what it makes for the variant, where its kind does not say that
        pool    where that is another than its kind's
        places  where its parameters were said, for errors about them
        """
        named, text, refs = steps.kind_of(kind), parameters(values), tuple(inputs)
        same = (named, text, refs, table(what, variant))
        if known := self._same.get(same):
            self._asked[known].variants.append(variant)
            return known
        key = self._same[same] = f"#{len(self._steps)}"
        said = [(parameter, place.spelled(self._root)) for parameter, place in (places or {}).items() if place]
        final = kind.MAKES in steps.FINAL
        pool = kind.POOL if pool is None else pool
        self._steps[key] = Step(key, named, kind.VERSION, text, refs, pool, final, tuple(said))
        self._asked[key] = Asked(what or named, [variant], same[-1])
        return key

    def of_recipe(self, variant: Variant, what: str, recipe: str, foreign: str | None = None) -> str:
        """Declare the layer of a recipe: `what` it is for the variant, and the step of the tool that made its weights, if one did."""
        values = layer.Parameters(operations=self.operations)
        inputs = [("recipe", recipe), *([("weights", foreign)] if foreign else [])]
        return self.step(variant, layer, values, inputs, what=what, pool="cores")

    @cached_property
    def operations(self) -> dict[str, int] | None:
        """What a step needs that makes a file of a recipe: this says which operations, not which version of them.

        Without the versions a finished model would keep its bytes.
        """
        return operations.versions() or None

    @property
    def steps(self) -> Mapping[str, Step]:
        """By key, those that they need by keys too."""
        return self._steps

    @property
    def asked(self) -> Mapping[str, Asked]:
        """By key."""
        return self._asked

    def digests(self) -> dict[str, str]:
        """Key -> what tells a step from all others, in this plan and in others of the project."""
        found: dict[str, str] = {}
        for (kind, text, refs, asker), key in self._same.items():
            named = [found[ref] if isinstance(ref, str) else list(ref) for _, ref in refs]
            version = self._steps[key].version
            told = json.dumps([kind, version, text, [role for role, _ in refs], named, asker], separators=(",", ":"))
            found[key] = xxh3(told.encode("utf-8", "surrogatepass")).removeprefix("xxh3:")
        return found

    def graph(self, outputs: Iterable[Output]) -> Graph:
        """All steps and the outputs they lead to, by their names."""
        named = names(self._steps, self._asked)
        steps = (renamed(step, named) for step in self._steps.values())
        return Graph(steps, (output_renamed(output, named) for output in outputs))


def renamed(step: Step, named: Mapping[str, str]) -> Step:
    """A step by its name, and those that it needs by theirs."""
    inputs = tuple((role, named[ref] if isinstance(ref, str) else ref) for role, ref in step.inputs)
    return step._replace(name=named[step.name], inputs=inputs)


def output_renamed(output: Output, named: Mapping[str, str]) -> Output:
    """An output, its steps by their names."""
    return output._replace(
        manifest=named[output.manifest],
        blobs=tuple(named[blob] for blob in output.blobs),
        files=tuple((path, named[blob]) for path, blob in output.files),
        beside=tuple(named[each] for each in output.beside),
    )
