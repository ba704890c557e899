"""Read the command line with click: options of all commands, the commands by their files, the default command, completion."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from modelbuild import __version__
from modelbuild.cli.invocation import (
    COMPLETE,
    FAILED,
    GOOD,
    WRONG,
    Invocation,
    commands,
    guarded,
    invoked,
    is_command,
    merged,
)
from modelbuild.cli.kinds import Folder, Ftype, Memory, Override, Pair, Target, sorted_q, with_address
from modelbuild.cli.paths import aimed
from modelbuild.cli.report import Report
from modelbuild.errors import Error
from modelbuild.project.remote_cache import MODES
from modelbuild.words import did_you_mean, listed, nearest

DEFAULT = "build"


def run(words: Sequence[str]) -> int:
    """Parse and run; returns the exit code. Not by click's own `main`, which hides interrupts and closed pipes."""
    if instruction := os.environ.get(COMPLETE):
        return _complete(instruction, words)
    command = root()
    if (assigned := _assigned(words)) is not None:
        Report(as_json="--json" in words).error(assigned)
        return WRONG
    try:
        with command.make_context("modelbuild", with_address(sorted_q(words))) as context:
            return int(command.invoke(context) or GOOD)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        Report(as_json="--json" in words).error(_explained(error))
        return WRONG


def _assigned(words: Sequence[str]) -> Error | None:
    """A fault of `-o=FILE`: taken as it stands, the file would be called '=FILE'."""
    for word in itertools.takewhile(lambda word: word != "--", words):
        if match := re.fullmatch("(-[a-zA-Z])=(.*)", word, re.DOTALL):
            import shlex

            return Error(f"'{word}': a short option takes no '='", hint=f"write {match[1]} {shlex.quote(match[2])}")
    return None


def root() -> click.Command:
    """The whole command line."""
    return _Root()


def _complete(instruction: str, words: Sequence[str]) -> int:
    """Answer a shell. What goes wrong must not end up in the middle of a command line."""
    from modelbuild.cli.completion import answer

    try:
        text = answer(root(), instruction, words)
    except Exception:
        text = ""
    if text is None:
        return FAILED
    click.echo(text, nl=False)
    return GOOD


def common(hidden: bool) -> list[click.Parameter]:
    """The options of every command, before or after it; after it they are `hidden` from its help."""
    quiet = ["-q", "--quiet"] if not hidden else ["--quiet"]
    quantize = ["--quantize"] if not hidden else ["-q", "--quantize"]
    option = partial(click.Option, hidden=hidden)
    return [
        option(["-C", "folder"], type=Folder(), metavar="DIR", help="Work as if started in DIR."),
        option(
            ["-f", "--file"], type=click.Path(), metavar="FILE", help="Use this ModelBuild.toml, Modelfile or weights."
        ),
        option(["-t", "--name"], metavar="NAME", help="Name the model of a Modelfile or weights."),
        option(quantize, type=Ftype(), metavar="TYPE", help="Quantize a Modelfile or weights. Short: -q TYPE."),
        option(
            ["--set", "sets"],
            multiple=True,
            type=Override(),
            metavar="MODEL.KEY=VALUE",
            help="Override a key of a model.",
        ),
        option(["--var", "vars"], multiple=True, type=Pair(), metavar="NAME=VALUE", help="Set a variable of [vars]."),
        option(["--models"], type=Folder(), metavar="DIR", help="Models folder; default: Ollama's."),
        option(["--cache"], type=Folder(), metavar="DIR", help="Cache folder; default: ~/.cache/modelbuild."),
        option(
            ["--remote-cache"],
            type=click.Choice(MODES),
            help="What to do with the project's remote cache; default: as the project says.",
        ),
        option(["--locked"], is_flag=True, default=None, help="Fail if ModelBuild.lock would change."),
        option(["--offline"], is_flag=True, default=None, help="Use no network: build from what is here."),
        option(["--memory"], type=Memory(), metavar="SIZE", help="Memory limit for tensors, such as 2GiB."),
        option(["--json", "as_json"], is_flag=True, default=None, help="Print JSON on stdout."),
        option(quiet, is_flag=True, default=None, help="Print only errors."),
        option(["-v", "--verbose"], is_flag=True, default=None, help="Also print each step, cached ones too."),
        option(["--color"], type=click.Choice(["auto", "always", "never"]), help="Color on stderr; default: auto."),
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

        def known(call: Invocation) -> int:
            try:
                return run(call, **aimed(call, values))
            except Error as error:
                from modelbuild.cli import foreign

                raise foreign.outside(name, error) from None

        return guarded(call, known)

    return _Command(
        name,
        params=[*parameters, *shared],
        callback=callback,
        help=module.__doc__,
        epilog="Options of every command: modelbuild --help",
        no_args_is_help=False,
    )


class _Command(click.Command):
    """One command. Completion offers all its options, also those that only the help of `modelbuild` lists."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        return [*super().shell_complete(ctx, incomplete), *_options(self, incomplete, hidden=True)]


def _options(command: click.Command, incomplete: str, *, hidden: bool) -> list[CompletionItem]:
    """The options of a command that begin with what is typed: those in its help, or the hidden ones."""
    options = [each for each in command.params if isinstance(each, click.Option) and each.hidden is hidden]
    names = {name: option.help for option in options for name in option.opts}
    return [
        CompletionItem(name, help=text) for name, text in names.items() if incomplete and name.startswith(incomplete)
    ]


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
        from modelbuild.cli import usage

        usage.write(formatter, ctx, {name: _command(name) for name in commands()}, DEFAULT)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return [*super().shell_complete(ctx, incomplete), *_options(_command(DEFAULT), incomplete, hidden=False)]
        return [*super().shell_complete(ctx, incomplete), *Target().shell_complete(ctx, self.params[0], incomplete)]


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
    from modelbuild.cli import foreign

    ctx = error.ctx if isinstance(error, click.UsageError) else None
    help_ = f"`{ctx.command_path} --help` lists the options" if ctx else None
    if isinstance(error, click.NoSuchOption):
        known = [name for parameter in ctx.command.params for name in parameter.opts] if ctx else []
        hint = foreign.OPTIONS.get(error.option_name) or _of_command(error.option_name)
        if not hint and is_command(error.option_name.lstrip("-")):
            hint = f"did you mean the command '{error.option_name.lstrip('-')}'?"
        hint = hint or _near(error.option_name, known) or help_
        return Error(f"no such option '{error.option_name}'", hint=hint)
    if isinstance(error, click.BadParameter) and error.param is not None:
        name = (
            max(error.param.opts, key=len) if isinstance(error.param, click.Option) else error.param.human_readable_name
        )
        wrong = re.match("'([^']*)' is not one of", error.message)
        if wrong and isinstance(error.param.type, click.Choice):
            help_ = did_you_mean(wrong[1], map(str, error.param.type.choices)) or help_
        return Error(f"{name}: {_plain(error.message)}" if error.message else f"{name} is missing", hint=help_)
    if isinstance(error, click.BadOptionUsage) and error.option_name == "-q":
        help_ = "-q TYPE is the type of a Modelfile or weights, such as q4_K_M; --quiet prints only errors"
    if ctx is not None and "unexpected extra" in error.message:
        help_ = foreign.ARGUMENTS.get(str(ctx.info_name), help_)
    return Error(_plain(error.format_message()), hint=help_)


def _near(option: str, known: Sequence[str]) -> str | None:
    """A hint that names the option that begins so, or is nearly this one; the dashes are no likeness."""
    typed, names = option.lstrip("-"), [name.lstrip("-") for name in known if name.startswith("--")]
    begun = [name for name in names if len(typed) > 1 and name.startswith(typed)]
    near = begun[0] if len(begun) == 1 else nearest(typed, names)
    return f"did you mean '--{near}'?" if near else None


def _of_command(option: str) -> str | None:
    """A hint for an option that only other commands have."""
    owners = [name for name in commands() if any(option in each.opts for each in _command(name).params)]
    named = listed(f"`modelbuild {name}`" for name in owners)
    return f"it is an option of {named}" if owners else None


def _plain(message: str) -> str:
    text = message.rstrip(".")
    return text[:1].lower() + text[1:]
