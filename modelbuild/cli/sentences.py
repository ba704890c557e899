"""Sentences about a build: why steps run, what it waits for, what came of it or would come."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from modelbuild.cli.places import here
from modelbuild.errors import Error
from modelbuild.ollama.name import displayed
from modelbuild.words import duration, listed, plural, size, table

if TYPE_CHECKING:
    from modelbuild.engine.build import Event
    from modelbuild.session.forecast import Forecast


def unjudged(path: str, architecture: str) -> str:
    """Say that nobody has looked whether a GGUF file can be run."""
    return f"not checked: {path}: the architecture '{architecture}' is not known here"


def waiting(path: str) -> str:
    """Say that another process holds what we need."""
    return f"waiting for another modelbuild, which holds {path}"


def taken(names: Mapping[str, str], folder: str) -> list[Error]:
    """A warning for each file of another project that wrote some of the names before this build did."""
    by_file: dict[str, list[str]] = {}
    for name, file in names.items():
        by_file.setdefault(file, []).append(f"'{displayed(name)}'")
    return [
        Error(
            f"{listed(found)} {'is' if len(found) == 1 else 'are'} written by another project too: "
            "each overwrites what the other built",
            facts=[("project", file), ("models", folder)],
            hint="give the models of one of them another `namespace`, `name` or `tag`, or name another models folder",
        )
        for file, found in by_file.items()
    ]


def nothing_to_do(models: int, seconds: float) -> str:
    """Say that a build found all models made."""
    return f"nothing to do: {plural(models, 'model')} {'is' if models == 1 else 'are'} up to date ({duration(seconds)})"


def summed_up(summary: Event, variants: int, changed: int, seconds: float, failed: bool = False) -> str:
    """A build in one line."""
    took = duration(seconds)
    if not (summary["ran"] or failed or summary["failed"] or changed):
        return nothing_to_do(variants, seconds)
    parts = [f"{plural(summary['ran'], 'step')} ran"]
    parts += [
        f"{summary[state]} {word}" for state, word in (("hit", "found made"), ("skipped", "skipped")) if summary[state]
    ]
    if summary["tensors_computed"] or summary["tensors_reused"]:
        parts.append(f"{plural(summary['tensors_computed'], 'tensor')} computed, {summary['tensors_reused']} reused")
    if summary["bytes_written"]:
        parts.append(f"{size(summary['bytes_written'])} written")
    if summary["failed"]:
        head = f"{plural(summary['failed'], 'step')} failed after {took}"
    elif failed:
        head = f"failed after {took}"
    elif changed:
        head = f"{plural(changed, 'model')} built in {took}"
    else:
        head = f"{plural(variants, 'model')} as before after {took}"
    return f"{head}: {', '.join(parts)}"


def forecasts(models: Sequence[Forecast], verbose: bool) -> list[str]:
    """A table of models; or, with every tensor's type, one for each model."""
    models = [model for model in models if model.file and model.file.names]
    if not verbose:
        rows = [[f.name, size(f.size or 0), f.counts()] for f in models]
        return [table(["NAME", "MODEL SIZE", "TENSORS"], rows, right=[1])] if rows else []
    found = []
    for each in models:
        found.append(f"{each.name}  {size(each.size or 0)}")
        rows = [[name, dtype, " × ".join(map(str, shape))] for name, dtype, shape in each.tensors()]
        found.append("\n".join("  " + line for line in table(["TENSOR", "TYPE", "SHAPE"], rows).split("\n")))
    return found


def because(step: str, reasons: Iterable[Mapping[str, str]], doing: str = "runs") -> list[str]:
    """Why a step runs, field by field."""
    lines = [f"{step} {doing} because"]
    for reason in reasons:
        field = reason["field"].replace(here() + os.sep, "")
        change = f"{_short(reason['before'])} -> {_short(reason['after'])}"
        lines.append(
            "  " + {"step": "it was never built", "artifact": reason["after"]}.get(field, f"{field}: {change}")
        )
    return lines


def _short(text: str) -> str:
    """A value in one line: digests and long texts cut."""
    algorithm, mark, digest = text.partition(":")
    if mark and algorithm in ("sha256", "xxh3"):
        return f"{algorithm}:{digest[:12]}"
    flat = " ".join(text.split())
    return flat if len(flat) <= 60 else flat[:59] + "…"
