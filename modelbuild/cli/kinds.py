"""Kinds of arguments: how each is read, and what a shell offers for it."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from modelbuild.cli.invocation import commands, invoked, is_command, merged
from modelbuild.tensors import ftypes

if TYPE_CHECKING:
    from modelbuild.session.settings import Settings

    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # which older releases cannot subscript


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30,
          "t": 10**12, "ti": 1 << 40}  # fmt: skip


LEAST = 16 << 20
"""Bytes that --memory allows at least."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


_FTYPE_LIKE = re.compile(r"(?:i?q|tq)\d\w*|b?f(?:16|32)|mxfp\w+|none", re.IGNORECASE)


_PLAIN = re.compile(r"\w[\w.:/@%+=-]*")
"""Of words that no shell reads anything into. One that begins with `-` names nothing of a project."""


def sorted_q(words: Sequence[str]) -> list[str]:
    """Tell the two meanings of `-q` before a command apart: with an ftype after it, it is `--quantize`, else `--quiet`."""
    found: list[str] = []
    at = 0
    while at < len(words) and words[at] != "--" and not is_command(words[at]):
        word = words[at]
        if word == "-q" and at + 1 < len(words) and _FTYPE_LIKE.fullmatch(words[at + 1]):
            found += ["--quantize", words[at + 1]]
            at += 1
        elif word == "-q":
            found.append("--quiet")
        elif word.startswith("-q") and _FTYPE_LIKE.fullmatch(word[2:]):
            found += ["--quantize", word[2:]]
        elif word.startswith("-o") and len(word) > 2:
            found += ["--output", word[2:]]
        else:
            found.append(word)
        at += 1
    return [*found, *words[at:]]


_ADDRESS = re.compile(r"https?://.*|(?:localhost|\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:]+\])(?::\d+)?")


def with_address(words: Sequence[str]) -> list[str]:
    """Tell what follows `--ollama`: only an address is its value, any other word is a target."""
    found: list[str] = []
    at = 0
    while at < len(words) and words[at] != "--":
        if words[at] != "--ollama":
            found.append(words[at])
        elif at + 1 < len(words) and _ADDRESS.fullmatch(words[at + 1]):
            found.append(f"--ollama={words[at + 1]}")
            at += 1
        else:
            found.append("--ollama=")
        at += 1
    return [*found, *words[at:]]


class Count(ParamType):
    """A number of at least 1."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"expected a number of at least 1, got '{value}'", param, ctx)
        return int(value)


class Size(ParamType):
    """A number of bytes: 512MB, 2GiB, 1.5G, 1048576."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", value.strip(), re.IGNORECASE)
        if not match:
            self.fail(f"expected a size such as 512M or 2GiB, got '{value}'", param, ctx)
        return int(float(match[1]) * _UNITS[(match[2] or "").lower()])


class Memory(Size):
    """A limit of memory. Below the least, nothing would be gained: a step takes more all the same."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = super().convert(value, param, ctx)
        if found < LEAST:
            self.fail(f"expected at least {LEAST >> 20}MiB, got '{value}'", param, ctx)
        return found


class Age(ParamType):
    """A time: 30d, 12h, 90m, 45s or 2w, in seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhdw])", value.strip())
        if not match:
            self.fail(f"expected a time such as 30d, 12h or 90m, got '{value}'", param, ctx)
        return float(match[1]) * _SECONDS[match[2]]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _starting(("0d", "1d", "7d", "30d", "90d"), incomplete)


class Pair(ParamType):
    """NAME=VALUE, for a variable of the project."""

    name = "pair"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, mark, text = value.partition("=")
        if not mark or not name:
            self.fail(f"expected NAME=VALUE, got '{value}'", param, ctx)
        return name, text

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _starting((f"{name}=" for name in names(ctx, "vars")), incomplete)


class Parameter(ParamType):
    """NAME=VALUE, for a parameter of Ollama."""

    name = "parameter"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        from modelbuild.errors import Error
        from modelbuild.ollama.modelfile.parameters import parameter

        if isinstance(value, tuple):
            return value
        name, mark, text = value.partition("=")
        if not mark or not name:
            self.fail(f"expected NAME=VALUE, got '{value}'", param, ctx)
        try:
            return name, parameter(name, text)
        except Error as error:
            self.fail(error.what + (f"; {error.hint}" if error.hint else ""), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from modelbuild.ollama.modelfile.parameters import PARAMETERS

        return _starting((f"{name}=" for name in PARAMETERS), incomplete)


class Override(ParamType):
    """MODEL.KEY=VALUE; read with the project."""

    name = "override"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from modelbuild.ollama.modelfile.parameters import PARAMETERS
        from modelbuild.project.keys import KEYS

        left, equals, _ = incomplete.partition("=")
        model = next((each for each in names(ctx, "model") if left.startswith(f"{each}.")), None)
        if model is None:
            return _starting((f"{each}." for each in names(ctx, "model")), incomplete)
        key = left.removeprefix(f"{model}.")
        if not equals:
            keys = [f"{name}." if KEYS[name].entries else f"{name}=" for name in KEYS if name != "extends"]
            keys += [f"parameters.{name}=" for name in PARAMETERS if key.startswith("parameters.")]
            return _starting((f"{model}.{each}" for each in keys), incomplete)
        words = KEYS[key].words if key in KEYS else ()
        if key in KEYS and KEYS[key].holds == "flag":
            words = ("true", "false")
        if key == "quantize":
            words = [*words, *names(ctx, "ftype")]
        return _starting((f"{left}={word}" for word in words), incomplete)


class Folder(ParamType):
    """A folder, there or to be made."""

    name = "folder"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="dir")]


class Ftype(ParamType):
    """An ftype; checked with the project, which may have mixes of its own."""

    name = "type"

    @staticmethod
    def starting(incomplete: str) -> list[str]:
        """The types that begin so, in any case."""
        return [word for word in (*ftypes.KNOWN, "none") if word.casefold().startswith(incomplete.casefold())]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [*map(CompletionItem, self.starting(incomplete)), *_starting(names(ctx, "ftype"), incomplete)]


class Target(ParamType):
    """A model, variant, name, group or glob of the project."""

    name = "target"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _starting(offered(ctx), incomplete)


class Revision(ParamType):
    """A revision of git: whether there is such a one is for git to say."""

    name = "revision"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        import subprocess

        folder = os.path.expanduser(_settings(ctx).folder)
        command = ["git", "-C", folder, "for-each-ref", "--format=%(refname:short)"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=5)
        return _starting(done.stdout.split(), incomplete)


class Command(ParamType):
    """The name of a command."""

    name = "command"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _starting(commands(), incomplete)


def targets(required: bool = False) -> click.Argument:
    """The argument of commands that take any number of targets."""
    return click.Argument(["targets"], nargs=-1, type=Target(), metavar="[TARGET]...", required=required)


# What a project has to offer. What is wrong with it must stay unseen, and what it can give is given.


def offered(ctx: click.Context) -> list[str]:
    """Words that name targets of the project."""
    settings = _settings(ctx)
    try:
        return sorted(_words(settings))
    except Exception:
        return sorted({*names(ctx, "model"), *names(ctx, "group")})


def names(ctx: click.Context, table: str) -> list[str]:
    """The names in a table of the ModelBuild.toml, read from its text if it is not valid TOML now; for models, also found ones."""
    from modelbuild.files import LARGEST, read_plain
    from modelbuild.project.discovery import find
    from modelbuild.project.included import project_of
    from modelbuild.session.settings import folder_of

    settings = _settings(ctx)
    found: list[str] = []
    groups: list[str] = []
    try:
        folder = folder_of(settings)
        file = os.path.join(folder, settings.file) if settings.file else find(folder)
        for each in (file, project_of(os.path.realpath(file)) if file else None):
            if each and each.endswith(".toml"):
                text = read_plain(each, LARGEST)[0].decode("utf-8-sig", "replace")
                found, groups = [*found, *_names(text, table)], [*groups, *_names(text, "group")]
        if table == "model":
            found += [word for word in _words(settings, models=True) if word not in (*found, *groups)]
    except Exception:
        return found
    return found


def _names(text: str, table: str) -> list[str]:
    import tomllib

    try:
        return list(tomllib.loads(text).get(table, {}))
    except (ValueError, RecursionError):
        heads = re.findall(rf'^\s*\[{table}\.(?:"([^"\n]+)"|([\w-]+))', text, re.MULTILINE)
        return list(dict.fromkeys(quoted or bare for quoted, bare in heads))


def _settings(ctx: click.Context) -> Settings:
    values: dict[str, Any] = {}
    for each in (ctx.parent, ctx):
        values = merged(values, each.params if each else {})
    return invoked({**values, "name": None, "quantize": None}).settings


def _words(settings: Settings, *, models: bool = False) -> Collection[str]:
    """Every word that can be a target, or the groups and models alone. Makes no cache where there is none."""
    from modelbuild.session.session import Session
    from modelbuild.session.settings import cache_folder

    if os.path.isdir(cache_folder(settings)):
        session = Session(settings)
        try:
            words = session.words()
        finally:
            session.close()
    else:
        import tempfile  # brings random and the compressions along, which no build needs

        with tempfile.TemporaryDirectory() as cache:
            return _words(settings._replace(cache=cache), models=models)
    return words.known if models else words.written(words.labels)


def _starting(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """The words that begin so and that a shell takes as they stand: a project may be anybody's, and `$(…)` would be run."""
    return [CompletionItem(word) for word in words if word.startswith(incomplete) and _PLAIN.fullmatch(word)]
