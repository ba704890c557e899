"""From declared models to variants: matrices become rows, and each row gets its own name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from modelbuild.errors import Error, Problems
from modelbuild.ollama.modelfile.parameters import PARAMETERS
from modelbuild.ollama.name import Name
from modelbuild.project import matrix, unused
from modelbuild.project.keys import KEYS
from modelbuild.project.matrix import Row
from modelbuild.project.models import Laid
from modelbuild.project.overlay import Said, lay, put, put_entry
from modelbuild.project.project import is_shared
from modelbuild.project.row import Declaration, Naming, Reader, Surroundings
from modelbuild.project.variables import Scope
from modelbuild.project.variant import Variant
from modelbuild.words import did_you_mean


def expand(laid: Laid, around: Surroundings, found: Collection[str], problems: Problems) -> list[Variant]:
    """Make a variant of every row of a model; none where its rows cannot be told. `found` are the models that Modelfiles make.

    What is wrong with the model goes to its part of `problems`, what is wrong with a row to the part of its label.
    """
    own = Problems()
    rows, axes = matrix.rows(laid.said, laid.table, around.vars, own)
    own.add(*_set_axes(laid, axes), *_lost_tags(laid, rows))
    own.warn(*unused.keys_under_axes(laid.own, laid.table, axes))
    readers = [] if own else [Reader(_declared(laid, row, around.vars), around, own) for row in rows]
    namings = [reader.naming() for reader in readers]
    labels = _labels(laid, readers, namings)
    for label, error in _same_labels(laid, labels, readers):
        problems.of(label).add(error)
    variants = []
    is_right, of_row = True, Problems()
    for label, naming, reader in zip(labels, namings, readers, strict=True):
        reader.problems = of_row
        text = reader.modelfile()
        if not text and _says_no_source(reader.declared):
            hint = did_you_mean(laid.model, found)
            of_row.add(laid.table.error("neither 'from' nor 'modelfile'", hint=hint, value=False))
        variants.append(reader.variant(label, naming.names, text))
        if of_row:
            problems.of(laid.model if own else label).add(*of_row.errors)
            problems.warn(*of_row.warnings)
            is_right, of_row = False, Problems()
    if axes and rows:
        own.add(*unused.axes(laid.said, axes, laid.model))
    if is_right and not own and not any(each.quantize for each in variants):
        own.add(*_unused_imatrices(variants))
    problems.warn(*own.warnings, *of_row.warnings, *unused.keys_of_rows(laid.own, laid.table, variants))
    if own:
        problems.of(laid.model).add(*own.errors)
    return [] if own and not all(each.names for each in variants) else variants


def _declared(laid: Laid, row: Row, vars: Scope) -> Declaration:
    """A row with what its axes say, what `include` adds to it, and `--set` over both."""
    if not row.labels:
        return Declaration(laid.model, row, laid.said, vars, laid.table)
    said = dict(laid.said)
    for (axis, _), (value, place) in zip(row.labels, row.values, strict=True):
        if axis in KEYS:
            put(said, axis, value, place)
        elif axis in PARAMETERS:
            put_entry(said, "parameters", axis, Said(value, place))
    if row.extra:
        said = lay([*row.extra, *laid.on_top], said)
    return Declaration(laid.model, row, said, {**vars, **row.scope()}, laid.table)


def _set_axes(laid: Laid, axes: Collection[str]) -> Iterator[Error]:
    for values, place in laid.on_top:
        for key in (*values, *values.get("parameters", ())):
            if key in axes:
                hint = f"set the axis: --set '{laid.model}.matrix.{key}=[…]'"
                yield place.error(f"'{key}' is an axis of model '{laid.model}'", hint=hint)


def _lost_tags(laid: Laid, rows: Sequence[Row]) -> Iterator[Error]:
    if laid.own.get("tags") and rows and not any(row.is_default for row in rows):
        hint = f"declare which row is the default: [model.{laid.model}.default]"
        yield laid.said["tags"].place.error("'tags' belong to the default row, but there is none", hint=hint)


def _says_no_source(declared: Declaration) -> bool:
    said = declared.said
    return "modelfile" not in said and not ("from" in said and said["from"].value)


def _labels(laid: Laid, readers: Sequence[Reader], namings: Sequence[Naming]) -> list[str]:
    """What rows are called: by tag where tags tell them apart, else by their labels."""
    rows = [reader.declared.row for reader in readers]
    tags = [naming.tag if row.labels else "" for row, naming in zip(rows, namings, strict=True)]
    if len(set(tags)) < len(tags):
        tags = [row.joined for row in rows]
    return [f"{laid.model}:{tag}" if tag else laid.model for tag in tags]


def _same_labels(laid: Laid, labels: Sequence[str], readers: Sequence[Reader]) -> Iterator[tuple[str, Error]]:
    """The rows that nothing tells apart: each label that several have, and the error."""
    rows: dict[str, list[Row]] = {}
    for label, reader in zip(labels, readers, strict=True):
        rows.setdefault(label, []).append(reader.declared.row)
    for label, same in rows.items():
        if len(same) > 1:
            shown = [", ".join(f"{axis} = {value}" for axis, value in row.labels) for row in same]
            what = f"{len(same)} rows have the same label '{label.removeprefix(laid.model + ':')}'"
            hint = "give an axis other labels, or tell the rows apart by `tag`"
            facts = [("rows", "\n".join(shown if len(shown) <= 8 else [*shown[:7], f"… {len(shown) - 7} more"]))]
            yield label, laid.table.at("matrix").error(what, facts=facts, hint=hint, value=False)


def _unused_imatrices(unquantized: Sequence[Variant]) -> Iterator[Error]:
    for each in unquantized:
        for key, said in (("imatrix", each.file("imatrix") or each.calibration), ("gate", each.gate)):
            place = each.place(key, "kld" if key == "gate" else None)
            if said and not is_shared(place):
                what = f"'{key}' is for quantization, but '{each.model}' is not quantized"
                clear = 'imatrix = ""' if key == "imatrix" else 'gate = { kld = "" }'
                yield place.error(what, hint=f"set 'quantize', or clear it: {clear}")


def check_names(variants: Sequence[Variant], problems: Problems) -> None:
    """Refuse variants that share a name; case does not tell names apart."""
    owners: dict[str, list[Variant]] = {}
    for each in variants:
        for name in each.names:
            owners.setdefault(name.path().lower(), []).append(each)
            if warning := name.reserved():
                problems.warn(each.table.placed(warning))
    groups: dict[tuple[str, ...], tuple[Name, list[Variant]]] = {}
    for folded, clashing in owners.items():
        is_told = clashing[0] is not clashing[-1] and len({each.label for each in clashing}) == 1
        if len(clashing) > 1 and not is_told:
            name = next(each for each in clashing[1].names if each.path().lower() == folded)
            groups.setdefault(tuple(each.label for each in clashing), (name, clashing))
    for name, clashing in groups.values():
        clash = _clash(name, clashing)
        for each in clashing:
            problems.of(each.label).add(clash)


def _clash(name: Name, variants: Sequence[Variant]) -> Error:
    """The error for several variants of one name."""
    first, second = variants[0], variants[1]
    if first is second:
        same = [each.display() for each in first.names if each.path().lower() == name.path().lower()]
        both = " and ".join(f"'{each}'" for each in same)
        what = f"'{first.label}' would be named {both}"
        return first.place("tags").error(what, hint="leave one of them out: they differ only by case")
    pairs = [f"'{each.label}'  {each.place('name')}" for each in variants]
    if len(pairs) > 8:
        pairs = [*pairs[:7], f"… {len(pairs) - 7} more"]
    of_parts = len({each.model.rpartition("/")[0] for each in variants}) > 1
    hint = f"give one of them another {'`namespace`, ' if of_parts else ''}`name` or `tag`"
    if first.model == second.model:
        axes = [axis for axis, _ in first.row]
        hint = "put every axis into `name` or `tag`: " + ", ".join(f"${{matrix.{axis}}}" for axis in axes)
    all_ = "both" if len(variants) == 2 else "all"
    what = f"{len(variants)} variants would {all_} be named '{name.display()}'"
    return second.place("name").error(what, facts=[("variants", "\n".join(pairs))], hint=hint)
