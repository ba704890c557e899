"""Show the quantization error, tensor by tensor.

Compares the stored weights with their source. Prints root mean square error, maximum error, signal to noise and bits
per weight of each built model; with -v (before the command) of every tensor. --html writes a page that shows the
tensors by block and kind. The figures are cached.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.cli.tables import Column, indented, inner, table
from modelbuild.cli.written import checked, write
from modelbuild.errors import Error, Errors
from modelbuild.machine import cores
from modelbuild.words import plural, size

if TYPE_CHECKING:
    import click

    from modelbuild.cli.report import Report
    from modelbuild.session.quality import Following

WORST = 5
"""Tensors of a model that are named when not all are."""


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import Count, targets

    return [
        targets(),
        click.Option(
            ["-j", "--jobs"], type=Count(), metavar="N", help="Compare N tensors at once; default: all cores."
        ),
        click.Option(
            ["--html"],
            type=click.Path(),
            metavar="FILE",
            help="Write a page that shows the figures, one file that needs no network.",
        ),
    ]


def run(call: Invocation, targets: Sequence[str] = (), jobs: int | None = None, html: str | None = None) -> int:
    session, report = call.session, call.report
    file = checked(os.path.join(call.settings.folder, html), "--html", "quality.html") if html is not None else None
    selection = session.select(targets) if targets else session.everything()
    from modelbuild.project.broken import told
    from modelbuild.session import quality

    try:
        built, rest = quality.built(session, selection.outputs)
        models = quality.measure(session, built, jobs or cores(), _following(report))
    except (Error, Errors) as trouble:
        report.errors(trouble.errors)
        return FAILED
    for label in rest:
        report.note(f"'{label}': nothing to compare: its weights are stored unchanged")
    data = [model.data() for model in models]
    if report.as_json:
        report.data(data)
    elif data:
        report.result(_text(data, every=report.verbose, width=report.width))
    if file is not None:
        from modelbuild.cli.pages.quality import page

        write(file, page(data), "--html")
        report.note(f"wrote {html}")
    report.errors(told(selection.broken), told=True)
    return FAILED if selection.broken else GOOD


def _following(report: Report) -> Following:
    @contextlib.contextmanager
    def following(tensors: int) -> Iterator[Callable[[int, int], None]]:
        from modelbuild.cli.progress import Progress, Work
        from modelbuild.cli.terminal import follow

        name = f"compare {plural(tensors, 'tensor')}"
        # With --json stdout is for the one result.
        progress = Progress(report, Work(1)) if report.as_json else follow(report, Work(1))
        begun = report.seconds
        with progress:
            progress({"event": "start", "step": name})
            yield lambda done, total: progress({"event": "progress", "step": name, "done": done, "total": total})
            progress({"event": "step", "step": name, "state": "ran", "seconds": report.seconds - begun})

    return following


_HEAD = {"bits_per_weight": "BITS/WEIGHT", "rms_error": "RMS ERROR", "max_error": "MAX ERROR", "snr_db": "SNR DB"}
_MEASURES = [Column(title, right=True, drop=3 if measure == "max_error" else 0) for measure, title in _HEAD.items()]


def _text(models: Sequence[Mapping[str, Any]], every: bool, width: int | None) -> str:
    rows = [[each["name"], each["ftype"] or "-", size(each["model_bytes"]), *_figures(each)] for each in models]
    head = [Column("NAME", wrap=True), Column("TYPE", wrap=True), Column("MODEL SIZE", right=True, drop=1), *_MEASURES]
    if any(each["divergence"] for each in models):
        head.append(Column("KLD", right=True))
        rows = [
            [*row, f"{each['divergence']['kld']:g}" if each["divergence"] else "-"]
            for row, each in zip(rows, models, strict=True)
        ]
    parts = [table(head, rows, width)]
    parts += [_every(each, width) if every else _worst(each, width) for each in models]
    return "\n\n".join(part for part in parts if part)


def _worst(model: Mapping[str, Any], width: int | None) -> str:
    from modelbuild.tensors import quality

    lossy = [each for each in model["tensors"] if not each["exact"]]
    some = quality.worst(lossy)[:WORST]
    kept = len(model["tensors"]) - len(lossy)
    others = f" of {len(lossy)}" if len(some) < len(lossy) else ""
    return f"{model['name']}: worst{others}" + (f", {kept} unchanged" if kept else "") + "\n" + _tensors(some, width)


def _every(model: Mapping[str, Any], width: int | None) -> str:
    return f"{model['name']}\n{_tensors(model['tensors'], width)}"


def _tensors(tensors: Iterable[Mapping[str, Any]], width: int | None) -> str:
    rows = [[each["name"], each["source_type"], each["type"], *_figures(each)] for each in tensors]
    head = [Column("TENSOR", wrap=True), Column("FROM", drop=1), Column("TYPE"), *_MEASURES]
    return indented(table(head, rows, inner(width)))


def _figures(values: Mapping[str, Any]) -> list[str]:
    from modelbuild.tensors.quality import shown

    return [shown(values, measure) for measure in _HEAD]
