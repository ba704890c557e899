"""Check everything without building.

Checks texts, plan, headers of weights files, tokenizers, templates and disk space, without reading weights. Prints the
size of each model and its number of tensors of each type; with -v (before the command) or --json, it prints the type of
each tensor. A build makes the same checks for the steps that it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild.cli.fetched import not_pulled, waiting, wrong
from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.cli.sentences import forecasts, unjudged
from modelbuild.errors import Error
from modelbuild.plan import preflight
from modelbuild.project import broken
from modelbuild.session import naming
from modelbuild.session.destination import Everywhere
from modelbuild.session.forecast import of_output
from modelbuild.words import plural, size

if TYPE_CHECKING:
    import click

    from modelbuild.session.session import Session


def parameters() -> list[click.Parameter]:
    from modelbuild.cli.kinds import targets

    return [targets()]


def run(call: Invocation, targets: Sequence[str] = ()) -> int:
    session, report = call.session, call.report
    selection = session.select(targets) if targets else session.everything()
    outputs = selection.outputs
    graph = session.graph.select(outputs)
    found = preflight.short(preflight.look(graph), graph, session.unmade(graph), session.room())
    remarks = session.remarks(outputs)
    warnings = [
        *session.warnings,
        *naming.of_check(session, outputs),
        *preflight.distinct(found.warnings),
        *(told.error for told in remarks if not told.minor),
    ]
    for warning in warnings:
        report.warning(warning, told=True)
    for told in remarks:
        if told.minor:
            report.remark(told.error, minor=True, told=True)
    models = [of_output(graph, output, found.files) for output in outputs]
    errors = [*preflight.distinct(found.errors), *_unwritable(session)]
    destination = Everywhere(session)
    errors += [error for output in outputs for error in destination.misplaced(output)]
    errors = [*broken.told(wrong(selection.broken)), *errors]
    awaited = waiting(selection.broken)
    disk = sum(found.bytes.values())
    if report.as_json:
        report.data(
            {
                "models": [each.data() for each in models],
                "errors": [report.described(error) for error in errors],
                "bytes_to_write": disk,
                "not_pulled": [{"label": each.label, "name": each.wanted.name} for each in awaited if each.wanted],
                "warnings": [report.described(warning, "warning") for warning in warnings],
            }
        )
    else:
        for line in forecasts(models, report.verbose, report.width):
            report.result(line)
        if report.verbose:
            for path, architecture in found.unjudged.items():
                report.note(unjudged(path, architecture))
        if untagged := naming.untagged(session, outputs):
            report.warning(naming.untagged_warning(untagged))
        if awaited:
            report.note(not_pulled(awaited))
        if away := sum(source.is_away() for source in graph.sources()):
            report.note(
                f"{plural(away, 'weights file')} not here: what is made of {'it' if away == 1 else 'them'} is not checked"
            )
    if errors:
        report.errors(errors, told=True)
        return FAILED
    written = f", {size(disk)} to be written" if disk else ""
    report.note(f"{plural(len(outputs), 'model')} checked, nothing wrong{written}")
    return GOOD


def _unwritable(session: Session) -> list[Error]:
    try:
        session.models.check_writable()
    except Error as error:
        return [error]
    return []
