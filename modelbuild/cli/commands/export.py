"""Write models as files, in the shape that a runner wants.

The default shape is GGUF files and a Modelfile that names them. DEST is a folder, which is created if it is missing, or
a FILE.gguf for one variant that consists of one GGUF. Without a TARGET, the default targets are exported, or everything.
Models that are not built are built first. Nothing is written into the models folder. Without --force, only files of an
earlier export of the same variants are replaced.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelbuild import shapes
from modelbuild.cli.commands import build
from modelbuild.cli.fetched import fetch
from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.cli.places import here, shown_path
from modelbuild.errors import Error
from modelbuild.project import discovery
from modelbuild.project.outputs import SUFFIX
from modelbuild.session.settings import started_in
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed, nearest

if TYPE_CHECKING:
    import click

    from modelbuild.session.exports import Wanted
    from modelbuild.session.session import Selection


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import Count, targets

    return [
        targets(),
        click.Argument(["dest"], type=click.Path(), metavar="DEST"),
        click.Option(
            ["--as", "shape"],
            type=click.Choice(shapes.names(), case_sensitive=False),
            metavar="SHAPE",
            help=f"For which runner: {', '.join(shapes.names())}; default: {shapes.DEFAULT}.",
        ),
        click.Option(
            ["--split"],
            metavar="SIZE",
            help="Split larger GGUF files into parts of at most SIZE (500M, 50GB), or of N tensors.",
        ),
        click.Option(["--link"], is_flag=True, help="Make hard links to the cache, for files that nobody edits."),
        click.Option(["-j", "--jobs"], type=Count(), metavar="N", help="Run N steps at once; default: all cores."),
        click.Option(["--force"], is_flag=True, help="Replace existing files."),
    ]


class Request(NamedTuple):
    """What is asked of an export, by the names of its parameters."""

    dest: str
    targets: Sequence[str] = ()
    shape: str | None = None
    split: str | None = None
    link: bool = False
    jobs: int | None = None
    force: bool = False


def run(call: Invocation, **given: Any) -> int:
    from modelbuild.session import exports

    asked = Request(**given)
    if asked.shape and (wants := shapes.wants(asked.shape)) != "blobs":
        call.settings = call.settings._replace(wanted=wants)
    if asked.dest in ("", "-"):
        raise Error("DEST expects a folder, or the name of a file", hint="a GGUF is not written to stdout")
    if not asked.targets and call.settings.file is None:
        _refuse_target(call, asked.dest)
    path = started_in(call.settings.folder, asked.dest)
    fetch(call, lambda: call.session.select(asked.targets))
    selection = _selection(call, asked, _wanted(path, asked))
    assert selection.exported is not None
    selection.exported.way_out = "move it away, name another place, or use --force"
    for warning in call.session.warnings:
        call.report.warning(warning)
    known = call.session.words().known
    code = build.built(call, selection, build.Request(jobs=asked.jobs).options())
    if code == GOOD and selection.wanted:
        (export,) = exports.asked(call.session, selection)
        for line in export.left_out():
            call.report.note(line)
        said = export.said(shlex.quote(shown_path(path, here())))
        if said and not call.report.as_json:
            call.report.note(said)
        _tell_of_new_models(call, known, path)
    return code


def _wanted(path: str, asked: Request) -> Wanted:
    from modelbuild.session.exports import Wanted
    from modelbuild.tensors.formats.limit import limit

    name = asked.shape or shapes.DEFAULT
    if asked.split is not None:
        try:
            limit(asked.split)
        except Error as error:
            raise Error(f"--split: {error.what}", hint=error.hint) from None
        if not shapes.splits(name):
            raise Error(f"--split has no effect: the shape '{name}' has no split files", hint="leave it out")
    return Wanted(name, path, asked.split or "", "hard" if asked.link else "")


def _selection(call: Invocation, asked: Request, wanted: Wanted) -> Selection:
    from modelbuild.session import exporting

    replaces = exporting.ALL if asked.force else exporting.OWN
    if not wanted.root.lower().endswith(SUFFIX):
        return exporting.folder(call.session, asked.targets, wanted, replaces)
    if wanted.shape != shapes.DEFAULT or wanted.split or wanted.link:
        raise Error("--as, --split and --link expect a folder", path=asked.dest, hint="name a folder")
    return exporting.one_file(call.session, asked.targets, wanted.root, replaces)


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
