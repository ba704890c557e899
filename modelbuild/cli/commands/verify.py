"""Find damaged and missing blobs, and the models that they break.

All blobs of the cache and of the models folder are read. A damaged blob that modelbuild wrote is set aside, so that the next build of
these models makes it again; files of others are never touched. The exit code is 1 if anything is wrong. --rebuild also
makes some results of the project once more and compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelbuild import machine
from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.cli.sentences import waiting
from modelbuild.errors import Error
from modelbuild.ollama.name import displayed
from modelbuild.words import listed, plural, size

if TYPE_CHECKING:
    import click

    from modelbuild.session.remaking import Remade
    from modelbuild.session.verifying import Verified, Wrong


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild.cli.kinds import Count

    return [
        click.Option(
            ["--rebuild"], type=Count(), metavar="N", help="Also make N results of the project again, and compare them."
        ),
        click.Option(["-n", "--dry-run"], is_flag=True, help="Only say what is wrong; set nothing aside."),
    ]


def run(call: Invocation, rebuild: int | None = None, dry_run: bool = False) -> int:
    from modelbuild.cli.transfer import Meter
    from modelbuild.engine.store import Store
    from modelbuild.ollama.library import Library
    from modelbuild.session.models_root import models_root
    from modelbuild.session.settings import cache_folder
    from modelbuild.session.verifying import verify

    report = call.report
    library = Library(models_root(call.settings))
    store = Store(cache_folder(call.settings), lambda path: report.note(waiting(path)))
    try:
        with Meter(report) as meter:
            meter.begin("reading")
            found = verify(
                store,
                library,
                machine.cores(),
                lambda done, total: meter.hear({"event": "progress", "done": done, "total": total}),
                mend=not dry_run,
            )
    finally:
        store.close()
    remade = _remade(call, rebuild) if rebuild else []
    errors = [*map(_error, found.wrong), *found.faults, *(_differs(each) for each in remade if each.before != each.now)]
    if report.as_json:
        report.data(_data(found, remade))
    report.errors(errors, told=True)
    report.note(_summary(found, remade))
    return FAILED if errors else GOOD


def _remade(call: Invocation, count: int) -> Sequence[Remade]:
    from modelbuild.cli.transfer import Meter
    from modelbuild.session.remaking import remake

    with Meter(call.report) as meter:
        meter.begin("building again")
        return remake(call.session, count, machine.cores(), meter.hear)


def _summary(found: Verified, remade: Sequence[Remade]) -> str:
    whys = [each.why if each.why in ("damaged", "missing") else "not as it should be" for each in found.wrong]
    counts = [f"{plural(whys.count(why), 'blob')} {why}" for why in dict.fromkeys(whys)]
    again = [f"{plural(len(remade), 'step')} built again"] if remade else []
    others = [plural(len(found.faults), "other fault")] if found.faults else []
    result = ", ".join([*(counts or ["no blob damaged or missing"]), *others, *again])
    return f"read {plural(found.files, 'file')}, {size(found.bytes)}: {result}"


def _error(wrong: Wrong) -> Error:
    names = [displayed(name) for name in wrong.models]
    facts = [("used by", listed(f"'{name}'" for name in names))] if names else []
    facts += [("also", path) for path in wrong.paths[1:]]
    what = {
        "damaged": "this blob is damaged: its bytes are not those of its name",
        "missing": "this blob is missing",
        "a folder": "a folder is in the place of this blob",
        "not a plain file": "something that is not a plain file is in the place of this blob",
        "another size": "the manifest says another size than this blob has",
    }.get(wrong.why, f"this blob cannot be read: {wrong.why}")
    return Error(what, path=wrong.paths[0], facts=facts, hint=_hint(wrong, names))


def _hint(wrong: Wrong, names: Sequence[str]) -> str:
    if wrong.action == "set aside":
        again = "build these models again, or pull them if they were pulled" if names else "a build makes it again"
        return f"it was set aside in the cache: {again}"
    if wrong.action == "not ours":
        return "others use it too, so it stays: build or pull these models again"
    if wrong.why == "damaged":
        return "`modelbuild verify` sets it aside, so that the next build makes it again"
    if wrong.why in ("a folder", "not a plain file"):
        return "move it away, then build or pull these models again"
    return "build or pull these models again" if names else "a build makes it again"


def _differs(remade: Remade) -> Error:
    return Error(
        f"step '{remade.step}' made other bytes of the same inputs",
        facts=[
            ("before", remade.before.artifact),
            ("now", remade.now.artifact),
            ("used by", listed(f"'{label}'" for label in remade.targets)),
        ],
        hint="`modelbuild --force` builds it again; report this if it stays: steps must be deterministic",
    )


def _data(found: Verified, remade: Sequence[Remade]) -> dict[str, Any]:
    return {
        "files": found.files,
        "bytes": found.bytes,
        "wrong": [
            {
                "digest": each.digest,
                "paths": list(each.paths),
                "models": [displayed(name) for name in each.models],
                "why": each.why,
                "action": each.action or None,
            }
            for each in found.wrong
        ],
        "faults": [str(fault) for fault in found.faults],
        "rebuilt": [
            {
                "step": each.step,
                "before": each.before.artifact,
                "now": each.now.artifact,
                "same": each.before == each.now,
                "targets": list(each.targets),
            }
            for each in remade
        ],
    }
