"""The lines that are taken back are those that were written."""

from __future__ import annotations

import io
import os

import pytest

from modelbuild.cli import redrawn
from modelbuild.cli.redrawn import Redrawn
from tests.cli.screen import Screen


class Terminal(io.StringIO):
    """A stream that is one."""

    def fileno(self) -> int:
        return 1


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((20, 12)))
    return Terminal()


def shown(terminal: Terminal) -> list[str]:
    screen = Screen(20)
    screen.feed(terminal.getvalue().replace("\n", "\r\n"))
    return [line for line in screen.text() if line]


def test_what_was_written_since_is_replaced_also_wrapped_wide_and_coloured_lines(terminal: Terminal) -> None:
    found = Redrawn(terminal)
    terminal.write("before\n")
    found.write("one\n" + "long " * 9 + "\n")
    found.write("\x1b[31merror\x1b[0m: 你好你好你好你好\nno end")
    assert len(shown(terminal)) > 5
    found.clear()
    assert shown(terminal) == ["before"]
    found.write("two\n")
    found.clear()
    found.write("three\n")
    assert shown(terminal) == ["before", "three"]


def test_what_a_live_display_has_erased_itself_is_not_erased_again(terminal: Terminal) -> None:
    found = Redrawn(terminal)
    terminal.write("before\n")
    found.write("one\n50 %\nstep\n")
    found.write("\r\x1b[1A\x1b[2K\x1b[1A\x1b[2K")
    found.write("built\n")
    found.clear()
    assert shown(terminal) == ["before"]


def test_no_more_is_erased_than_stands_on_the_screen(terminal: Terminal) -> None:
    found = Redrawn(terminal)
    found.write("line\n" * 50)
    found.clear()
    assert terminal.getvalue().endswith("\r\x1b[11A\x1b[J")


def test_a_stream_without_a_size_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_size(descriptor: int) -> os.terminal_size:
        raise OSError

    monkeypatch.setattr(redrawn.os, "get_terminal_size", no_size)
    stream = Terminal()
    found = Redrawn(stream)
    found.write("one\n")
    found.clear()
    assert stream.getvalue() == "one\n"
    assert found.fileno() == 1, "it is the stream in all else"
