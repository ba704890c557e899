"""List the variants that may differ from those of a git revision.

Plans the project as it is and as it was at the revision, and compares the two. Nothing is built, and the checkout stays as
it is. Prints sizes and tensor types before and after, and what changed. --markdown prints a table for a review comment,
--targets only what there is to build, for other commands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.cli.sentences import caused
from modelbuild.cli.tables import Column, table
from modelbuild.errors import Error
from modelbuild.words import in_line, plural, shown, size

if TYPE_CHECKING:
    import click

    from modelbuild.session.affected import Affected, Found, Side
    from modelbuild.session.revision import Revision

TYPES = 6
"""Types of a model that a table names."""


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import Revision, targets

    return [
        targets(),
        click.Option(
            ["--since"],
            type=Revision(),
            metavar="REF",
            required=True,
            help="The revision to compare with: a branch, tag or commit.",
        ),
        click.Option(["--markdown"], is_flag=True, help="Print a table in Markdown, for a review comment."),
        click.Option(["as_targets", "--targets"], is_flag=True, help="Print only the targets to build, one a line."),
    ]


def run(
    call: Invocation,
    targets: Sequence[str] = (),
    since: str = "",
    markdown: bool = False,
    as_targets: bool = False,
) -> int:
    from modelbuild.session import affected as compared
    from modelbuild.session import revision

    if markdown and as_targets:
        raise Error("--markdown and --targets cannot be used together", hint="leave one of them out")
    session, report = call.session, call.report
    selection = session.select(targets) if targets else session.everything()
    with revision.of(since, session.file, session.store) as before:
        earlier = compared.open_before(session, before)
        try:
            found = compared.affected(session, selection, earlier, before)
        finally:
            if earlier is not None:
                earlier.close()
    if report.as_json:
        variants = [each.data() for each in found.variants]
        report.data({"since": since, "commit": before.commit, "variants": variants, "unchanged": found.unchanged})
    elif as_targets:
        # A build of a broken one says what is wrong.
        labels = [each.label for each in found.variants if each.change != "removed"]
        if split := [label for label in labels if "\n" in label or "\r" in label]:
            raise Error(
                f"the name '{shown(split[0])}' contains a line break, so it is no line", hint="rename the model"
            )
        for label in labels:
            report.result(label)
    elif markdown:
        report.result(_markdown(found, _named(before)))
    else:
        if found.variants:
            report.result(_table(found.variants, report.width))
        report.note(_summary(found, _named(before)))
    return GOOD


def _named(revision: Revision) -> str:
    short = revision.commit[:12]
    if not short.strip("0"):
        return "nothing"
    return short if revision.commit.startswith(revision.name) else f"{revision.name} ({short})"


def _summary(found: Found, since: str) -> str:
    if not found.variants:
        return f"no variant differs from {since}: {plural(found.unchanged, 'variant')} unchanged"
    counts: dict[str, int] = {}
    for each in found.variants:
        counts[each.change] = counts.get(each.change, 0) + 1
    told = ", ".join(f"{count} {change}" for change, count in counts.items())
    return f"since {since}: {told}, {found.unchanged} unchanged"


def _table(variants: Sequence[Affected], width: int | None) -> str:
    head = [
        Column("VARIANT", wrap=True),
        Column("CHANGE"),
        Column("BEFORE", right=True, drop=3),
        Column("AFTER", right=True, drop=3),
        Column("TENSORS", wrap=True, drop=2),
        Column("WHY", wrap=True),
    ]
    rows = [
        [
            each.label,
            each.change,
            _size(each.before),
            _size(each.after),
            _types(each) or "-",
            "; ".join(_why(each)) or "-",
        ]
        for each in variants
    ]
    return table(head, rows, width)


def _size(side: Side | None) -> str:
    return size(side.bytes) if side is not None and side.bytes is not None else "-"


def _types(each: Affected) -> str:
    """The types of the tensors, before and after where they differ."""
    before, after = (_mix(side.types) if side else "" for side in (each.before, each.after))
    return f"{before} -> {after}" if before and after and before != after else before or after


def _mix(types: Mapping[str, int]) -> str:
    shown = [f"{count} {kind}" for kind, count in list(types.items())[:TYPES]]
    return ", ".join(shown) + (", …" if len(types) > TYPES else "")


def _why(each: Affected) -> list[str]:
    if each.error:
        return [each.error]
    told = [_OF_CHANGES[each.change]] if each.change in _OF_CHANGES else [caused(cause) for cause in each.causes]
    is_unknown = each.change == "added" and (each.after is None or each.after.bytes is None)
    return [*told, "its size is not known yet"] if is_unknown else told


_OF_CHANGES = {"added": "it is new", "removed": "it is no longer declared"}


def _markdown(found: Found, since: str) -> str:
    lines = [f"**{_text(_summary(found, since))}**"]
    if found.variants:
        lines += ["", "| variant | change | size | tensors | why |", "| --- | --- | ---: | --- | --- |"]
    for each in found.variants:
        sizes = list(dict.fromkeys(_size(side) for side in (each.before, each.after) if side is not None))
        cells: list[Any] = [_code(each.label), each.change, " → ".join(sizes) or "-", _text(_types(each)) or "-"]
        cells.append("<br>".join(map(_code, _why(each))) or "-")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _code(text: str) -> str:
    """A text between backquotes: nobody is mentioned in it, and nothing in it is a link. In a table it must not end a cell."""
    return "`" + in_line(text).replace("`", "'").replace("|", "\\|") + "`"


def _text(text: str) -> str:
    """A text as it stands: Markdown and HTML in it mean nothing."""
    return (
        "".join(f"\\{char}" if char in "\\`*_[]<>|#@~&!" else char for char in in_line(text))
        .replace("->", "→")
        .replace("-\\>", "→")
    )
