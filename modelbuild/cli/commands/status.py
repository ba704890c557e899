"""Say how the project stands, in short.

Counts the models that are built, and names those that a build would change, those that are not built, not pulled or
broken, those that fell short of their gates, and what is no longer declared. No weights are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.cli.places import here, shown_path
from modelbuild.cli.tables import GAP, hanging
from modelbuild.ollama.name import displayed
from modelbuild.words import duration, in_line, plural

if TYPE_CHECKING:
    import click

    from modelbuild.project.broken import Broken
    from modelbuild.session.overview import Overview

NAMED = 10
"""Models of a kind that are named."""
WORD = 12


def parameters() -> list[click.Parameter]:
    return []


def run(call: Invocation) -> int:
    from modelbuild.session import overview

    session, report = call.session, call.report
    found = overview.look(session)
    if report.as_json:
        report.data({"project": session.file, "models": session.models.root, **found.data()})
        return GOOD
    folder = shown_path(session.models.root, here())
    lines = [f"{plural(len(found.built), 'model')} built in {folder}", *_lines(found)]
    report.result("\n".join(hanging(line, report.width, WORD + GAP) for line in lines))
    for note in _notes(found):
        report.note(note)
    return GOOD


def _lines(found: Overview) -> Iterator[str]:
    for word, outputs in (("changed", found.changed), ("not built", found.missing)):
        yield from _some(word, [displayed(output.names[0]) for output in outputs])
    yield from _some("not pulled", [f"{each.label}: {each.wanted.name}" for each in found.awaited if each.wanted])
    yield from _some("broken", [f"{each.label}: {_why(each)}" for each in found.broken])
    yield from _some("fell short", [f"{label}: {each.said}" for label, each in found.gates.items() if each.said])
    counted = Counter(each.word for each in found.gates.values())
    if told := [f"{counted[word]:,} {word}" for word in ("passed", "fell short", "not measured") if counted[word]]:
        yield f"{'gates':<{WORD}}{', '.join(told)}"
    names, files = found.stale
    yield from _some("undeclared", [*map(displayed, names), *(shown_path(path, here()) for path in files)])


def _some(word: str, texts: Sequence[str]) -> Iterator[str]:
    for text in texts[:NAMED]:
        yield f"{word:<{WORD}}{in_line(text)}"
    if len(texts) > NAMED:
        yield f"{word:<{WORD}}and {len(texts) - NAMED:,} more"


def _why(broken: Broken) -> str:
    first, *more = broken.errors
    return f"{first.place}: {first.what}".removeprefix(": ") + (
        f" (and {plural(len(more), 'more error')})" if more else ""
    )


def _notes(found: Overview) -> Iterator[str]:
    if found.changed or found.missing:
        models = plural(len(found.changed) + len(found.missing), "model")
        if found.steps:
            told = f"{plural(found.steps - found.maybe, 'step')} to run"
            yield f"`modelbuild` builds {models}: {told}{f', {found.maybe} maybe' if found.maybe else ''}"
        else:
            yield f"nothing to rebuild; {models} to install"
    if found.unrecorded:
        yield f"nothing is recorded of {plural(found.unrecorded, 'installed model')}: the cache is new, or was removed"
    if any(found.stale):
        yield "`modelbuild clean --stale` removes what is no longer declared"
    if found.last is not None:
        from modelbuild.cli.commands.log import began, result, steps

        yield f"last build: {began(found.last)} ({duration(found.last['seconds'])}; {steps(found.last)}): {result(found.last)}"
