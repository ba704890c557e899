"""Sentences about a build: why steps run, what it waits for, and its result."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from modelbuild.cli.places import here, shown_path
from modelbuild.cli.tables import Column, indented, inner, table
from modelbuild.errors import Error
from modelbuild.ollama.name import displayed
from modelbuild.tuples import NamedTuple
from modelbuild.words import cut, duration, in_line, listed, plural, size

if TYPE_CHECKING:
    from modelbuild.engine.action import ActionResult
    from modelbuild.engine.build import Event
    from modelbuild.session.forecast import Forecast
    from modelbuild.session.why import Cause

STATES = {"ran": "run", "hit": "cached", "failed": "failed", "skipped": "skipped"}
"""The states of steps, in words."""


def unjudged(path: str, architecture: str) -> str:
    """Say that a GGUF file was not checked."""
    return f"not checked: {path}: the architecture '{architecture}' is unknown"


def ran_open(tool: str) -> str:
    """Say that a program ran that could have used the network."""
    return f"{tool} ran with the network within reach: this system lets no user take it away"


def waiting(path: str) -> str:
    """Say that another process holds what we need."""
    return f"waiting for another modelbuild that has locked {path}"


def of_cluster(event: Event) -> str:
    """Which machines work for a build."""
    if not event["workers"]:
        return f"the cluster at {event['scheduler']} has no workers yet: the build waits for them"
    workers, actions = plural(event["workers"], "worker"), plural(event["threads"], "action")
    return f"the cluster at {event['scheduler']} has {workers}, for {actions} at once"


def of_remote(event: Event) -> str:
    """That a remote cache is given up for this build, or has what is not believed."""
    if event["event"] == "unsigned":
        return f"the remote cache '{event['remote']}' has results that no key of [cache] trust signed: they are passed over"
    doing = "asked" if event["direction"] == "read" else "sent to"
    return f"the remote cache is no longer {doing} in this build: {event['error'].removeprefix('error: ')}"


def exchanged(event: Event) -> str:
    """What was exchanged with a remote cache."""
    parts = []
    if event["fetched"]:
        parts.append(f"{plural(event['fetched'], 'result')} fetched ({size(event['bytes_fetched'])})")
    if event["sent"]:
        parts.append(f"{event['sent']} sent ({size(event['bytes_sent'])})")
    if event["left"]:
        parts.append(f"{event['left']} not sent: `modelbuild cache push` sends them")
    return f"remote cache: {', '.join(parts)}"


def taken(names: Mapping[str, str], folder: str) -> list[Error]:
    """A warning for each file of another project that wrote some of the names before this build did."""
    by_file: dict[str, list[str]] = {}
    for name, file in names.items():
        by_file.setdefault(file, []).append(f"'{displayed(name)}'")
    return [
        Error(
            f"{listed(found)} {'is' if len(found) == 1 else 'are'} also written by another project: "
            "each overwrites the other's models",
            facts=[("project", file), ("models", folder)],
            hint="give the models of one project another `namespace`, `name` or `tag`, or use another models folder",
        )
        for file, found in by_file.items()
    ]


def replaced(blobs: Iterable[str], folder: str) -> list[Error]:
    """A warning for each blob of the models folder that was not what its name says, and was put again."""
    return [
        Error(f"blob {blob.replace(':', '-')} was damaged or changed; it was made again", facts=[("models", folder)])
        for blob in blobs
    ]


def nothing_to_do(models: int, seconds: float) -> str:
    """Say that a build changed nothing."""
    return f"nothing to do: {plural(models, 'model')} unchanged ({duration(seconds)})"


def no_longer_declared(names: Iterable[str]) -> str:
    """Say what the project once wrote, names and files."""
    told = listed(f"'{name}'" for name in names)
    return f"no longer declared: {told}; `modelbuild clean --stale` removes them"


class Outcome(NamedTuple):
    """The result of each model of a build, by its label.

    others   were not looked at, since they are as they were
    written  only into files: what is in the models folder did not change
    """

    built: Collection[str] = ()
    unchanged: Collection[str] = ()
    failed: Collection[str] = ()
    skipped: Collection[str] = ()
    others: int = 0
    written: Collection[str] = ()

    @property
    def same(self) -> int:
        return len(self.unchanged) + self.others

    def __str__(self) -> str:
        if self.failed or self.skipped:
            parts = [f"{len(self.built)} built"] if self.built or not self.written else []
            parts += [f"{len(self.written)} written"] if self.written else []
            parts += [f"{self.same} unchanged"] if self.same else []
            parts += [f"{len(self.skipped)} skipped"] if self.skipped else []
            parts += [f"{len(self.failed)} failed: {listed(map(in_line, self.failed))}"] if self.failed else []
            return ", ".join(parts)
        if done := [(len(each), word) for each, word in ((self.built, "built"), (self.written, "written")) if each]:
            (count, word), *others = done
            others += [(self.same, "unchanged")] if self.same else []
            return ", ".join([f"{plural(count, 'model')} {word}", *(f"{count} {word}" for count, word in others)])
        return f"{plural(self.same, 'model')} rebuilt, {'none changed' if self.same > 1 else 'unchanged'}"


def summed_up(summary: Event, outcome: Outcome, seconds: float, failed: bool = False) -> str:
    """A build in one line."""
    if not (summary["ran"] or failed or summary["failed"] or outcome.built or outcome.written):
        return nothing_to_do(outcome.same, seconds)
    parts = [f"{plural(summary['ran'], 'step')} run"]
    parts += [f"{summary[state]} {word}" for state, word in STATES.items() if state != "ran" and summary[state]]
    if tensors := summary["tensors_computed"] + summary["tensors_reused"]:
        parts.append(f"{summary['tensors_computed']} of {plural(tensors, 'tensor')} computed")
    if summary["bytes_written"]:
        parts.append(f"{size(summary['bytes_written'])} written")
    head = "failed" if failed and not any(outcome) else str(outcome)
    return f"{head} ({duration(seconds)}; {', '.join(parts)})"


def to_come(sure: int, maybe: int, models: int, disk: int, offers: Collection[ActionResult] = ()) -> str:
    """The totals of a build that would run, in one line; `offers` are what a remote cache has."""
    parts = [f"{plural(sure, 'step')} to run" + (f", {maybe} maybe" if maybe else "")]
    if offers:
        parts.append(f"{plural(len(offers), 'result')} to fetch, {size(sum(each.size for each in offers))}")
    parts.append(f"{plural(models, 'model')} to build" + (f", {size(disk)} to write" if disk else ""))
    return "; ".join(parts)


def titled(names: Sequence[str]) -> str:
    """The names of a model in one: 'chat:q4_K_M (latest)'."""
    first, *others = map(displayed, names)
    stem = first.rpartition(":")[0] + ":"
    return first + (f" ({', '.join(name.removeprefix(stem) for name in others)})" if others else "")


def forecasts(models: Sequence[Forecast], verbose: bool, width: int | None) -> list[str]:
    """A table of models; or, with every tensor's type, one for each model."""
    models = [model for model in models if model.file and model.file.names]
    if not verbose:
        rows = [[f.name, size(f.size or 0), f.counts()] for f in models]
        head = [Column("NAME", wrap=True), Column("MODEL SIZE", right=True), Column("TENSORS", wrap=True, drop=1)]
        return [table(head, rows, width)] if rows else []
    found = []
    for each in models:
        found.append(f"{each.name}  {size(each.size or 0)}")
        rows = [[name, dtype, " × ".join(map(str, shape))] for name, dtype, shape in each.tensors()]
        found.append(
            indented(table([Column("TENSOR", wrap=True), Column("TYPE"), Column("SHAPE", drop=1)], rows, inner(width)))
        )
    return found


def because(step: str, causes: Iterable[Cause], doing: str = "runs") -> list[str]:
    """Why a step runs: each cause a sentence."""
    return [f"{step} {doing} because", *dict.fromkeys(f"  {caused(cause)}" for cause in causes)]


def caused(cause: Cause) -> str:
    """What changed, and where, in one line."""
    is_file = os.path.isabs(cause.what)
    name = shown_path(cause.what, here()) if is_file else cause.what
    if cause.step:
        name = _MADE.get(re.sub(r"-\d+$", "", cause.step.rpartition("/")[2]), cause.step)
    verb = _PLURAL.get(cause.verb, cause.verb) if name.endswith("s") and cause.step else cause.verb
    text = f"{name} {verb}".rstrip()
    if cause.place and not is_file:
        text += f": {shown_path(cause.place, here())}"
    values = [_short(value) for value in (cause.before, cause.after) if value]
    return text + (f" ({' -> '.join(values)})" if values else "")


_PLURAL = {"is new": "are new", "was removed": "were removed"}

_MADE = {
    "convert": "the converted weights",
    "import": "the imported weights",
    "describe": "the metadata",
    "quantize": "the quantized weights",
    "model": "the model file",
    "base": "a layer of the base",
    "adapter": "the adapter",
    "projector": "the projector",
    "draft": "the draft model",
    "template": "the template",
    "system": "the system text",
    "license": "the license",
    "params": "the parameters",
    "messages": "the messages",
    "config": "the config",
}
"""What the steps of a model make, by the last part of their names."""


def _short(text: str) -> str:
    """A value in one line: long texts cut."""
    return cut(" ".join(text.split()), 60)


BESIDE = ", not counting what it shares with models folders"
"""Of the bytes of the cache."""


def no_cache(folder: str) -> str:
    """That nothing can be removed from a cache."""
    return f"nothing to remove: there is no cache in {folder}"
