"""The rows of a model's matrix: the product of its axes, less `exclude`, plus `include`, one of them the default."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from modelbuild.errors import Error, Problems
from modelbuild.ollama.modelfile.parameters import PARAMETERS
from modelbuild.project import unused
from modelbuild.project.keys import KEYS
from modelbuild.project.locate import Place
from modelbuild.project.overlay import Said, Table
from modelbuild.project.variables import AXIS, Scalar, Scope, filled
from modelbuild.tensors import ftypes
from modelbuild.tuples import NamedTuple
from modelbuild.words import as_text, did_you_mean, got, listed, nearest

LIMIT = 100_000
"""Rows of one matrix."""


class Row(NamedTuple):
    """One label per axis, the values behind them, and what `include` lays over the model for this row alone."""

    labels: tuple[tuple[str, str], ...] = ()
    values: tuple[Said, ...] = ()
    extra: tuple[Table, ...] = ()
    is_default: bool = False

    @property
    def joined(self) -> str:
        return "-".join(label for _, label in self.labels)

    def scope(self) -> dict[str, Scalar]:
        """What the strings of the row may name: `matrix.AXIS`, the label, and `matrix.AXIS.value`, where that is a scalar."""
        named: dict[str, Scalar] = {}
        for (axis, label), (value, _) in zip(self.labels, self.values, strict=True):
            named[f"matrix.{axis}"] = label
            if isinstance(value, Scalar):
                named[f"matrix.{axis}.value"] = value
                if as_text(value) == label:  # a list of numbers: its labels are numbers too
                    named[f"matrix.{axis}"] = value
        return named


class Axis(NamedTuple):
    """label -> value; `is_list` where the labels are the values, so that `include` may bring new ones."""

    values: Mapping[str, Said]
    is_list: bool


def rows(
    said: Mapping[str, Said], own: Place, scope: Scope, problems: Problems
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Make the rows of a model from its laid-over keys, and say which axes there are.

    A model without a matrix has one row without labels. What is wrong goes to `problems`, which are the model's own;
    a part without effect is a warning, if `own`, the table of the model, contains it.
    """
    matrix = said.get("matrix")
    axes: dict[str, Axis] = {}
    for name, (values, place) in matrix.value.items() if matrix else ():
        axis = _axis(name, values, place, scope, problems)
        if axis:
            axes[name] = axis
    if not axes:
        for key in ("include", "exclude", "default"):
            if key in said and said[key].value and (not matrix or _is_within(said[key].place, own)):
                problems.add(said[key].place.error(f"'{key}' without a matrix", value=False))
        if matrix and not matrix.value:
            problems.warn(matrix.place.error("'matrix' has no axis", value=False))
        return (Row(is_default=True),), ()
    assert matrix
    count = math.prod(len(axis.values) for axis in axes.values())
    if count > LIMIT:
        problems.add(matrix.place.error(f"the matrix has {count} rows, expected at most {LIMIT}", value=False))
        return (), tuple(axes)
    problems.add(*_set_twice(axes))
    maker = _Maker(axes, own, scope, problems)
    for number, table in enumerate(said["exclude"].value if "exclude" in said else ()):
        maker.exclude(table, said["exclude"].place.at(number))
    for number, table in enumerate(said["include"].value if "include" in said else ()):
        maker.include(table, said["include"].place.at(number))
    if "default" in said and said["default"].value:
        maker.default(said["default"])
    elif "default" in said and _is_within(said["default"].place, own):
        problems.warn(said["default"].place.error("'default' names no row", value=False))
    if not maker.rows and not problems:
        problems.add(matrix.place.error("'exclude' drops every row of the matrix", value=False))
    return tuple(maker.rows), tuple(axes)


def _is_within(place: Place, table: Place) -> bool:
    """Whether a table says something itself, rather than one that it refines."""
    return bool(table.key) and place.file == table.file and place.key[: len(table.key)] == table.key


def _set_twice(axes: Mapping[str, Axis]) -> Iterator[Error]:
    """Parameters that are an axis, and that another axis sets among others."""
    for value, place in axes["parameters"].values.values() if "parameters" in axes else ():
        for name in value if isinstance(value, dict) else ():
            if name in axes:
                what = f"two axes set parameter '{name}': 'parameters' and '{name}'"
                yield place.at(name).error(what, hint="set it in one of them", value=False)


def label(axis: str, value: Scalar) -> str:
    """The label of a value that has none of its own: the value itself, ftypes in their canonical spelling."""
    text = as_text(value)
    return ftypes.canonical(text) or text if axis == "quantize" else text


def _axis(name: str, values: Any, place: Place, scope: Scope, problems: Problems) -> Axis | None:
    if values in ("", [], {}):  # cleared
        if name not in KEYS and name not in PARAMETERS and (hint := unused.near_axis(name)):
            problems.add(
                place.error(f"axis '{name}' is empty, but is neither a key nor a parameter", hint=hint, value=False)
            )
        return None
    cannot_be = name in KEYS and KEYS[name].makes is not None
    if cannot_be or not AXIS.fullmatch(name):
        why = "" if cannot_be else ": expected letters, digits, '-' and '_'"
        problems.add(place.error(f"'{name}' cannot be an axis{why}", value=False))
        return None
    if isinstance(values, dict):
        return Axis({text: _filled(value, place.at(text), scope, problems) for text, value in values.items()}, False)
    labelled: dict[str, Said] = {}
    for number, raw in enumerate(values):
        said = _filled(raw, place.at(number), scope, problems)
        text = label(name, said.value)
        if text in labelled:
            problems.add(said.place.error(f"axis '{name}' has '{text}' twice"))
        labelled[text] = said
    return Axis(labelled, True)


def _filled(value: Any, place: Place, scope: Scope, problems: Problems) -> Said:
    with problems.at(place):
        return Said(filled(value, scope), place)
    return Said(value, place)


class _Maker:
    def __init__(self, axes: Mapping[str, Axis], table: Place, scope: Scope, problems: Problems) -> None:
        self.axes = axes
        self.table = table
        self.keys = [name for name, key in KEYS.items() if key.makes != "rows"]
        self.scope = scope
        self.problems = problems
        self.values = {name: dict(axis.values) for name, axis in axes.items()}
        self.rows = [
            Row(tuple(zip(axes, (text for text, _ in row), strict=True)), tuple(said for _, said in row))
            for row in itertools.product(*(axis.values.items() for axis in axes.values()))
        ]

    def exclude(self, table: Mapping[str, Any], place: Place) -> None:
        wanted = self._condition({axis: Said(value, place.at(axis)) for axis, value in table.items()})
        if wanted is not None:
            kept = [row for row in self.rows if not _matches(row, wanted)]
            if len(kept) == len(self.rows) and _is_within(place, self.table):
                self.problems.warn(
                    place.error("'exclude' has no effect: no row has these labels, or an earlier 'exclude' dropped it")
                )
            self.rows = kept

    def include(self, table: Mapping[str, Any], place: Place) -> None:
        condition = {key: Said(value, place.at(key)) for key, value in table.items() if key in self.axes}
        extra = {key: value for key, value in table.items() if key not in self.axes}
        wanted = self._condition(condition, adding=True)
        for key in extra:
            if key not in self.keys:
                near = nearest(key, [*self.axes, *self.keys, *PARAMETERS])
                hint = f"did you mean '{near}'?" if near else None
                if near in PARAMETERS and near not in self.axes:
                    hint = f"put parameters in their own table: parameters = {{ {near} = … }}"
                what = f"'{key}' is neither an axis of the matrix nor a key of a row"
                self.problems.add(place.at(key).error(what, hint=hint, value=False))
                wanted = None
        if wanted is None:
            return
        added = (Table(extra, place),) if extra else ()
        hits = [number for number, row in enumerate(self.rows) if _matches(row, wanted)]
        if hits and not extra and _is_within(place, self.table):
            what = "'include' has no effect: these rows exist already, and it adds no key"
            self.problems.warn(place.error(what))
        for number in hits:
            self.rows[number] = self.rows[number]._replace(extra=self.rows[number].extra + added)
        missing = [axis for axis in self.axes if axis not in wanted]
        count = len(self.rows) + math.prod(len(values) for values in wanted.values())
        if not hits and not missing and count > LIMIT:
            self.problems.add(place.error(f"the matrix has {count} rows, expected at most {LIMIT}"))
        elif not hits and missing:
            what = f"no row matches, but a new row needs a value for every axis: 'include' lacks {listed(missing)}"
            self.problems.add(place.error(what))
        elif not hits:
            for labels in itertools.product(*(wanted[axis] for axis in self.axes)):
                values = tuple(wanted[axis][text] for axis, text in zip(self.axes, labels, strict=True))
                self.rows.append(Row(tuple(zip(self.axes, labels, strict=True)), values, added))
            for axis, values_of_axis in wanted.items():
                self.values[axis].update(values_of_axis)

    def default(self, said: Said) -> None:
        wanted = self._condition(said.value)
        if wanted is None:
            return
        hits = [number for number, row in enumerate(self.rows) if _matches(row, wanted)]
        if len(hits) == 1:
            self.rows[hits[0]] = self.rows[hits[0]]._replace(is_default=True)
            return
        named = [self.rows[number].joined for number in hits] or [row.joined for row in self.rows]
        what = f"'default' matches {len(hits)} rows, need one" if hits else "'default' matches no row"
        open_ = [f"'{axis}'" for axis in self.axes if axis not in wanted]
        hint = f"it needs a value for {listed(open_)}, too" if hits and open_ else None
        self.problems.add(said.place.error(what, facts=[("rows", listed(named))], hint=hint, value=False))

    def _condition(self, table: Mapping[str, Said], *, adding: bool = False) -> dict[str, dict[str, Said]] | None:
        """axis -> label -> value that a table asks for; None where it names an axis or a label that isn't there."""
        wanted: dict[str, dict[str, Said]] = {}
        problems = Problems()
        for name, (raw, place) in table.items():
            axis = self.axes.get(name)
            if axis is None:
                facts, hint = [("axes", listed(self.axes))], did_you_mean(name, self.axes)
                problems.add(place.error(f"the matrix has no axis '{name}'", facts=facts, hint=hint, value=False))
                continue
            known = self.values[name]
            wanted[name] = {}
            for number, item in enumerate(raw if isinstance(raw, list) else [raw]):
                here = place.at(number) if isinstance(raw, list) else place
                said = _filled(item, here, self.scope, problems)
                if not isinstance(said.value, Scalar):
                    problems.add(here.error(f"'{name}' expects a label of the axis, got {got(said.value)}"))
                    continue
                text = label(name, said.value)
                wanted[name][text] = known.get(text, said)
                if text not in known and not (adding and axis.is_list):
                    facts, hint = [("labels", listed(known))], _set_too(name, axis, place) or did_you_mean(text, known)
                    problems.add(here.error(f"axis '{name}' has no '{text}'", facts=facts, hint=hint))
        self.problems.take(problems)
        return None if problems else wanted


def _set_too(name: str, axis: Axis, place: Place) -> str | None:
    """A hint for a label that `--set` took from an axis, although 'default' or 'exclude' names it."""
    first, said = next(iter(axis.values.items()))
    option = said.place.file.removeprefix("--set ")
    if option == said.place.file or place.file == said.place.file:
        return None
    model = option.partition(".matrix")[0]
    if "exclude" in place.key:
        return f"clear it too: --set '{model}.exclude=[]'"
    return f"set it too: --set '{model}.default.{name}=\"{first}\"'" if "default" in place.key else None


def _matches(row: Row, wanted: Mapping[str, Mapping[str, Said]]) -> bool:
    return all(text in wanted[axis] for axis, text in row.labels if axis in wanted)
