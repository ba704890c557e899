"""Check everything without building: texts, plan, heads of weights files, tokenizers, templates.

Prints the size that each model will have and how many tensors of each type; with -v (before the command) or --json each
tensor's type. No weights are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild.cli import GOOD, WRONG, Invocation
from modelbuild.commands._forecast import forecast, lines
from modelbuild.report import plural

if TYPE_CHECKING:
    import click


def parameters() -> list[click.Parameter]:
    from modelbuild.arguments import targets

    return [targets()]


def run(call: Invocation, targets: Sequence[str] = ()) -> int:
    session, report = call.session, call.report
    outputs = session.select(targets) if targets else session.graph.outputs
    graph = session.graph.select(outputs)
    for warning in session.warnings:
        report.warning(warning, told=True)
    forecasts, errors = forecast(graph, outputs)
    if report.as_json:
        report.data(
            {
                "models": [each.data() for each in forecasts],
                "errors": [report.described(error) for error in errors],
                "warnings": [report.described(warning, "warning") for warning in session.warnings],
            }
        )
    else:
        for line in lines(forecasts, report.verbose):
            report.result(line)
    if errors:
        report.errors(errors, told=True)
        return WRONG
    report.note(f"{plural(len(outputs), 'model')} checked, nothing wrong")
    return GOOD
