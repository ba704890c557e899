"""Give an installed model another name.

The new name stands for the same manifest and blobs: nothing is copied but the manifest. Works without a project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.cli.sentences import waiting

if TYPE_CHECKING:
    import click


def parameters() -> list[click.Parameter]:
    import click

    return [
        click.Argument(["source"]),
        click.Argument(["target"], metavar="NAME"),
        click.Option(["--force"], is_flag=True, help="Replace a model that has the name already."),
    ]


def run(call: Invocation, source: str, target: str, force: bool = False) -> int:
    from modelbuild.ollama.name import Name
    from modelbuild.publish.installed import alike
    from modelbuild.session.models_root import find, installed_models

    report = call.report
    new = Name.parse(target)
    if (fault := new.reserved()) is not None:
        raise fault
    with installed_models(call.settings, lambda path: report.note(waiting(path))) as models:
        old = find(models, source, call.settings)
        changed = models.copy(old, new, replace=force)
        warning = alike(models.library, new)
    if warning is not None:
        report.warning(warning)
    if report.as_json:
        report.data({"source": old.display(), "name": new.display(), "changed": changed})
    elif changed:
        report.note(f"copied     {old.display()} to {new.display()}")
    else:
        report.note(f"unchanged  {new.display()} is the same model already")
    return GOOD
