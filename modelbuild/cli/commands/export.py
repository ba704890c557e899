"""Write models as files: GGUFs and a Modelfile that names them.

DEST is a folder, which is created if it is missing, or a FILE.gguf for one variant that consists of one GGUF. Without a
TARGET, the default targets are exported, or everything. Models that are not built are built first. Nothing is written
into the models folder. Without --force, only files of an earlier export of the same variants are replaced.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild.cli.commands import build
from modelbuild.cli.fetched import fetch
from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.cli.places import here, shown_path
from modelbuild.errors import Error
from modelbuild.project import discovery
from modelbuild.project.outputs import SUFFIX
from modelbuild.publish.exported import Exported
from modelbuild.session.settings import started_in
from modelbuild.words import listed, nearest

if TYPE_CHECKING:
    import click


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
    if not targets and call.settings.file is None:
        _refuse_target(call, dest)
    session = call.session
    path = started_in(call.settings.folder, dest)
    fetch(call, lambda: session.select(targets))
    replaces = exporting.ALL if force else exporting.OWN
    if dest.lower().endswith(SUFFIX):
        export = exporting.Export(exporting.one_file(session, targets, path, replaces), {})
    else:
        export = exporting.folder(session, targets, path, replaces)
    exported = export.selection.exported
    assert exported is not None
    exported.way_out = "move it away, name another place, or use --force"
    try:
        exporting.check_texts(session, export, path)
    except Error as error:
        call.report.errors([error])
        return FAILED
    for warning in session.warnings:
        call.report.warning(warning)
    code = build.built(call, export.selection, build.Request(jobs=jobs).options())
    if code == GOOD and export.modelfiles:
        known = session.words().known
        code = _write(call, exported, export.modelfiles)
        _tell_of_new_models(call, known, path)
    return code


def _tell_of_new_models(call: Invocation, known: Sequence[str], dest: str) -> None:
    """Warn where the project's globs find the Modelfiles of an export: the next build would build them as models of its own."""
    from modelbuild.errors import Errors

    if not os.path.realpath(dest).startswith(os.path.join(os.path.dirname(call.session.file), "")):
        return
    call.close()
    try:
        new = [name for name in call.session.words().known if name not in known]
    except (Error, Errors):
        return  # which every other command says
    if new:
        call.report.warning(
            Error(
                f"the Modelfiles in it are found by `modelfiles` of this project, as models of their own: {listed(new)}",
                path=dest,
                hint="remove them and export to another folder, or let `modelfiles` in [project] name fewer folders",
            )
        )


def _refuse_target(call: Invocation, dest: str) -> None:
    """Alone, the last word is the place; what names a model or weights was meant as a target. A path or -f is one already."""
    is_weights = discovery.is_checkpoint(started_in(call.settings.folder, dest))
    if is_weights or not dest.endswith(os.sep) and call.session.words().resolve(dest) is not None:
        raise Error(
            f"DEST is missing: '{dest}' is what to export", hint=f"name a folder: `modelbuild export {dest} FOLDER`"
        )
    near = None if os.sep in dest or os.path.exists(dest) else nearest(dest, call.session.words().known, cutoff=0.75)
    if near is not None:
        raise Error(
            f"'{dest}' is not a target, and DEST is missing",
            hint=f"did you mean `modelbuild export {near} FOLDER`? A folder of that name is ./{dest}",
        )


def _write(call: Invocation, exported: Exported, texts: dict[str, str]) -> int:
    report = call.report
    try:
        for path, text in texts.items():
            changed = exported.write(path, text.encode())
            if report.as_json:
                report.object({"event": "file", "path": path, "bytes": len(text.encode()), "changed": changed})
            elif changed:
                report.note(f"written    {shown_path(path, here())}")
    except Error as error:
        report.errors([error])
        return FAILED
    if not report.as_json:
        first = shown_path(next(iter(texts)), here())
        report.note(f"in Ollama: ollama create NAME -f {first}")
    return GOOD
