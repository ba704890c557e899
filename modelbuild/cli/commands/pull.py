"""Download models from registries into the models folder.

NAME is a model as Ollama names it: llama3.2, hf.co/ORG/REPO:Q4_K_M, HOST:PORT/NAMESPACE/MODEL:TAG. An interrupted download goes on
where it stopped. Every byte is checked before Ollama sees the model. The models folder is that of the project, if there is one.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.errors import Error
from modelbuild.ollama.name import Name
from modelbuild.words import duration, size

if TYPE_CHECKING:
    import click

    from modelbuild.engine.store import Store
    from modelbuild.publish.pulled import Pulled


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import Size

    return [
        click.Argument(["names"], nargs=-1, required=True, metavar="NAME..."),
        click.Option(["--insecure"], is_flag=True, help="Use plain http, and allow redirects to it."),
        click.Option(
            ["--ca-file"], type=click.Path(), metavar="FILE", help="Also trust the certificates in this PEM file."
        ),
        click.Option(["--limit-rate"], type=Size(), metavar="SIZE", help="Bytes a second at most, such as 10MB."),
    ]


def run(
    call: Invocation,
    names: Sequence[str],
    insecure: bool = False,
    ca_file: str | None = None,
    limit_rate: int | None = None,
) -> int:
    from modelbuild.cli import transfer
    from modelbuild.publish.pulled import pull
    from modelbuild.registry.transport import Transport
    from modelbuild.session.settings import started_in

    parsed = list(dict.fromkeys(Name.parse(name) for name in names))
    for name in parsed:
        if (warning := name.reserved()) is not None:
            call.report.warning(warning)
    certificates = started_in(call.settings.folder, ca_file) if ca_file else None
    transport = Transport(ca_file=certificates, insecure=insecure, limit_rate=limit_rate)
    code = GOOD
    with contextlib.closing(transport), _place(call) as (store, folder):
        for name in parsed:
            begun = time.perf_counter()
            try:
                with transfer.follow(call.report, "pulling", name.display()) as following:
                    pulled = pull(name, folder, store, transport, hear=following)
            except Error as error:
                call.report.errors([error])
                code = FAILED
            else:
                _tell(call, pulled, time.perf_counter() - begun)
    return code


@contextlib.contextmanager
def _place(call: Invocation) -> Iterator[tuple[Store, str]]:
    """The cache and the models folder: of the project, if there is one."""
    from modelbuild.cli.sentences import waiting
    from modelbuild.engine.store import Store
    from modelbuild.ollama.library import default_folder
    from modelbuild.project.discovery import find
    from modelbuild.session.settings import cache_folder, folder_of, started_in

    settings = call.settings
    if settings.models is None and (settings.file is not None or find(folder_of(settings)) is not None):
        yield call.session.store, call.session.models.root
        return
    named = settings.models or default_folder(os.environ.get("OLLAMA_MODELS"), os.path.expanduser("~"))
    store = Store(cache_folder(settings), lambda path: call.report.note(waiting(path)))
    try:
        yield store, started_in(settings.folder, named)
    finally:
        store.close()


def _tell(call: Invocation, pulled: Pulled, seconds: float) -> None:
    report, name = call.report, pulled.name.display()
    if report.as_json:
        report.object(
            {
                "event": "pulled",
                "name": name,
                "manifest": pulled.digest,
                "bytes": pulled.size,
                "received": pulled.received,
                "changed": pulled.changed,
                "seconds": round(seconds, 4),
            }
        )
    elif pulled.changed:
        report.note(f"pulled     {name}  {size(pulled.size)} ({how(pulled, seconds)})")
    else:
        report.note(f"unchanged  {name}  {size(pulled.size)}")
    if pulled.taken is not None:
        what = f"'{name}' was built by a project before: its next build replaces the pulled model"
        report.warning(
            Error(what, facts=[("project", pulled.taken)], hint="give the model of the project another `name`")
        )


def how(pulled: Pulled, seconds: float) -> str:
    """How long a pull took, and how fast it was; and what was there already."""
    there = pulled.size - pulled.received
    parts = []
    if there > 0:
        parts.append("all of it was there already" if not pulled.received else f"{size(there)} were there already")
    parts.append(duration(seconds))
    if pulled.received and seconds > 0:
        parts.append(f"{size(pulled.received / seconds)}/s")
    return ", ".join(parts)
