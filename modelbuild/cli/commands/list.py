"""List the variants of the project.

BUILT is 'yes', 'no', or 'changed' if a build would change the model. --json prints an array; manifest, model blob and
size are those of the model as it is built now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.cli.sentences import titled
from modelbuild.cli.tables import Column, table
from modelbuild.engine.graph import Output
from modelbuild.ollama.name import displayed
from modelbuild.words import size

if TYPE_CHECKING:
    import click

    from modelbuild.engine.standing import Standing
    from modelbuild.project.variant import Variant
    from modelbuild.session.session import Session


def parameters() -> list[click.Parameter]:
    from modelbuild.cli.kinds import targets

    return [targets()]


def run(call: Invocation, targets: Sequence[str] = ()) -> int:
    from modelbuild.session import naming

    session = call.session
    outputs = session.select(targets).outputs if targets else session.graph.outputs
    standing = session.standing(session.graph.select(outputs))
    variants = {variant.label: variant for variant in session.project.variants}
    rows = [_entry(session, output, variants[output.label], standing) for output in outputs]
    if call.report.as_json:
        call.report.data(rows)
    elif rows:
        head = [
            Column("NAME", wrap=True),
            Column("MODEL", drop=1),
            Column("TYPE", wrap=True),
            Column("SIZE", right=True, drop=3),
            Column("FROM", wrap=True, drop=2),
            Column("BUILT"),
        ]
        cells = [_cells(row, output.names) for row, output in zip(rows, outputs, strict=True)]
        call.report.result(table(head, cells, call.report.width))
        for untagged in naming.untagged(session, outputs):
            call.report.note(untagged.sentence())
    else:
        call.report.note("this project declares no models")
    return GOOD


def _entry(session: Session, output: Output, variant: Variant, standing: Standing) -> dict[str, Any]:
    from modelbuild.session import variants

    found = session.models.library.served(output.names[0])
    return {
        "name": displayed(output.names[0]),
        "model": variant.model,
        "manifest": found.digest if found else None,
        "model_blob": found.model_blob if found else None,
        "size_bytes": found.size if found else None,
        "ftype": variants.ftype(session, output, found),
        "from": ", ".join(line.text for line in variant.froms),
        "label": output.label,
        "names": [displayed(name) for name in output.names],
        "built": variants.state(session, output, standing),
    }


def _cells(row: dict[str, Any], names: Sequence[str]) -> list[str]:
    bytes_ = size(row["size_bytes"]) if row["size_bytes"] is not None else "-"
    return [titled(names), row["model"], row["ftype"] or "-", bytes_, row["from"], row["built"]]
