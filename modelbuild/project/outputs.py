"""The files of variants outside the models folder: the paths of `output`, and the names of files in folders."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from modelbuild.errors import Error, Problems
from modelbuild.files import expand
from modelbuild.ollama.name import TAG, Name
from modelbuild.project.variant import ExportTo, Variant

SUFFIX = ".gguf"


def path_of(variant: Variant) -> str | None:
    """The absolute path of `output`; None without one. Raises Error."""
    said = variant.file("output")
    if said is None:
        return None
    if said.text.endswith(("/", os.sep)):
        return os.path.join(said.path, file_name(variant.names[0]) + SUFFIX)
    if not said.path.lower().endswith(SUFFIX):
        what = f"'output' expects a path that ends in '{SUFFIX}', or in '/' for a folder, got '{said.text}'"
        raise said.place.error(what)
    return said.path


def files(variant: Variant, layers: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The file that a variant's GGUF is also to be put into, and the step that makes it; `layers` are (kind, step). Raises Error."""
    path = path_of(variant)
    if path is None:
        return ()
    try:
        one_gguf(variant.label, [kind for kind, _ in layers])
    except Error as error:
        raise variant.place("output").placed(error) from None
    return ((path, next(step for kind, step in layers if kind == "model")),)


def exports(variant: Variant) -> tuple[tuple[str, ...], ...]:
    """Where else a variant is wanted: shape, folder, how it is split and linked, as sessions read it."""
    return tuple((each.shape, each.folder.path, each.split, each.link) for each in variant.exports)


def file_name(name: Name) -> str:
    """The name of a file for a model, without its suffix."""
    return name.model if name.tag == TAG else f"{name.model}-{name.tag}"


def check(variants: Sequence[Variant], problems: Problems) -> None:
    """Refuse two variants of one file; some file systems ignore case."""
    _check_exports(variants, problems)
    if all(each.file("output") is None for each in variants):
        return
    first: dict[str, Variant] = {}
    read = {path: each for each in variants for path in _read(each)}
    for each in variants:
        with problems.of(each.label).at(each.place("output")):
            path = path_of(each)
            if path is None:
                continue
            if (reader := read.get(os.path.realpath(path))) is not None:
                raise _circle(each, reader, path)
            other = first.setdefault(os.path.realpath(path).casefold(), each)
            if other is not each:
                clash = _clash(other, each, path)
                problems.of(other.label).add(clash)
                problems.of(each.label).add(clash)


def _check_exports(variants: Sequence[Variant], problems: Problems) -> None:
    """Refuse folders that are wanted in two shapes, or split or linked in two ways: files of one would be in the other's way."""
    first: dict[str, tuple[Variant, ExportTo]] = {}
    for each in variants:
        for export in each.exports:
            folder = os.path.realpath(export.folder.path)
            other, before = first.setdefault(folder.casefold(), (each, export))
            if (before.shape, before.split, before.link) != (export.shape, export.split, export.link):
                what = f"'{export.folder.text}' cannot be exported to in two ways"
                ways = [f"{way.shape} of '{label}'" for way, label in ((before, other.label), (export, each.label))]
                hint = "name a folder for each"
                problems.of(each.label).add(
                    export.folder.place.error(what, facts=[("wanted", " and ".join(ways))], hint=hint)
                )


def _read(variant: Variant) -> Iterator[str]:
    """The files that a variant is made from, as far as their paths are said."""
    for line in variant.froms:
        if not line.in_toml or "/" in line.text or line.text.startswith((".", "~")):
            with contextlib.suppress(Error):
                yield os.path.realpath(expand(line.text, line.folder))
    yield from (os.path.realpath(adapter.path) for adapter in variant.adapters)
    yield from (os.path.realpath(draft.path) for draft in variant.drafts)


def _circle(variant: Variant, reader: Variant, path: str) -> Error:
    what = f"'{os.path.basename(path)}' cannot be an output: '{reader.label}' is built from it"
    hint = "name another file"
    if reader is not variant:
        hint = f"'{reader.label}' can use the model instead: from = \"{variant.label}\""
    return variant.place("output").error(what, facts=[("file", path)], hint=hint)


def _clash(one: Variant, other: Variant, path: str) -> Error:
    hint = "give one of them another `output`"
    if other.row and one.model == other.model:
        hint = "put every axis into it: " + ", ".join(f"${{matrix.{axis}}}" for axis, _ in other.row)
    what = f"'{one.label}' and '{other.label}' would both be written to '{os.path.basename(path)}'"
    return other.place("output").error(what, facts=[("file", path)], hint=hint)


def one_gguf(label: str, kinds: Sequence[str]) -> None:
    """Raise an Error if a variant consists of more than one GGUF; `kinds` are those of its layers."""
    if "model" not in kinds:
        raise Error(f"'{label}' has no model file of its own")
    if more := [kind for kind in kinds if kind in ("projector", "adapter", "draft")]:
        parts = " and ".join("an adapter" if kind == "adapter" else f"a {kind}" for kind in dict.fromkeys(more))
        hint = f"`modelbuild export {label} FOLDER` writes all its files"
        if more == ["projector"]:
            hint += f"; `projector = false`, or --set {label.partition(':')[0]}.projector=false, makes a model of text"
        raise Error(f"'{label}' has {parts} besides its model: one file cannot contain both", hint=hint)
