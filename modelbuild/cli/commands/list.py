"""List the variants of the project.

BUILT is 'yes', 'no', 'changed' if a build would change the model, 'not pulled' if a build pulls its base first, or
'broken' if it cannot be built as it is declared.
Where models have gates, GATE is 'passed', 'fell short' or 'not measured'.
--json prints an array; manifest, model blob and size are those of the model as it is built now. --installed lists
the models folder instead, whoever wrote it, and says what is wrong in it; targets are then names or globs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelbuild.cli.fetched import wrong
from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.cli.sentences import titled
from modelbuild.cli.tables import Column, table
from modelbuild.engine.graph import Output
from modelbuild.ollama.name import Name, displayed
from modelbuild.project.broken import Broken, told
from modelbuild.words import size

if TYPE_CHECKING:
    import click

    from modelbuild.engine.standing import Standing
    from modelbuild.project.variant import Variant
    from modelbuild.session.session import Session


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import targets

    return [
        targets(),
        click.Option(
            ["--installed"], is_flag=True, help="List every model of the models folder, and what is wrong in it."
        ),
    ]


def run(call: Invocation, targets: Sequence[str] = (), installed: bool = False) -> int:
    if installed:
        from modelbuild.cli.installed import listing

        return listing(call, targets)
    session = call.session
    selection = session.select(targets) if targets else session.everything()
    standing = session.standing(session.graph.select(selection.outputs))
    variants = {variant.label: variant for variant in session.project.variants}
    found = {output.label: _entry(session, output, variants[output.label], standing) for output in selection.outputs}
    found |= {each.label: _broken(session, each, variants.get(each.label)) for each in selection.broken if each.model}
    rows = [found[each.label] for each in session.project.targets.called if each.label in found]
    if call.report.as_json:
        call.report.data(rows)
    elif rows:
        gated = any(row["gate"] for row in rows)
        head = [
            Column("NAME", wrap=True),
            Column("MODEL", drop=1),
            Column("TYPE", wrap=True),
            Column("SIZE", right=True, drop=3),
            Column("FROM", wrap=True, drop=2),
            *([Column("GATE", drop=4)] if gated else []),
            Column("BUILT"),
        ]
        call.report.result(table(head, [_cells(row, gated) for row in rows], call.report.width))
    elif not selection.broken:
        call.report.note(selection.empty().what)
    call.report.errors(told(wrong(selection.broken)), told=True)
    return GOOD


def _entry(session: Session, output: Output, variant: Variant, standing: Standing) -> dict[str, Any]:
    from modelbuild.session import gates, state, variants

    found = session.models.library.served(output.names[0])
    gate = gates.verdict(session, output, standing)
    return {
        "name": displayed(output.names[0]),
        "model": variant.model,
        "manifest": found.digest if found else None,
        "model_blob": found.model_blob if found else None,
        "size_bytes": found.size if found else None,
        "ftype": variants.ftype(session, output, found),
        "from": ", ".join(map(session.project.address, variant.froms)),
        "label": output.label,
        "names": [displayed(name) for name in output.names],
        "gate": gate.data() if gate else None,
        "built": state.state(session, output, standing),
    }


def _broken(session: Session, broken: Broken, variant: Variant | None) -> dict[str, Any]:
    """The entry of a variant that cannot be built as it is declared, with what was built of it before."""
    names = broken.names or ()
    found = session.models.library.served(names[0].path()) if names else None
    return {
        "name": names[0].display() if names else broken.label,
        "model": broken.model,
        "manifest": found.digest if found else None,
        "model_blob": found.model_blob if found else None,
        "size_bytes": found.size if found else None,
        "ftype": None,
        "from": ", ".join(map(session.project.address, variant.froms)) if variant else None,
        "label": broken.label,
        "names": [name.display() for name in names],
        "gate": None,
        "built": "broken" if broken.wanted is None else "not pulled",
        "error": "\n\n".join(map(str, broken.errors)),
    }


def _cells(row: dict[str, Any], gated: bool) -> list[str]:
    names = [Name.parse(name).path() for name in row["names"]]
    # TYPE is that of the model to come, whose size only a build or `check` can tell.
    is_known = row["size_bytes"] is not None and row["built"] != "changed"
    bytes_ = size(row["size_bytes"]) if is_known else "-"
    name = titled(names) if names else row["name"]
    gate = [row["gate"]["verdict"] if row["gate"] else "-"] if gated else []
    return [name, row["model"], row["ftype"] or "-", bytes_, row["from"] or "-", *gate, row["built"]]
