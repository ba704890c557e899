"""Variants and models that cannot be built as declared: they stop the models that are based on them, and no others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from modelbuild.errors import Error
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed

if TYPE_CHECKING:
    from modelbuild.ollama.name import Name
    from modelbuild.project.lock import Outside
    from modelbuild.project.variant import Variant


class Broken(NamedTuple):
    """A variant of which something is wrong, and what that is.

    model    "" for what is no model: a group, a mix that no model uses, a file after which no model can be named
    label    the model's name where its rows cannot be told
    errors   never empty
    names    the names it would be built under; None where they cannot be told
    words    what it may be called all the same
    wanted   what a build fetches before it can be planned; with nothing to fetch it is declared wrongly
    """

    model: str
    label: str
    errors: Sequence[Error]
    names: tuple[Name, ...] | None = None
    row: tuple[tuple[str, str], ...] = ()
    is_default: bool = True
    words: Collection[str] = ()
    wanted: Outside | None = None

    @classmethod
    def of(cls, variant: Variant, errors: Iterable[Error], wanted: Outside | None = None) -> Broken:
        names = variant.names or None
        return cls(variant.model, variant.label, tuple(errors), names, variant.row, variant.is_default, (), wanted)


def told(broken: Iterable[Broken]) -> list[Error]:
    """What is wrong, each fault once, with all that it stops where that is more than one variant."""
    errors: dict[tuple[object, ...], Error] = {}
    stopped: dict[tuple[object, ...], dict[str, None]] = {}
    for each in broken:
        for error in each.errors:
            errors.setdefault(error.key, error)
            stopped.setdefault(error.key, {}).update({each.label: None} if each.model else {})
    return [
        error.replace(facts=(*error.facts, ("used by", listed((f"'{label}'" for label in stopped[key]), 5))))
        if len(stopped[key]) > 1
        else error
        for key, error in errors.items()
    ]
