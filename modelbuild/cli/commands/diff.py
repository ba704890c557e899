"""Show what differs between two built models.

BEFORE and AFTER are variants of the project, names of the models folder, or paths of GGUF files. Compares layers,
template, system, license, messages, parameters, config, metadata, and tensors by type and digest. Exits with 0 if the
models are equal, and with 1 if they differ. -v (before the command) names every tensor that differs.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.cli.tables import GAP, Column, indented, inner, laid_out, table
from modelbuild.errors import Error
from modelbuild.words import cut, listed, plural, size

if TYPE_CHECKING:
    import click

    from modelbuild.checkpoint.ggufs import Told
    from modelbuild.engine.cache import LocalCache
    from modelbuild.ollama.manifest import Layer
    from modelbuild.session.compared import Compared, Difference, Held, Side, Tensors

SHORT = 60
"""Characters of a value that a line shows."""
SOME = 10
"""Tensors that are named when not all are."""


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import Target

    return [
        click.Argument(["before"], type=Target(), metavar="BEFORE"),
        click.Argument(["after"], type=Target(), metavar="AFTER"),
    ]


def run(call: Invocation, before: str, after: str) -> int:
    from modelbuild.session.compared import compare

    sides = _side(call, before), _side(call, after)
    with _cache(call) as cache:
        found = compare(*sides, cache)
    if call.report.as_json:
        call.report.data(found.data())
    else:
        call.report.result(_text(found, call.report.width, every=call.report.verbose))
        if any(side.served is None for side in sides) and any(side.served for side in sides):
            call.report.note("one of them is a GGUF file: only metadata and tensors were compared")
    return GOOD if found.equal else FAILED


def _side(call: Invocation, word: str) -> Side:
    """What a word of the command line means. Raises Error and Errors."""
    from modelbuild.cli import one_installed
    from modelbuild.cli.one_target import one
    from modelbuild.session.compared import Side
    from modelbuild.session.settings import started_in

    path = started_in(call.settings.folder, word)
    if os.path.isfile(path) or word.startswith(("./", "../", "/", "~")) or word.lower().endswith(".gguf"):
        if not os.path.isfile(path):
            what = "is a folder, expected a GGUF file" if os.path.isdir(path) else "no such file"
            raise Error(what, path=word, hint="name a GGUF file, or a model of the project or the models folder")
        return Side(word, path)
    if (installed := one_installed.meant(call, word)) is not None:
        library, name = installed
    else:
        library, name = call.session.models.library, one(call.session, word, "show").names[0]
    served = library.served(name)
    if served is None:
        raise Error(f"'{word}' is not built", hint=f"`modelbuild {word}` builds it")
    return Side.named(word, library, served)


@contextmanager
def _cache(call: Invocation) -> Iterator[LocalCache | None]:
    """What earlier builds know of tensors; without a project too, if there is a cache."""
    from modelbuild.engine.cache import LocalCache
    from modelbuild.engine.store import Store
    from modelbuild.session.settings import cache_folder

    folder = cache_folder(call.settings)
    if call.has_project:
        yield call.session.cache
    elif os.path.isdir(folder):
        store = Store(folder)
        try:
            yield LocalCache(store)
        finally:
            store.close()
    else:
        yield None


def _text(found: Compared, width: int | None, *, every: bool) -> str:
    titles = f"{found.before.title} -> {found.after.title}"
    if found.equal:
        tensors = f"; {plural(found.tensors.equal, 'tensor')}" if found.tensors else ""
        return f"{found.before.title} and {found.after.title} are equal{tensors}"
    rows = []
    for layer in found.layers:
        before, after = map(_layer, (layer.before, layer.after), layer.told)
        rows.append([f"layer {layer.kind}", f"{before} -> {after}", ""])
    blocks = []
    for each in found.values:
        if _is_long(each):
            blocks.append("\n".join([each.key, *_lines(each)]))
        else:
            rows.append([each.key, f"{_value(each.before)} -> {_value(each.after)}", ""])
    parts = [titles + (f"\n{laid_out(rows, width)}" if rows else ""), *blocks]
    if found.tensors is not None:
        parts += _tensors(found.tensors, width, every=every)
    if same := [key for key in found.same if not key.startswith("config ")]:
        parts.append(f"equal: {listed(same, 40)}")
    return "\n\n".join(parts)


def _layer(layer: Layer | None, told: Told) -> str:
    if layer is None:
        return "none"
    origin = f" from {layer.from_}" if layer.from_ else ""
    return " ".join([size(layer.size), *([told.words] if told.words else []), layer.digest[:19]]) + origin


def _is_long(each: Difference) -> bool:
    """Whether a value is a text of several lines on one side, so that lines are compared."""
    sides = [side for side in (each.before, each.after) if side is not None]
    return all(isinstance(side, str) for side in sides) and any("\n" in side.strip("\n") for side in sides)


def _lines(each: Difference) -> Iterator[str]:
    before, after = ((text or "").splitlines() for text in (each.before, each.after))
    for line in list(difflib.unified_diff(before, after, lineterm="", n=2))[2:]:
        yield " " * GAP + line


def _value(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return cut(" ".join(text.split()), SHORT)


def _tensors(found: Tensors, width: int | None, *, every: bool) -> Iterator[str]:
    total = found.equal + len(found.different)
    if not found.different:
        yield f"tensors: all {total} are equal"
        return
    rows = []
    for kind, (before, after) in sorted(found.types.items(), key=lambda item: -max(each.bytes for each in item[1])):
        counts = [f"{each.tensors:,}" if each.tensors else "-" for each in (before, after)]
        sizes = [size(each.bytes) if each.tensors else "-" for each in (before, after)]
        rows.append([kind, counts[0], sizes[0], counts[1], sizes[1]])
    head = [Column("TYPE"), *(Column(title, right=True) for title in ("BEFORE", "SIZE", "AFTER", "SIZE"))]
    yield f"tensors: {len(found.different)} of {total} differ\n" + indented(table(head, rows, inner(width)))
    shown = found.different if every else found.different[:SOME]
    rows = [[each.name, _held(each.before), _held(each.after)] for each in shown]
    text = indented(table([Column("TENSOR", wrap=True), Column("BEFORE"), Column("AFTER")], rows, inner(width)))
    if left := len(found.different) - len(shown):
        text += f"\n  … and {left} more; -v before the command names all"
    yield text


def _held(held: Held | None) -> str:
    if held is None:
        return "none"
    digest = f"  {held.digest[:17]}" if held.digest else ""
    return f"{held.type} {'×'.join(map(str, held.shape))}{digest}"
