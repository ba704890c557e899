"""Which variants are pushed to which names of registries."""

from __future__ import annotations

from collections.abc import Sequence

from modelbuild.errors import Error, Problems
from modelbuild.ollama.name import Name
from modelbuild.project.variant import Variant


def check(variants: Sequence[Variant], problems: Problems) -> None:
    """Refuse two variants that would be pushed to one name; case does not tell names apart."""
    first: dict[Name, Variant] = {}
    for each in variants:
        for name in each.pushes:
            other = first.setdefault(name.folded(), each)
            if other is not each:
                clash = _clash(other, each, name)
                problems.of(other.label).add(clash)
                problems.of(each.label).add(clash)


def _clash(one: Variant, other: Variant, name: Name) -> Error:
    hint = "give one of them another `push`"
    if other.row and one.model == other.model:
        hint = "put every axis into it: " + ", ".join(f"${{matrix.{axis}}}" for axis, _ in other.row)
    what = f"'{one.label}' and '{other.label}' would both be pushed to '{name.display()}'"
    return other.place("push").error(what, hint=hint)
