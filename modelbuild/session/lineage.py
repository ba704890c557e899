"""The bases of each variant, down to weights or to a model of another project."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelbuild.files import expand
from modelbuild.ollama.modelfile.meaning import looks_like_path
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.project.project import Project
    from modelbuild.project.variant import From, Variant


class Kin(NamedTuple):
    """A variant by its label, or what is no variant by its path or name; and the keys of what it is based on."""

    key: str
    bases: tuple[str, ...] = ()


class Lineage:
    """The variants of a project by label, and what they are based on. It reads FROM lines, and no file."""

    def __init__(self, project: Project) -> None:
        self.variants: dict[str, Variant] = {variant.label: variant for variant in project.variants}
        self._project = project

    def bases(self, label: str) -> tuple[str, ...]:
        """What FROM names: the label of a variant, the path of weights, or another model's name."""
        variant = self.variants[label]
        return tuple(dict.fromkeys(self._base(variant, line) for line in variant.froms))

    def line(self, label: str) -> Iterator[Kin]:
        """A variant, its bases and theirs, each once."""
        seen: set[str] = set()
        rest = [label]
        while rest:
            key = rest.pop(0)
            if key not in seen:
                seen.add(key)
                bases = self.bases(key) if key in self.variants else ()
                rest += bases
                yield Kin(key, bases)

    def _base(self, variant: Variant, line: From) -> str:
        path = expand(line.text, line.folder)
        if looks_like_path(line.text):
            return path
        rows = [each for each in self._project.candidates(line.text, line.part) if each.label != variant.label]
        chosen = [each for each in rows if each.is_default] or rows
        if len(chosen) == 1:
            return chosen[0].label
        return line.text if rows or line.in_toml or not os.path.lexists(path) else path
