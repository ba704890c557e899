"""A conversation with a model, by a runner that says what it is told to. On a terminal it is in tests/e2e/test_run.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from modelbuild.cli.conversation import Conversation, timing_lines
from modelbuild.errors import Error
from modelbuild.runners import Full, Piece, Timing
from tests.cli.streams import Streams


class Scripted:
    """A runner that gives its answers in turn; an error is raised."""

    about, warnings, timing = "scripted", (), Timing(4, 0.5, 6, 2.0)

    def __init__(self, *answers: Sequence[Piece | str] | Error) -> None:
        self.answers = list(answers)
        self.heard: list[list[tuple[str, str]]] = []

    def answer(self, messages: Sequence[tuple[str, str]]) -> Iterator[Piece]:
        self.heard.append(list(messages))
        answer = self.answers.pop(0)
        if isinstance(answer, Error):
            raise answer
        for piece in answer:
            yield Piece("answer", piece) if isinstance(piece, str) else piece

    def stop(self) -> None:
        raise AssertionError("nobody stops")

    def close(self) -> None:
        pass


def test_the_answer_goes_to_stdout_and_thoughts_to_stderr() -> None:
    streams = Streams()
    talk = Scripted([Piece("thought", "Hm"), Piece("thought", "m."), "Once ", "upon."])
    assert Conversation(streams.report, talk, 0.1).ask("Tell") == ("Once upon.", "Hmm.")
    assert streams.out == "Once upon.\n"
    assert streams.err == "Thinking...\nHmm.\n...done thinking.\n\n"
    assert talk.heard == [[("user", "Tell")]]


def test_quiet_says_nothing_but_the_answer_and_verbose_its_times() -> None:
    streams = Streams(quiet=True)
    Conversation(streams.report, Scripted([Piece("thought", "Hm"), "A\n"]), 0.1).ask("Tell")
    assert (streams.out, streams.err) == ("A\n", "")
    streams = Streams(verbose=True)
    Conversation(streams.report, Scripted(["A"]), 0.1).ask("Tell")
    assert "eval rate:            3.00 tokens/s\n" in streams.err and "total duration:" in streams.err


def test_what_was_said_goes_with_the_next_prompt() -> None:
    talk = Scripted(["A"], Error("broken"), ["B"])
    conversation = Conversation(Streams().report, talk, 0)
    conversation.ask("1")
    with pytest.raises(Error):
        conversation.ask("2")
    conversation.ask("3")
    assert talk.heard[-1] == [("user", "1"), ("assistant", "A"), ("user", "3")]


def test_the_oldest_part_is_forgotten_where_the_context_is_full() -> None:
    streams = Streams()
    talk = Scripted(["A"], ["B"], Full("full"), Full("full"), ["C"], Full("full"))
    conversation = Conversation(streams.report, talk, 0)
    for prompt in "123":
        conversation.ask(prompt)
    assert talk.heard[-1] == [("user", "3")]
    assert streams.err.count("its oldest part is forgotten") == 2
    talk.answers = [Full("full")]
    with pytest.raises(Full):
        Conversation(streams.report, talk, 0).ask("long")


def test_the_lines_of_the_times() -> None:
    assert timing_lines(Timing(4, 0.5, 6, 2.0), 3, 0.25) == [
        "total duration:       3.000s",
        "load duration:        0.250s",
        "prompt eval count:    4 token(s)",
        "prompt eval duration: 0.500s",
        "prompt eval rate:     8.00 tokens/s",
        "eval count:           6 token(s)",
        "eval duration:        2.000s",
        "eval rate:            3.00 tokens/s",
    ]
    assert len(timing_lines(Timing(), 3, 0.25)) == 2


def test_where_stdout_is_a_terminal_without_a_width_the_prompt_is_readlines(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ask(prompt: str = "") -> str:
        asked.append(prompt)
        raise EOFError

    monkeypatch.setattr("builtins.input", ask)
    streams = Streams()
    Conversation(streams.report, Scripted(), 0.1).chat()
    assert (asked, streams.err) == ([""], ">>> ")
    monkeypatch.setattr(streams.stdout, "isatty", lambda: True)
    Conversation(streams.report, Scripted(["\x1b[2J"]), 0.1).chat()
    assert (asked, streams.err) == (["", ">>> "], ">>> ")
    Conversation(streams.report, Scripted(["\x1b[2J"]), 0.1).ask("Tell")
    assert "\x1b" not in streams.out
