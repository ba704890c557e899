"""List the variants of the project: name, type, size, base, and whether they are built.

BUILT is 'yes', 'no', or 'changed' if a build would change the model. --json prints an array; manifest, model blob and
size are those of the model as it is built now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.engine.graph import Output
from modelbuild.ollama.name import displayed
from modelbuild.words import size, table

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
        head = ["NAME", "MODEL", "TYPE", "SIZE", "FROM", "BUILT"]
        call.report.result(table(head, [_cells(row) for row in rows], right=[3]))
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


def _cells(row: dict[str, Any]) -> list[str]:
    more = [name.rpartition(":")[2] for name in row["names"][1:]]
    name = row["name"] + (f" ({', '.join(more)})" if more else "")
    bytes_ = size(row["size_bytes"]) if row["size_bytes"] is not None else "-"
    return [name, row["model"], row["ftype"] or "-", bytes_, row["from"], row["built"]]
