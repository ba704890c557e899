"""Which variants are pushed to which names of registries, and in which shapes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from modelbuild import shapes
from modelbuild.errors import Error, Problems
from modelbuild.ollama.name import HOST, Name
from modelbuild.project import keys
from modelbuild.project.values import Values
from modelbuild.project.variant import PushTo, Variant
from modelbuild.tensors.formats import limit as limits
from modelbuild.words import as_text


def read(values: Values, namespace: str | None) -> tuple[PushTo, ...]:
    """The names of `push`, each once; `namespace` is that of names that give none."""
    found: list[PushTo] = []
    entries, place = values.said.get("push", (None, None))
    for number, entry in enumerate(entries or () if place else ()):
        assert place is not None
        here = place.at(number)
        table, at = (entry, here.at("to")) if isinstance(entry, dict) else ({"to": entry}, here)
        name = values.checked(table["to"], at, partial(keys.push_name, namespace=namespace))
        shape = values.checked(table["as"], here.at("as"), keys.pushed_shape) if "as" in table else ""
        split = as_text(values.filled(table.get("split", ""), here.at("split")))
        is_size = not split or values.checked(split, here.at("split"), limits.limit) is not None
        if name is None or shape is None or not is_size:
            continue
        if (fault := name.unpushable()) is not None:
            values.problems.add(at.placed(fault))
            continue
        with values.problems.at(here):
            to = PushTo(name, shape, split)
            check_entry(to)
            found += [to] if to not in found else []
    return tuple(found)


def check_entry(to: PushTo) -> None:
    """Raise an Error where a shape cannot be pushed in that way."""
    if to.split and not (to.shape and shapes.splits(to.shape)):
        if not to.shape:
            raise Error("'split' has no effect without a shape", hint='say for which runner: as = "docker-model"')
        raise Error(f"'split' has no effect: the shape '{to.shape}' has no split files", hint="remove it")
    if to.shape and to.name.host.lower() == HOST:
        what = f"'{to.name.display()}' cannot be pushed as '{to.shape}': {HOST} takes only models in Ollama's form"
        raise Error(what, hint="name another registry, as HOST/NAMESPACE/MODEL")


def check(variants: Sequence[Variant], problems: Problems) -> None:
    """Refuse two variants that would be pushed to one name, and one that would be in two shapes; case does not tell names apart."""
    first: dict[Name, tuple[Variant, PushTo]] = {}
    for each in variants:
        for to in each.pushes:
            other, before = first.setdefault(to.name.folded(), (each, to))
            if other is not each:
                clash = _clash(other, each, to.name)
                problems.of(other.label).add(clash)
                problems.of(each.label).add(clash)
            elif (before.shape, before.split) != (to.shape, to.split):
                what = f"'{each.label}' would be pushed to '{to.name.display()}' in two ways"
                problems.of(each.label).add(each.place("push").error(what, hint="give each shape a name of its own"))


def _clash(one: Variant, other: Variant, name: Name) -> Error:
    hint = "give one of them another `push`"
    if other.row and one.model == other.model:
        hint = "put every axis into it: " + ", ".join(f"${{matrix.{axis}}}" for axis, _ in other.row)
    what = f"'{one.label}' and '{other.label}' would both be pushed to '{name.display()}'"
    return other.place("push").error(what, hint=hint)
