"""Push models to registries.

A TARGET of the project is built first, if it is not up to date, and pushed to the names of its `push`; without `push`, to its own names,
if they have a host or a namespace. A name of the models folder is pushed as it is, to itself. Without a TARGET, the default targets are
pushed, or everything. Blobs that the registry has are not sent. The registry gets exactly the bytes of the manifest, or with a shape
those that `export` writes in that shape.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from modelbuild.cli.commands import build
from modelbuild.cli.fetched import fetch
from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.cli.one_target import keep_type
from modelbuild.errors import Error, Stopped
from modelbuild.words import duration, listed, plural, size

if TYPE_CHECKING:
    import click

    from modelbuild.registry.push import Pushed, Pusher
    from modelbuild.session.holdings import Holdings
    from modelbuild.session.pushing import Order, Orders
    from modelbuild.session.session import Session


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild import shapes
    from modelbuild.cli.kinds import Size, Target

    return [
        click.Argument(["targets"], nargs=-1, type=Target(), metavar="[TARGET|NAME]..."),
        click.Option(["--to"], metavar="NAME", help="Push one model to this name instead."),
        click.Option(
            ["--as", "shape"],
            type=click.Choice(shapes.pushed(), case_sensitive=False),
            metavar="SHAPE",
            help=f"With --to, push in this shape: {', '.join(shapes.pushed())}; else to the names of `push` that say it.",
        ),
        click.Option(["--split"], metavar="SIZE", help="With --as, split a larger GGUF into parts of at most SIZE."),
        click.Option(["-n", "--dry-run"], is_flag=True, help="Print what would be pushed where; push nothing."),
        click.Option(["--insecure"], is_flag=True, help="Use plain http instead of https."),
        click.Option(["--ca-file"], type=click.Path(), metavar="FILE", help="Trust the certificates in FILE too."),
        click.Option(["--limit-rate"], type=Size(), metavar="SIZE", help="Send at most SIZE a second, such as 2MB."),
    ]


def run(
    call: Invocation,
    targets: Sequence[str] = (),
    to: str | None = None,
    shape: str | None = None,
    split: str | None = None,
    dry_run: bool = False,
    **connection: Any,
) -> int:
    from modelbuild.session import pushing

    report = call.report
    asked = pushing.Asked(to, shape or "", _split(split, shape, to))
    if call.settings.offline and not dry_run:
        raise Error("--offline and push cannot be used together", hint="leave one of them out")
    if targets and not pushing.is_project(call.settings):
        found = pushing.without_project(call.settings, targets, asked)
    else:
        if not dry_run:
            _fetch(call, targets)
        found = pushing.of_project(call.session, targets, asked)
    if found.skipped:
        report.note(f"skipped    {listed(found.skipped)}: {pushing.why_skipped(asked.shape, found.skipped)}")
    if dry_run:
        return _told(call, found)
    if found.selection is not None and (code := _built(call, found)) != GOOD:
        return code
    return _pushed(call, found, **connection)


def _split(split: str | None, shape: str | None, to: str | None) -> str:
    """How files are to be split. Raises Error."""
    if split is None:
        return ""
    from modelbuild.tensors.formats.limit import limit

    if not shape or to is None:
        hint = 'in ModelBuild.toml: push = [{ to = "…", as = "docker-model", split = "10GB" }]'
        raise Error("--split has no effect without --as and --to", hint=hint)
    try:
        limit(split)
    except Error as error:
        raise Error(f"--split: {error.what}", hint=error.hint) from None
    return split


def _told(call: Invocation, found: Orders) -> int:
    if call.report.as_json:
        call.report.data([{"label": order.label, "name": order.to.display(), **_as(order)} for order in found.orders])
    else:
        lines = (
            f"would push  {order.label} to {order.to.whole()}" + (f" as {order.shape}" if order.shape else "")
            for order in found.orders
        )
        call.report.result("\n".join(lines))
    return GOOD


def _as(order: Order) -> dict[str, str]:
    return {"as": order.shape} if order.shape else {}


def _fetch(call: Invocation, words: Sequence[str]) -> None:
    """Bring here what the targets among some words are based on and a build needs."""
    known = call.session.words()
    targets = [word for word in words if known.resolve(word) is not None]
    if targets or not words:
        fetch(call, lambda: call.session.select(targets))
        keep_type(call, targets)


def _built(call: Invocation, found: Orders) -> int:
    """Build what is not up to date, as `modelbuild TARGET` does; says nothing where that is nothing."""
    from modelbuild.session import state

    session, selection = call.session, found.selection
    assert selection is not None
    standing = session.standing(session.graph.select(selection.outputs))
    if all(state.state(session, output, standing) == "yes" for output in selection.outputs):
        return GOOD
    return build.built(call, selection, build.Request().options())


def _pushed(
    call: Invocation, found: Orders, insecure: bool = False, ca_file: str | None = None, limit_rate: int | None = None
) -> int:
    from modelbuild import interrupt
    from modelbuild.cli.transfer import Meter
    from modelbuild.registry.authorization import UserAuthorization
    from modelbuild.registry.push import Pusher
    from modelbuild.registry.transport import Transport
    from modelbuild.session.pushing import content
    from modelbuild.session.settings import started_in

    report = call.report
    report.begin()
    file = started_in(call.settings.folder, ca_file) if ca_file else None
    transport = Transport(ca_file=file, insecure=insecure, limit_rate=limit_rate, authorization=UserAuthorization())
    session = call.session if found.selection is not None else None
    done: list[Pushed] = []
    with Meter(report) as meter, _remembered(call, session) as remembered:
        pusher = Pusher(transport, found.library, meter.hear, remembered)
        try:
            # Ctrl-C ends all connections; what has arrived of a blob is left to the registry.
            with interrupt.deferred(transport.stop):
                for order in found.orders:
                    meter.begin(order.to.display())
                    data, made = content(session, found.library, order)
                    pushed = pusher.push(data, order.to, made)
                    meter.end()
                    done.append(pushed)
                    _tell(call, order, pushed)
        except (Stopped, KeyboardInterrupt) as error:
            ended = error if isinstance(error, KeyboardInterrupt) else KeyboardInterrupt()
            ended.add_note("the registry keeps the blobs that arrived whole")
            raise ended from None
        except Error as error:
            meter.end()
            report.errors([_of(order, error)])
            if done:
                report.note(f"pushed before that: {listed(each.to.display() for each in found.orders[: len(done)])}")
            return FAILED
        finally:
            transport.close()
    _sum_up(call, done)
    _warn_of_ollama(call, pusher, found, done)
    return GOOD


@contextlib.contextmanager
def _remembered(call: Invocation, session: Session | None) -> Iterator[Holdings]:
    """What earlier pushes knew of registries, in the cache."""
    from modelbuild.cli.sentences import waiting
    from modelbuild.engine.kept import Kept
    from modelbuild.engine.store import Store
    from modelbuild.session.holdings import Holdings
    from modelbuild.session.settings import cache_folder

    if session is not None:
        yield Holdings(session.kept)
        return
    store = Store(cache_folder(call.settings), lambda path: call.report.note(waiting(path)))
    try:
        yield Holdings(Kept(store.database))
    finally:
        store.close()


def _of(order: Order, error: Error) -> Error:
    """The error of one push among several, which says which it was."""
    return error.replace(facts=[*error.facts, ("pushing", f"{order.label} to {order.to.whole()}")])


def _tell(call: Invocation, order: Order, pushed: Pushed) -> None:
    report, name = call.report, order.to.display()
    state = "pushed" if pushed.changed else "unchanged"
    if report.as_json:
        counts = {"uploaded": pushed.uploaded, "mounted": pushed.mounted}
        told = {"event": "push", "label": order.label, "name": name, "manifest": pushed.manifest, "state": state}
        report.object({**told, **counts, **_as(order)})
        return
    parts = [f"as {order.shape}"] if order.shape else []
    parts += [f"{size(pushed.uploaded)} sent"] if pushed.uploaded else []
    parts += [f"{plural(pushed.mounted, 'blob')} taken from another repository"] if pushed.mounted else []
    more = f"  {', '.join(parts)}" if parts else ""
    report.marked(f"{state:<9}", "green", f"  {name}{more}")


def _sum_up(call: Invocation, done: Sequence[Pushed]) -> None:
    report = call.report
    changed = sum(each.changed for each in done)
    sent = sum(each.uploaded for each in done)
    if report.as_json:
        counts = {"pushed": changed, "unchanged": len(done) - changed, "bytes_sent": sent}
        report.object({"event": "pushed", **counts, "seconds": round(report.seconds, 4)})
        return
    parts = [f"{changed} pushed"] if changed else []
    parts += [f"{len(done) - changed} unchanged"] if changed < len(done) else []
    more = f"; {size(sent)} sent" if sent else ""
    report.note(f"{', '.join(parts)} ({duration(report.seconds)}{more})")


def _warn_of_ollama(call: Invocation, pusher: Pusher, found: Orders, done: Sequence[Pushed]) -> None:
    """Say once of each registry that got something whether Ollama can pull it from there."""
    from modelbuild.ollama.name import HOST
    from modelbuild.session.pushing import manifest

    looked: dict[str, Order] = {}
    for order, pushed in zip(found.orders, done, strict=True):
        if pushed.changed and not order.shape and order.to.host.lower() != HOST:
            looked.setdefault(order.to.host, order)
    for host, order in looked.items():
        try:
            is_plain = pusher.serves_by_itself(manifest(found.library, order.source), order.to)
        except (Error, Stopped):
            continue
        if is_plain:
            call.report.note(
                f"'{host}' sends blobs itself, without a redirect: `ollama pull` cannot pull from such a registry; "
                f"`modelbuild pull {order.to.display()}` can"
            )
