"""Declarations without effect, which may be typos."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from modelbuild.errors import Error
from modelbuild.ollama.modelfile.parameters import DEPRECATED, GONE, PARAMETERS, unknown_parameter
from modelbuild.project.discovery import GLOB
from modelbuild.project.keys import KEYS
from modelbuild.project.locate import Place
from modelbuild.project.overlay import Said
from modelbuild.project.overrides import Set
from modelbuild.project.variables import Reference, parts
from modelbuild.project.variant import Variant
from modelbuild.tensors import ftypes
from modelbuild.words import as_text, nearest

_ONLY_NAMES = frozenset(name for name, key in KEYS.items() if key.makes == "names") | {
    "description",
    "export",
    "output",
    "push",
}
"""Keys that say what a model is called, and change nothing of it."""
_AXES = [*(name for name, key in KEYS.items() if key.makes is None), *PARAMETERS]


_MOST = 100
"""Axes of one model of which we look for what they were meant for; a matrix of more is no slip of the pen."""


def near_axis(axis: str, values: Any = ()) -> str | None:
    """A hint for an axis that was meant for a key or a parameter, as its name or its values show."""
    items = list(values.values() if isinstance(values, dict) else values)
    near = nearest(axis, _AXES, cutoff=0.75)
    if not near and items and all(map(_is_ftype, items)):
        near = "quantize"
    return f"did you mean '{near}'?" if near else None


def _is_ftype(value: Any) -> bool:
    return isinstance(value, str) and ftypes.canonical(value) is not None


def axes(said: Mapping[str, Said], names: Collection[str], model: str) -> Iterator[Error]:
    """Axes by whose values no row of a model differs from another: what is built would not be what its tag says."""
    uses = _Uses(names)
    for key, (value, _) in said.items():
        if key == "parameters":
            value = {parameter: each for parameter, each in value.items() if parameter not in names}
        if key not in names:  # an axis stands for it in every row
            uses.of_key(key, value)
    if not (uses.changing | uses.naming).issubset(names):
        return  # a string that names no axis is wrong itself, and may have been meant for one of these
    for name, (values, place) in said["matrix"].value.items():
        if name not in names or name in KEYS or name in PARAMETERS or name in uses.changing:
            continue
        near = near_axis(name, values) if len(names) <= _MOST else None
        what = f"'{name}' is neither a key nor a parameter, and nothing uses ${{matrix.{name}}}"
        hint = near or f"use ${{matrix.{name}}} in a key of the model, or add keys to its rows with 'include'"
        facts = []
        if name in DEPRECATED or name in GONE:
            what, hint = unknown_parameter(name).what, "remove the axis"
        elif name in uses.naming:
            if not near:
                continue
            what = f"'{name}' is neither a key nor a parameter, and only names use ${{matrix.{name}}}"
        if place.key[:2] not in ((), ("model", model)):
            facts = [("in", f"model '{model}', which also gets this matrix")]
            hint = near or f"clear the axis: [model.{model}.matrix] with {name} = []"
        yield place.error(f"axis '{name}' has no effect: {what}", facts=facts, hint=hint, value=False)


class _Uses:
    """The axes that strings of a model name, and those that choose the rows to which `include` adds keys."""

    def __init__(self, axes: Collection[str]) -> None:
        self.changing: set[str] = set()
        self.naming: set[str] = set()
        self._axes = axes

    def of_key(self, key: str, value: Any) -> None:
        found = self.naming if key in _ONLY_NAMES else self.changing
        if key != "include":
            found.update(_axes_named(value))
            return
        for entry in value:
            more = [each for each in entry if each not in self._axes]
            for each in more:
                self.of_key(each, entry[each])
            chosen = self.naming if _ONLY_NAMES.issuperset(more) else self.changing
            if more:
                chosen.update(each for each in entry if each in self._axes)


def _axes_named(value: Any) -> Iterator[str]:
    for name in references(value):
        if name.startswith("matrix."):
            yield name.split(".")[1]


def references(value: Any) -> Iterator[str]:
    """The names in all `${…}` of a value, however deep; none of a string where one is malformed."""
    if isinstance(value, Said):
        yield from references(value.value)
    elif isinstance(value, dict):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item)
    elif isinstance(value, str) and "${" in value:
        try:
            found = parts(value)
        except Error:
            return
        yield from (part.name for part in found if isinstance(part, Reference))


def keys_under_axes(own: Mapping[str, Any], table: Place, axes: Collection[str]) -> Iterator[Error]:
    """What a model's table says and an axis of its matrix says in every row."""
    for key in own:
        if key in axes:
            what = f"'{key}' has no effect: an axis of the matrix sets it"
            yield table.at(key).error(what, hint="remove it", value=False)
    for name in own.get("parameters", ()):
        if name in axes:
            what = f"parameter '{name}' has no effect: an axis of the matrix sets it"
            yield table.at("parameters", name).error(what, hint="remove it", value=False)


def extends(own: Mapping[str, Any], copied: Iterable[Mapping[str, Any]], place: Place) -> Iterator[Error]:
    """An `extends` by which nothing comes that the model's own table does not replace."""
    below = {leaf for table in copied for leaf in _leaves(table)}
    if below and below.issubset(_leaves(own)):
        yield place.error(
            "'extends' has no effect: this table sets every key that it would copy", hint="remove it", value=False
        )


def _leaves(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The keys of a table, and the entries of those that merge."""
    for key, value in table.items():
        entries = KEYS[key].entries
        yield from ((key, name) for name, _, _ in entries(value)) if entries else [(key, "")]


def keys_of_rows(own: Mapping[str, Any], table: Place, variants: Sequence[Variant]) -> Iterator[Error]:
    """What a model's table says of a thing that none of its rows has."""
    merges = any(adapter.mode == "merge" for each in variants for adapter in each.adapters)
    if own.get("allow_requantize") and not merges and not any(each.quantize for each in variants):
        yield table.at("allow_requantize").error("'allow_requantize' has no effect without 'quantize'", value=False)
    if own.get("adapter_mode") and not any(each.adapters for each in variants):
        yield table.at("adapter_mode").error("'adapter_mode' has no effect without 'adapters'", value=False)


def variables(
    declared: Collection[str], documents: Iterable[Mapping[str, Any]], sets: Sequence[Set], top: Place
) -> Iterator[Error]:
    """Variables of a text that no string names, in the documents that know them."""
    used = {*references([*documents]), *references([each.values for each in sets])} if declared else set()
    for name in declared:
        if name not in used:
            what = f"nothing uses variable '{name}'"
            yield top.at("vars", name).error(what, hint=f'use it in a string: "${{{name}}}"', value=False)


def mixes(declared: Collection[str], quantized: Collection[str | None], top: Place) -> Iterator[Error]:
    """Mixes to which no variant is quantized."""
    for name in declared:
        if name not in quantized:
            hint = f'use it in a model: quantize = "{as_text(name)}"'
            yield top.at("ftype", name).error("no model is quantized to this mix", hint=hint, value=False)


def glob_tables(models: Mapping[str, Mapping[str, Any]], top: Place) -> Iterator[Error]:
    """Tables for many models that say nothing."""
    for name, table in models.items():
        if not table and GLOB.search(name):
            yield top.at("model", name).error("the table is empty", value=False)


def targets(project: Mapping[str, Any], groups: Mapping[str, Sequence[str]], top: Place) -> Iterator[Error]:
    """Groups without a member, and a default that asks for nothing."""
    for name, members in groups.items():
        if not members:
            yield top.at("group", name).error("the group is empty: a build of it builds nothing", value=False)
    if project.get("default") == []:
        what, hint = "'default' is empty, which means everything", "name a target, or remove it"
        yield top.at("project", "default").error(what, hint=hint, value=False)
