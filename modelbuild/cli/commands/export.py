"""Write models as files: GGUFs and a Modelfile that names them.

DEST is a folder, which is created if it is missing, or a FILE.gguf for one variant that consists of one GGUF. Models that
are not built are built first. Nothing is written into the models folder. Without --force, only files of an earlier export
of the same variants are replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild.cli.commands import build
from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.cli.places import here, near_path
from modelbuild.errors import Error
from modelbuild.project.outputs import SUFFIX
from modelbuild.publish.exported import Exported
from modelbuild.session.settings import started_in
from modelbuild.words import listed

if TYPE_CHECKING:
    import click

    from modelbuild.session.session import Session


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import Count, targets

    return [
        targets(),
        click.Argument(["dest"], type=click.Path(), metavar="DEST"),
        click.Option(["-j", "--jobs"], type=Count(), metavar="N", help="Run N steps at once; default: all cores."),
        click.Option(["--force"], is_flag=True, help="Replace existing files."),
    ]


def run(call: Invocation, dest: str, targets: Sequence[str] = (), jobs: int | None = None, force: bool = False) -> int:
    from modelbuild.session import exporting

    if dest in ("", "-"):
        raise Error("DEST expects a folder, or the name of a file", hint="a GGUF is not written to stdout")
    session = call.session
    _both(session, targets, dest)
    path = started_in(call.settings.folder, dest)
    replaces = exporting.ALL if force else exporting.OWN
    if dest.lower().endswith(SUFFIX):
        export = exporting.Export(exporting.one_file(session, targets, path, replaces), {})
    else:
        export = exporting.folder(session, targets, path, replaces)
    exported = export.selection.exported
    assert exported is not None
    exported.way_out = "move it away, name another place, or use --force"
    for file, text in export.modelfiles.items():
        exported.may_write(file, text.encode())
    for warning in session.warnings:
        call.report.warning(warning)
    code = build.built(call, export.selection, build.Request(jobs=jobs).options())
    if code == GOOD and export.modelfiles:
        return _write(call, exported, export.modelfiles)
    return code


def _both(session: Session, targets: Sequence[str], dest: str) -> None:
    """Refuse one word where two are needed: the only model of a project needs no name, and any other does."""
    if targets:
        return
    if session.words().resolve(dest) is not None:
        raise Error("DEST is missing", hint=f"name a folder or a FILE.gguf: `modelbuild export {dest} FOLDER`")
    selection = session.everything()
    labels = [output.label for output in selection.outputs] + [each.label for each in selection.broken]
    if len(labels) > 1:
        raise Error(
            "TARGET is missing",
            facts=[("variants", listed(labels))],
            hint=f"name what to write, such as `modelbuild export {labels[0]} {dest}`",
        )


def _write(call: Invocation, exported: Exported, texts: dict[str, str]) -> int:
    report = call.report
    try:
        for path, text in texts.items():
            changed = exported.write(path, text.encode())
            if report.as_json:
                report.object({"event": "file", "path": path, "bytes": len(text.encode()), "changed": changed})
            elif changed:
                report.note(f"written    {near_path(path, here())}")
    except Error as error:
        report.errors([error])
        return FAILED
    if not report.as_json:
        first = near_path(next(iter(texts)), here())
        report.note(f"in Ollama: ollama create NAME -f {first}")
    return GOOD
