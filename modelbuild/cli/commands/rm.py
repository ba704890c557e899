"""Remove installed models, and the blobs that no other model uses.

NAME is a name or a glob. Nothing is removed if one of them matches no model. Works without a project.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from modelbuild import interrupt
from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.cli.places import here, shown_path
from modelbuild.cli.sentences import waiting
from modelbuild.errors import Error
from modelbuild.words import listed, plural, size

if TYPE_CHECKING:
    import click

    from modelbuild.ollama.name import Name
    from modelbuild.publish.installed import InstalledModels
    from modelbuild.session.settings import Settings


def parameters() -> list[click.Parameter]:
    import click

    return [
        click.Argument(["names"], nargs=-1, required=True, metavar="NAME..."),
        click.Option(["-n", "--dry-run"], is_flag=True, help="Print what would be removed; remove nothing."),
    ]


def run(call: Invocation, names: Sequence[str], dry_run: bool = False) -> int:
    from modelbuild.session.models_root import installed_models

    report = call.report
    with installed_models(call.settings, lambda path: report.note(waiting(path))) as models:
        found = list(dict.fromkeys(name for text in names for name in _matching(models, text, call.settings)))
        owners = models.owners(found)
        # Ctrl-C is heard when nothing is half removed.
        with interrupt.deferred(lambda: None):
            removed = models.would_remove(found) if dry_run else models.remove(found)
    freed = sum(removed.blobs.values())
    shown = [name.display() for name in found]
    if report.as_json:
        report.data({"names": shown, "blobs": sorted(removed.blobs), "bytes": freed, "dry_run": dry_run})
        return GOOD
    report.result("\n".join(f"{'would remove' if dry_run else 'removed'}  {name}" for name in shown))
    if not dry_run:
        report.note(f"removed {plural(len(shown), 'name')} and {plural(len(removed.blobs), 'blob')}, {size(freed)}")
    for file in dict.fromkeys(() if dry_run else owners.values()):
        mine = [name.display() for name in found if owners.get(name) == file]
        report.note(f"a build of {shown_path(file, here())} makes {listed(mine, 3)} again")
    if removed.kept:
        what = "all blobs stay: a manifest in this folder cannot be read, and it may name any of them"
        report.warning(Error(what, path=models.library.root, hint="`modelbuild list --installed` says which one"))
    return GOOD


def _matching(models: InstalledModels, text: str, settings: Settings) -> list[Name]:
    if not any(mark in text for mark in "*?["):
        from modelbuild.session.models_root import find

        return [find(models, text, settings)]
    names = [name for name in models.library.names() if fnmatchcase(name.display(), text)]
    if not names:
        raise Error(f"'{text}' matches no installed model", facts=[("looked in", models.library.root)])
    return names
