"""Build one target if needed, and run it.

With a PROMPT, or with text on stdin, prints one answer; on a terminal begins a chat. The answer goes to stdout, everything else
to stderr. A TARGET may also be any model in the models folder. Runs by Ollama's server if it serves the models folder, else by
llama.cpp's `llama-server`, else by the Python package xllamacpp (the extra 'run').
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NoReturn

from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.errors import Error, Errors
from modelbuild.words import size

if TYPE_CHECKING:
    import click

    from modelbuild.ollama.library import Library
    from modelbuild.runners import Model

LARGEST = 64 << 20
"""Bytes of the largest prompt: ten times the longest context that models have been made for."""


def parameters() -> list[click.Parameter]:
    import click

    from modelbuild import runners
    from modelbuild.cli.kinds import Parameter, Target

    return [
        click.Argument(["target"], type=Target(), metavar="TARGET"),
        click.Argument(["prompt"], nargs=-1, metavar="[PROMPT]..."),
        click.Option(
            ["-p", "--parameter", "given"],
            multiple=True,
            type=Parameter(),
            metavar="NAME=VALUE",
            help="Replace a parameter of the model, such as -p temperature=0.",
        ),
        click.Option(
            ["--with", "runner"],
            type=click.Choice(runners.names()),
            help="Run the model with this program; default: the first that can.",
        ),
        click.Option(["--no-build"], is_flag=True, help="Run the model as it was built last."),
    ]


def run(
    call: Invocation,
    target: str | None,
    prompt: Sequence[str] = (),
    given: Sequence[tuple[str, Any]] = (),
    runner: str | None = None,
    no_build: bool = False,
) -> int:
    text = _joined(prompt)
    if text is None and call.report.as_json:
        raise Error("--json needs a PROMPT", hint='such as `modelbuild run TARGET "Once upon a time" --json`')
    found = _found(call, target, build=not no_build)
    if isinstance(found, int):
        return found
    library, name, label = found
    from modelbuild.session import running

    merged: dict[str, Any] = {}
    for key, value in given:
        merged[key] = [*merged.get(key, []), *value] if isinstance(value, list) else value
    model = running.model(library, name, merged, label)
    # A conversation may last; nobody is to wait for the store meanwhile.
    call.close()
    _run(call, model, text, runner)
    return GOOD


def _joined(words: Sequence[str]) -> str | None:
    """The prompt of the command line behind what stdin has, as `ollama run` joins them; None for a chat."""
    parts = list(words)
    is_chat = sys.stdin is not None and sys.stdin.isatty()
    if not is_chat and sys.stdin is not None and (piped := _piped()):
        parts.insert(0, piped)
    text = " ".join(parts)
    if not text and not is_chat:
        raise Error("there is no prompt", hint="write it behind the target, or to stdin")
    return text or None


def _piped() -> str:
    """The text on stdin. Raises Error for what is no text, or more than any model reads."""
    data = sys.stdin.buffer.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise Error(f"stdin has more than {size(LARGEST)}, which no model reads as one prompt", hint="pipe less text")
    try:
        return data.decode().strip()
    except UnicodeDecodeError as fault:
        what = f"expected UTF-8 on stdin, got byte 0x{data[fault.start]:02x} at {fault.start}"
        raise Error(what, hint="convert the text, such as with `iconv -t UTF-8`") from None


def _found(call: Invocation, target: str | None, *, build: bool) -> tuple[Library, str, str] | int:
    """Where the target is once it is built, its name there, and its label if it is the project's;
    or the exit code of a build that failed. Raises Error.
    """
    from modelbuild.ollama.library import Library
    from modelbuild.session import running
    from modelbuild.session.models_root import without_project

    in_folder = running.named(target) if target is not None else None
    try:
        is_ours = target is None or call.session.words().resolve(target) is not None
    except (Error, Errors):
        # Also where there is no project, or a broken one, the models folder has models.
        if call.settings.file is not None or in_folder is None:
            raise
        library = Library(without_project(call.settings))
        if library.served(in_folder) is None:
            if call.has_project or _has_project(call):
                raise
            raise running.absent(library, str(target)) from None
        return library, in_folder, ""
    if is_ours:
        return _built(call, target, build=build)
    library = call.session.models.library
    if in_folder is not None and library.served(in_folder) is not None:
        return library, in_folder, ""
    return _built(call, target, build=build)


def _has_project(call: Invocation) -> bool:
    from modelbuild.project.discovery import find
    from modelbuild.session.settings import folder_of

    return find(folder_of(call.settings)) is not None


def _built(call: Invocation, target: str | None, *, build: bool) -> tuple[Library, str, str] | int:
    from modelbuild.cli.one_target import keep_type, one
    from modelbuild.session import state

    session = call.session
    if build and (target is not None or len(session.words().known) == 1):
        from modelbuild.cli.fetched import fetch

        fetch(call, lambda: session.select([target] if target else ()))
        keep_type(call, [target] if target else ())
        session = call.session
    output = one(session, target, "run")
    if build:
        standing = session.standing(session.graph.select([output]))
        if state.state(session, output, standing) != "yes":
            from modelbuild.cli.commands.build import Request, built

            code = built(call, session.select([output.label]), Request().options(), lambda *_: None)
            if code != GOOD:
                return code
    elif session.models.library.served(output.names[0]) is None:
        from modelbuild.ollama.name import displayed

        raise Error(f"'{displayed(output.names[0])}' is not built", hint="leave out --no-build")
    return session.models.library, output.names[0], output.label


def _run(call: Invocation, model: Model, prompt: str | None, named: str | None) -> None:
    from modelbuild import runners
    from modelbuild.cli.conversation import Conversation

    report = call.report
    name, runner = runners.choose(model, named)
    # Whatever ends this process ends the one that it has started.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    begun = report.seconds
    with closing(runner.talk(model)) as talk:
        report.aside(f"{model.name}, with {name}: {talk.about}\n")
        for warning in talk.warnings:
            report.warning(warning)
        conversation = Conversation(report, talk, report.seconds - begun)
        if prompt is None:
            conversation.chat()
            return
        answer, thought = conversation.ask(prompt)
        if report.as_json:
            value = {"name": model.name, "runner": name, "template": talk.about, "prompt": prompt, "answer": answer}
            report.object({"event": "answer", **value, "thought": thought or None, **talk.timing._asdict()})


def _leave(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)
