"""A conversation with a model: one answer in a pipe, a chat on a terminal. The answer goes to stdout, all else to stderr."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from modelbuild.cli.report import Report
from modelbuild.errors import Error
from modelbuild.runners import Full, Talk, Timing

PROMPT = ">>> "
MORE = "... "
QUOTES = '"""'
HELP = """/bye     leave (also Ctrl-D)
/clear   forget the conversation
/?       print this
\"\"\"      begin and end a message of several lines
Ctrl-C   stop the answer; leave where there is none"""

_COMMAND = re.compile(r"(/[^\s/]*)(\s|$)")
"""What a command looks like; a path goes on behind its first part, and is a question."""

_ELSEWHERE = {
    "/set": ": begin again with -p NAME=VALUE",
    "/show": ": `modelbuild show` tells of a model",
    "/load": ": leave, and run the other model",
}
"""Commands of Ollama's chat -> where the same is."""


class Conversation:
    """What was said, and how it goes on."""

    def __init__(self, report: Report, talk: Talk, loading: float) -> None:
        self._report = report
        self._talk = talk
        self._loading = loading
        self._said: list[tuple[str, str]] = []
        self._thinks = False

    def ask(self, prompt: str) -> tuple[str, str]:
        """Print the answer to a prompt as it comes; returns it, and the thoughts before it. Raises Error."""
        report, begun = self._report, self._report.seconds
        self._said.append(("user", prompt))
        parts: dict[str, list[str]] = {"answer": [], "thought": []}
        try:
            for piece in self._pieces():
                self._show(piece.kind, piece.text)
                parts[piece.kind].append(piece.text)
        except Error:
            self._said.pop()
            raise
        finally:
            self._show_thinking(False)
            if not report.as_json and parts["answer"] and not parts["answer"][-1].endswith("\n"):
                report.stream("\n")
        answer = "".join(parts["answer"])
        self._said.append(("assistant", answer))
        if report.verbose:
            for line in timing_lines(self._talk.timing, report.seconds - begun, self._loading):
                report.note(line)
        return answer, "".join(parts["thought"])

    def _pieces(self) -> Iterator[Any]:
        """The answer; while the conversation is too long for the context, without the oldest exchange."""
        while True:
            try:
                yield from self._talk.answer(self._said)
                return
            except Full:
                if len(self._said) < 3:
                    raise
                del self._said[:2]
                self._report.note("the conversation is longer than the context: its oldest part is forgotten")

    def _show(self, kind: str, text: str) -> None:
        report = self._report
        if report.as_json:
            return
        self._show_thinking(kind == "thought")
        if kind == "answer":
            report.stream(text)
        else:
            report.aside(text)

    def _show_thinking(self, thinks: bool) -> None:
        if thinks != self._thinks and not self._report.as_json:
            self._report.aside("Thinking...\n" if thinks else "\n...done thinking.\n\n")
        self._thinks = thinks

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Within, the first Ctrl-C ends the answer, and a second one the program."""

        def hear(number: int, frame: FrameType | None) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._talk.stop()

        before = signal.signal(signal.SIGINT, hear)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def chat(self) -> None:
        """Ask and answer until the user leaves."""
        with suppress(ImportError):
            import readline  # noqa: F401 (gives `input` its history)
        while (text := self._read()) is not None:
            if text in ("/bye", "/exit"):
                return
            if text == "/clear":
                self._said.clear()
                self._report.note("the conversation is forgotten")
            elif text in ("/?", "/help"):
                self._report.note(HELP)
            elif command := _COMMAND.match(text):
                self._report.note(f"no such command '{command[1]}'{_ELSEWHERE.get(command[1], '')}; /? lists them")
            elif text:
                try:
                    with self._stoppable():
                        self.ask(text)
                except Error as error:
                    self._report.error(error)

    def _read(self) -> str | None:
        """What the user enters; None if he leaves."""
        line = self._line(PROMPT)
        if line is None or not line.startswith(QUOTES):
            return line.strip() if line is not None else None
        lines = [line.removeprefix(QUOTES)]
        while not lines[-1].endswith(QUOTES):
            more = self._line(MORE)
            if more is None:
                return ""
            lines.append(more)
        return "\n".join(lines).removesuffix(QUOTES).strip()

    def _line(self, prompt: str) -> str | None:
        while True:
            try:
                return _input(self._report, prompt)
            except EOFError:
                self._report.stream("\n")
                return None
            except KeyboardInterrupt:
                self._report.stream("\n")
                if not _typed():
                    return None


def _input(report: Report, prompt: str) -> str:
    if report.on_terminal:
        # A prompt that stood there before readline has the terminal would invite keys that readline then loses.
        return input(prompt)
    # stdout goes elsewhere, and `input` would put the prompt there.
    report.aside(prompt)
    return input()


def _typed() -> str:
    """What stood on the line that was interrupted."""
    readline = sys.modules.get("readline")
    line: Callable[[], str] = getattr(readline, "get_line_buffer", str)
    return line()


def timing_lines(timing: Timing, total: float, loading: float) -> list[str]:
    """The lines of `ollama run --verbose`."""
    rows = [("total duration", f"{total:.3f}s"), ("load duration", f"{loading:.3f}s")]
    for name, count, seconds in (
        ("prompt eval", timing.prompt_tokens, timing.prompt_seconds),
        ("eval", timing.tokens, timing.seconds),
    ):
        if count is not None:
            rows.append((f"{name} count", f"{count} token(s)"))
        if seconds is not None:
            rows.append((f"{name} duration", f"{seconds:.3f}s"))
        if count and seconds:
            rows.append((f"{name} rate", f"{count / seconds:.2f} tokens/s"))
    return [f"{label + ':':21} {text}" for label, text in rows]
