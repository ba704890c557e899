"""Kinds of arguments: how each is read, and what a shell offers for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from modelbuild.cli.invocation import invoked, merged
from modelbuild.tensors import ftypes

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # which older releases cannot subscript


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


class Count(ParamType):
    """A number from 1 on."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"expected a number of at least 1, got '{value}'", param, ctx)
        return int(value)


class Size(ParamType):
    """A number of bytes: 512M, 2GiB, 1.5G, 1048576."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]i?)?b?", value.strip(), re.IGNORECASE)
        if not match:
            self.fail(f"expected a size such as 512M or 2GiB, got '{value}'", param, ctx)
        return int(float(match[1]) * _UNITS[(match[2] or "").lower()])


class Pair(ParamType):
    """NAME=VALUE."""

    name = "pair"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, mark, text = value.partition("=")
        if not mark or not name:
            self.fail(f"expected NAME=VALUE, got '{value}'", param, ctx)
        return name, text


class Ftype(ParamType):
    """An ftype; checked with the project, which may have mixes of its own."""

    name = "type"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        words = (*ftypes.KNOWN, "none")
        return [CompletionItem(word) for word in words if word.casefold().startswith(incomplete.casefold())]


class Target(ParamType):
    """A model, variant, name, group or glob of the project."""

    name = "target"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(word) for word in offered(ctx) if word.startswith(incomplete)]


def targets(required: bool = False) -> click.Argument:
    """The argument of commands that take any number of targets."""
    return click.Argument(["targets"], nargs=-1, type=Target(), metavar="[TARGET]...", required=required)


def offered(ctx: click.Context) -> list[str]:
    """Words that name targets of the project, for completion: what goes wrong here must stay unseen."""
    values: dict[str, Any] = {}
    for each in (ctx.parent, ctx):
        values = merged(values, each.params if each else {})
    call = invoked(values)
    try:
        return sorted(call.session.words().labels)
    except Exception:
        return []
    finally:
        call.close()
