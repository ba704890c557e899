"""The steps of a plan: each is declared once, for all variants that use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from modelbuild import steps
from modelbuild.engine.graph import Graph, Output, Source, Step, parameters
from modelbuild.plan.naming import Asked, names, table
from modelbuild.project.locate import Place
from modelbuild.project.variant import Variant

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

    def graph(self, outputs: Iterable[Output]) -> Graph:
        """All steps and the outputs they lead to, by their names."""
        named = names(self._steps, self._asked)

        def renamed(step: Step) -> Step:
            inputs = tuple((role, named[ref] if isinstance(ref, str) else ref) for role, ref in step.inputs)
            return step._replace(name=named[step.name], inputs=inputs)

        return Graph(
            map(renamed, self._steps.values()),
            (
                output._replace(
                    manifest=named[output.manifest],
                    blobs=tuple(named[blob] for blob in output.blobs),
                    files=tuple((path, named[blob]) for path, blob in output.files),
                    beside=tuple(named[each] for each in output.beside),
                )
                for output in outputs
            ),
        )
