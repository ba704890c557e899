"""Download models from registries into the models folder.

NAME is a model as Ollama names it: llama3.2, hf.co/ORG/REPO:Q4_K_M, HOST:PORT/NAMESPACE/MODEL:TAG. An interrupted download goes on
where it stopped. Every byte is checked before Ollama sees the model. The models folder is that of the project, if there is one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from modelbuild.cli.fetched import located
from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.errors import Error
from modelbuild.ollama.name import Name
from modelbuild.words import duration, plural, size

if TYPE_CHECKING:
    import click

    from modelbuild.cli.report import Report
    from modelbuild.cli.transfer import Meter
    from modelbuild.engine.store import Store
    from modelbuild.publish.pulled import Pulled

LARGE = 256 << 20
"""Bytes of files whose check takes long enough to be told."""


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import Size

    return [
        click.Argument(["names"], nargs=-1, required=True, metavar="NAME..."),
        click.Option(["--insecure"], is_flag=True, help="Use plain http instead of https."),
        click.Option(["--ca-file"], type=click.Path(), metavar="FILE", help="Trust the certificates in FILE too."),
        click.Option(
            ["--limit-rate"], type=Size(), metavar="SIZE", help="Receive at most SIZE a second, such as 10MB."
        ),
    ]


def run(
    call: Invocation,
    names: Sequence[str],
    insecure: bool = False,
    ca_file: str | None = None,
    limit_rate: int | None = None,
) -> int:
    from modelbuild.cli.transfer import Meter
    from modelbuild.ollama.library import Library
    from modelbuild.publish.installed import alike
    from modelbuild.publish.pulled import pull
    from modelbuild.registry.authorization import UserAuthorization
    from modelbuild.registry.transport import Transport
    from modelbuild.session.models_root import models_root
    from modelbuild.session.settings import started_in

    if call.settings.offline:
        raise Error("--offline and pull cannot be used together", hint="leave one of them out")
    parsed = list(dict.fromkeys(Name.parse(name) for name in names))
    for warning in filter(None, (name.reserved() for name in parsed)):
        call.report.warning(warning)
    file = started_in(call.settings.folder, ca_file) if ca_file else None
    transport = Transport(ca_file=file, insecure=insecure, limit_rate=limit_rate, authorization=UserAuthorization())
    root = models_root(call.settings)
    done: list[Pulled] = []
    with contextlib.closing(transport), _store(call) as store, Meter(call.report) as meter:
        for name in parsed:
            begun = time.perf_counter()
            try:
                pulled = pull(name, root, store, transport, hear=partial(_hear, call.report, meter, name.display()))
            except KeyboardInterrupt as error:
                error.add_note("the next pull goes on with what was downloaded")
                raise
            except Error as error:
                meter.end()
                # Not every error names the model: a registry's name is enough where there is one model.
                facts = [("pulling", name.display())] if len(parsed) > 1 else []
                call.report.errors([error.replace(facts=[*error.facts, *facts])])
            else:
                meter.end()
                done.append(pulled)
                _tell(call.report, pulled, time.perf_counter() - begun)
                if pulled.changed and (near := alike(Library(root), name)) is not None:
                    call.report.warning(near)
    if call.report.as_json:
        changed = sum(each.changed for each in done)
        counts = {"pulled": changed, "unchanged": len(done) - changed, "failed": len(parsed) - len(done)}
        received = sum(each.received for each in done)
        call.report.object(
            {"event": "pulled", **counts, "bytes_received": received, "seconds": round(call.report.seconds, 4)}
        )
    return GOOD if len(done) == len(parsed) else FAILED


@contextlib.contextmanager
def _store(call: Invocation) -> Iterator[Store]:
    from modelbuild.cli.sentences import waiting
    from modelbuild.engine.store import Store
    from modelbuild.session.settings import cache_folder

    store = Store(cache_folder(call.settings), lambda path: call.report.note(waiting(path)))
    try:
        yield store
    finally:
        store.close()


def _hear(report: Report, meter: Meter, name: str, event: dict[str, Any]) -> None:
    """Show an event of a pull, from any thread."""
    if event["event"] == "progress":
        meter.hear(event)
    elif event["event"] == "checking" and event["bytes"] > LARGE and not report.as_json:
        report.note(
            f"checking   {plural(event['files'], 'file')} of {name} that are there already, {size(event['bytes'])}"
        )
    elif event["event"] == "download":
        meter.begin(name, event["done"])
        if not report.as_json:
            more = f", {size(event['done'])} of it by an earlier pull" if event["done"] else ""
            report.note(f"pulling    {located(name)}  {size(event['total'])}{more}")


def _tell(report: Report, pulled: Pulled, seconds: float) -> None:
    name, state = pulled.name.display(), "pulled" if pulled.changed else "unchanged"
    if report.as_json:
        counts = {"bytes": pulled.size, "received": pulled.received}
        report.object({"event": "pull", "name": name, "manifest": pulled.digest, "state": state, **counts})
    else:
        more = f" ({how(pulled, seconds)})" if pulled.changed else ""
        report.marked(f"{state:<9}", "green", f"  {name}  {size(pulled.size)}{more}")
    if pulled.taken is not None:
        what = f"'{name}' was built by a project before: its next build replaces the pulled model"
        report.warning(
            Error(what, facts=[("project", pulled.taken)], hint="give the model of the project another `name`")
        )


def how(pulled: Pulled, seconds: float) -> str:
    """How long a pull took, and how fast it was; and what this machine had already, in the models folder or the cache."""
    there = pulled.size - pulled.received
    parts = []
    if there > 0:
        had = f"{size(there)} of it were" if pulled.received else "all of it was"
        parts.append(f"{had} on this machine already")
    parts.append(duration(seconds))
    if pulled.received and seconds > 0:
        parts.append(f"{size(pulled.received / seconds)}/s")
    return ", ".join(parts)
