"""The steps of a plan: each declared once, whoever asks for it, and named after whoever asked first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from modelbuild import steps
from modelbuild.engine.graph import Source, Step, parameters
from modelbuild.project.locate import Place
from modelbuild.project.variant import Variant

_OF_ROWS = ("quantize", "model", "config", "manifest")
"""What follows from the row's own values is named after the row, what rows tend to share after the model."""

Refs = Iterable[tuple[str, Source | str]]
"""(role, source or name of the step that makes it), in order."""


class Declared:
    """Steps by name, in the order in which they were declared; `file` is the project's TOML, by its absolute path."""

    def __init__(self, file: str) -> None:
        self.steps: dict[str, Step] = {}
        self._file = file
        self._same: dict[tuple[str, str, tuple[tuple[str, Source | str], ...]], str] = {}

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
        """Declare a step, or find the one that makes the same. Returns its name.

        values  the `Parameters` of its kind
        what    what it makes for the variant, where its kind does not say that
        pool    where that is another than its kind's
        places  where its parameters were said, for errors about them
        """
        named, text, refs = steps.kind_of(kind), parameters(values), tuple(inputs)
        key = (named, text, refs)
        if known := self._same.get(key):
            return known
        name = self._name(variant, what or named)
        said = [(parameter, place.spelled(self._file)) for parameter, place in (places or {}).items() if place]
        final = kind.MAKES in steps.FINAL
        pool = kind.POOL if pool is None else pool
        self.steps[name] = Step(name, named, kind.VERSION, text, refs, pool, final, tuple(said))
        self._same[key] = name
        return name

    def _name(self, variant: Variant, what: str) -> str:
        name = f"{variant.label if what in _OF_ROWS else variant.model}/{what}"
        if name in self.steps:
            name = f"{variant.label}/{what}"
        base, number = name, 2
        while name in self.steps:
            name, number = f"{base}-{number}", number + 1
        return name
