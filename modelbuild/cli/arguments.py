"""Read the command line with click: options of all commands, the commands by their files, the default command, completion."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem, shell_complete

from modelbuild import __version__
from modelbuild.cli.invocation import COMPLETE, GOOD, WRONG, commands, guarded, invoked, is_command, merged
from modelbuild.cli.kinds import Ftype, Pair, Size, offered
from modelbuild.cli.paths import aimed
from modelbuild.cli.report import Report
from modelbuild.errors import Error
from modelbuild.words import did_you_mean

DEFAULT = "build"

_FTYPE_LIKE = re.compile(r"(?:i?q|tq)\d\w*|b?f(?:16|32)|mxfp\w+|none", re.IGNORECASE)


def run(words: Sequence[str]) -> int:
    """Parse and run; returns the exit code. Not by click's own `main`, which hides interrupts and closed pipes."""
    root = _Root()
    if instruction := os.environ.get(COMPLETE):
        return shell_complete(root, {}, "modelbuild", COMPLETE, instruction)
    try:
        with root.make_context("modelbuild", sorted_q(words)) as context:
            return int(root.invoke(context) or GOOD)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        Report(as_json="--json" in words).error(_explained(error))
        return WRONG


def sorted_q(words: Sequence[str]) -> list[str]:
    """Tell the two meanings of `-q` before a command apart: with an ftype behind it, it is `--quantize`, else `--quiet`."""
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


def common(hidden: bool) -> list[click.Parameter]:
    """The options of every command; they may stand before it and behind it, where they are `hidden` from its help."""
    folder = click.Path(file_okay=False)
    quiet = ["-q", "--quiet"] if not hidden else ["--quiet"]
    quantize = ["--quantize"] if not hidden else ["-q", "--quantize"]
    return [
        click.Option(["-C", "folder"], type=folder, metavar="DIR", help="Work as if started in DIR.", hidden=hidden),
        click.Option(
            ["-f", "--file"],
            type=click.Path(),
            metavar="FILE",
            help="Use this ModelBuild.toml, Modelfile or weights.",
            hidden=hidden,
        ),
        click.Option(
            ["-t", "--name"], metavar="NAME", help="Name of the model; for a Modelfile or weights.", hidden=hidden
        ),
        click.Option(quantize, type=Ftype(), metavar="TYPE", help="Quantize to TYPE. Short: -q TYPE.", hidden=hidden),
        click.Option(
            ["--set", "sets"],
            multiple=True,
            metavar="MODEL.KEY=VALUE",
            help="Override a key of a model.",
            hidden=hidden,
        ),
        click.Option(
            ["--var", "vars"],
            multiple=True,
            type=Pair(),
            metavar="NAME=VALUE",
            help="Set a variable of [vars].",
            hidden=hidden,
        ),
        click.Option(["--models"], type=folder, metavar="DIR", help="The models folder to write.", hidden=hidden),
        click.Option(["--cache"], type=folder, metavar="DIR", help="Cache folder.", hidden=hidden),
        click.Option(
            ["--memory"],
            type=Size(),
            metavar="SIZE",
            help="Memory limit for tensors in flight (512M, 2GiB).",
            hidden=hidden,
        ),
        click.Option(["--json", "as_json"], is_flag=True, default=None, help="Print JSON on stdout.", hidden=hidden),
        click.Option(quiet, is_flag=True, default=None, help="Print only errors.", hidden=hidden),
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            default=None,
            help="Also print each step, cached ones too.",
            hidden=hidden,
        ),
        click.Option(
            ["--color"],
            type=click.Choice(["auto", "always", "never"]),
            help="Color on stderr; auto: on a terminal, unless NO_COLOR is set.",
            hidden=hidden,
        ),
    ]


def _command(name: str) -> click.Command:
    module = import_module(f"modelbuild.cli.commands.{name}")
    missing = [part for part in ("__doc__", "parameters", "run") if not getattr(module, part, None)]
    assert not missing, f"{module.__name__} lacks {', '.join(missing)}"
    parameters = module.parameters()
    # A command's own meaning of an option wins: `clean --cache`.
    taken = {option for parameter in parameters for option in parameter.opts}
    shared = [parameter for parameter in common(hidden=True) if not taken.intersection(parameter.opts)]
    names = {parameter.name for parameter in shared}

    @click.pass_context
    def callback(ctx: click.Context, /, **values: Any) -> int:
        everywhere = {key: values.pop(key) for key in list(values) if key in names}
        call = invoked(merged(ctx.obj, everywhere))
        run: Callable[..., int] = module.run
        return guarded(call, lambda call: run(call, **aimed(call, values)))

    return click.Command(
        name,
        params=[*parameters, *shared],
        callback=callback,
        help=module.__doc__,
        epilog="Options of every command: modelbuild --help",
        no_args_is_help=False,
    )


class _Root(click.Group):
    """`modelbuild`: its commands are the files of `commands/`; without one it builds."""

    def __init__(self) -> None:
        version = click.Option(["--version"], is_flag=True, help="Print the version.")
        super().__init__(
            "modelbuild",
            params=[*common(hidden=False), version],
            callback=_root,
            invoke_without_command=True,
            help="Build local language models from weights, Modelfiles and one ModelBuild.toml, for Ollama and llama.cpp.",
            context_settings={"help_option_names": ["-h", "--help"], "ignore_unknown_options": True, "obj": {}},
        )

    def list_commands(self, ctx: click.Context) -> list[str]:
        return commands()

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return _command(name) if is_command(name) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if is_command(args[0]):
            return args[0], _command(args[0]), args[1:]
        return DEFAULT, _command(DEFAULT), args

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage("modelbuild", "[OPTION]... [TARGET]...")
        formatter.write_usage("modelbuild", "[OPTION]... COMMAND ...", prefix="   or: ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, parameters in (
            ("Options of every command", self.get_params(ctx)),
            ("Options of a build", [p for p in _command(DEFAULT).params if not getattr(p, "hidden", False)]),
        ):
            options = [parameter for parameter in parameters if isinstance(parameter, click.Option)]
            records = [record for option in options if (record := option.get_help_record(ctx))]
            with formatter.section(title):
                formatter.write_dl(records)
        self.format_commands(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        words = [] if incomplete.startswith("-") else [w for w in offered(ctx) if w.startswith(incomplete)]
        return [*super().shell_complete(ctx, incomplete), *map(CompletionItem, words)]


@click.pass_context
def _root(ctx: click.Context, /, version: bool, **values: Any) -> Any:
    if version:
        click.echo(f"modelbuild {__version__}")
        ctx.exit()
    ctx.obj = values
    if ctx.invoked_subcommand is None:
        build = _command(DEFAULT)
        with build.make_context(DEFAULT, [], parent=ctx) as context:
            return build.invoke(context)
    return None


def _explained(error: click.ClickException) -> Error:
    """A usage error in the words and the form of our own."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    help_ = f"`{ctx.command_path} --help` lists the options" if ctx else None
    if isinstance(error, click.NoSuchOption):
        known = [name for parameter in ctx.command.params for name in parameter.opts] if ctx else []
        return Error(f"no such option '{error.option_name}'", hint=did_you_mean(error.option_name, known) or help_)
    if isinstance(error, click.BadParameter) and error.param is not None:
        name = (
            max(error.param.opts, key=len) if isinstance(error.param, click.Option) else error.param.human_readable_name
        )
        return Error(f"{name}: {_plain(error.message)}" if error.message else f"{name} is missing", hint=help_)
    return Error(_plain(error.format_message()), hint=help_)


def _plain(message: str) -> str:
    text = message.rstrip(".")
    return text[:1].lower() + text[1:]
