"""Names of steps: after the row or model that asks for one; what several models share, after the base they are based on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import count

from modelbuild import steps
from modelbuild.engine.graph import Step
from modelbuild.project.variant import Variant, part_of
from modelbuild.steps import quantize
from modelbuild.tuples import NamedTuple

_OF_ROWS = ("quantize", "model", "config", "manifest", "divergence", "gate")
"""What follows from the row's own values is named after the row, what rows tend to share after the model."""

KEY_OF_TEXT = {
    "template": "template",
    "system": "system",
    "license": "license",
    "params": "parameters",
    "messages": "messages",
}
"""What a step makes of a text -> the key of a model that gives it."""


class Asked(NamedTuple):
    """What a step makes, the variants that asked for it, and the table that a text of theirs stands in."""

    what: str
    variants: list[Variant]
    table: str


def table(what: str, variant: Variant) -> str:
    """The table or the model that gives a variant a text; empty for what is no text.

    Texts of several tables are steps of their own, even if they are equal by chance: an edit of one renames no other.
    """
    if what not in KEY_OF_TEXT:
        return ""
    place = variant.place(KEY_OF_TEXT[what])
    part = part_of(place.file, variant.folders)
    match place.key:
        case ("model", str(name), *_):
            return f"{part}/{name}" if part else name
        case ("defaults", *_):
            return f"{part}/defaults" if part else "defaults"
    return variant.model


def names(
    declared: Mapping[str, Step],
    asked: Mapping[str, Asked],
    only: Collection[str] | None = None,
    types: Mapping[str, str | None] | None = None,
) -> dict[str, str]:
    """The name of each step. It depends on all declarations, but not on their order, except for a number that makes it unique.

    only   the steps to be named, where the others have their names
    types  what `type_of` told of these
    """
    said = dict(types or {})
    wishes = {key: _wishes(key, declared, asked, said) for key in (declared if only is None else only)}
    found: dict[str, str] = {}
    rest = list(wishes)
    while rest:
        wanted = Counter(wishes[key][0] for key in rest)
        taken, again = set(found.values()), []
        for key in rest:
            wish, *others = wishes[key]
            if wanted[wish] == 1 and wish not in taken:
                found[key] = wish
            elif others:
                wishes[key] = others
                again.append(key)
            else:
                found[key] = _numbered(wish, found.values())
        rest = again
    return found


def _numbered(name: str, taken: Collection[str]) -> str:
    return name if name not in taken else next(f"{name}-{n}" for n in count(2) if f"{name}-{n}" not in taken)


def _wishes(
    key: str, declared: Mapping[str, Step], asked: Mapping[str, Asked], types: dict[str, str | None]
) -> list[str]:
    """What a step may be called, the best first; `types` keeps what `type_of` has told."""
    what, variants = asked[key].what, _first(asked[key].variants)
    labels = list(dict.fromkeys(variant.label for variant in variants))
    models = list(dict.fromkeys(variant.model for variant in variants))
    quant = type_of(key, declared, asked, types) if what in _OF_ROWS and len(labels) > 1 else None
    if len(labels) == 1:
        owners = labels if what in _OF_ROWS else [*models, *labels]
    elif len(models) == 1:
        owners = [f"{models[0]}:{quant}", *models] if quant else models
    else:
        owners = [f"{each}:{quant}" if quant else each for each in _owners(asked[key], variants)]
    return list(dict.fromkeys(f"{owner}/{what}" for owner in owners))


def owner(key: str, asked: Mapping[str, Asked], name: str) -> str:
    """The table or base that a step of several models is named after, if it has this name."""
    owners = _owners(asked[key], _first(asked[key].variants))
    said = name.rpartition("/")[0].partition(":")[0]
    return said if said in owners else owners[0]


def _owners(asked: Asked, variants: Sequence[Variant]) -> list[str]:
    """What a step of several models may be named after, the best first."""
    return [asked.table] if asked.table else _bases(variants)


def _first(variants: Sequence[Variant]) -> Sequence[Variant]:
    """The variants without those that are based on another of them."""
    if len(variants) == 1:
        return variants
    own = {word for each in variants for word in (each.model, each.label, *(name.display() for name in each.names))}
    # A FROM of a part may leave out the part's name.
    return [
        each
        for each in variants
        if not any(line.text in own or f"{line.part}/{line.text}" in own for line in each.froms)
    ] or variants


def type_of(
    key: str, declared: Mapping[str, Step], asked: Mapping[str, Asked], known: dict[str, str | None]
) -> str | None:
    """The type or mix that the recipe of a step is quantized to; None where nobody asked for one. `known` keeps the answers."""
    kind, passed = steps.kind_of(quantize), []
    while key not in known and declared[key].kind != kind:
        passed.append(key)
        before = next(
            (ref for role, ref in declared[key].inputs if role in ("recipe", "config") and isinstance(ref, str)), None
        )
        if before is None:
            known[key] = None
            break
        key = before
    if key not in known:
        said = {variant.quantize for variant in asked[key].variants}
        values: quantize.Parameters = json.loads(declared[key].parameters)
        known[key] = said.pop() if len(said) == 1 else values["ftype"]
    known.update(dict.fromkeys(passed, known[key]))
    return known[key]


def _bases(variants: Sequence[Variant]) -> list[str]:
    """What most of the variants are based on: its last part, without tag and ending, then with more and more of what stands before."""
    found = Counter(_stem(line.text) for variant in variants for line in variant.froms[-1:])
    last = Counter(name for stem in found.elements() for name in stem[-1:])
    stem = max(found, key=lambda stem: (last[stem[-1]] if stem else 0, found[stem], stem), default=())
    return ["/".join(stem[at:]) for at in reversed(range(len(stem)))] or ["shared"]


def _stem(text: str) -> tuple[str, ...]:
    """The parts of a FROM by which a reader knows it. Of a snapshot in the hub's cache, that is the name of its repository."""
    *folders, last = [part.strip(".") for part in text.split("/") if part.strip(".")] or [""]
    last = last.partition(":")[0].removesuffix(".gguf")
    if len(folders) > 1 and folders[-1] == "snapshots" and folders[-2].startswith("models--"):
        _, *folders, last = folders[-2].split("--")
    return (*folders, last) if last else ()
