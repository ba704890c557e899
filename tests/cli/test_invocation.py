"""What a command is run with, and how it ends."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from modelbuild.cli.commands import build
from modelbuild.cli.invocation import GOOD, WRONG, Invocation, commands, guarded, invoked, is_command, merged
from modelbuild.cli.report import Report
from modelbuild.errors import Error, Errors
from modelbuild.session.settings import Settings


def test_commands_are_the_files_of_their_folder() -> None:
    files = [path.stem for path in Path(build.__file__).parent.glob("[a-z]*.py")]
    assert commands() == sorted(files)
    assert all(is_command(name) for name in files)
    assert not any(is_command(word) for word in ("", "chat", "chat:q8_0", "_build", "build.py", "build-x", "../build"))


def test_options_behind_a_command_win_and_lists_add_up() -> None:
    before = {"folder": "a", "memory": 1, "vars": (("x", "1"),), "quiet": None}
    after = {"folder": None, "memory": 2, "vars": (("y", "2"),), "quiet": True}
    assert merged(before, after) == {"folder": "a", "memory": 2, "vars": (("x", "1"), ("y", "2")), "quiet": True}
    assert merged({}, {"sets": ("a=b",)}) == {"sets": ("a=b",)}


def test_what_was_not_given_is_left_open() -> None:
    call = invoked({"folder": None, "vars": (), "as_json": None, "color": None})
    assert call.settings == Settings()
    assert not (call.report.as_json or call.report.quiet or call.report.verbose)
    call = invoked({"folder": "x", "memory": 5, "sets": ("a=b",), "as_json": True, "verbose": True})
    assert call.settings == Settings(folder="x", memory=5, sets=("a=b",))
    assert (call.report.as_json, call.report.verbose) == (True, True)


class Closing(Invocation):
    closed = 0

    def close(self) -> None:
        super().close()
        self.closed += 1


@pytest.mark.parametrize(
    ("raised", "text"),
    [(Error("one"), "error: one\n"), (Errors([Error("one"), Error("two")]), "error: one\n\nerror: two\n")],
)
def test_what_is_wrong_with_the_input_is_printed_and_the_session_closed(raised: Exception, text: str) -> None:
    stderr = io.StringIO()
    call = Closing(Settings(), Report(out=io.StringIO(), err=stderr))

    def run(call: Invocation) -> int:
        raise raised

    assert guarded(call, run) == WRONG
    assert (stderr.getvalue(), call.closed) == (text, 1)
    assert guarded(call, lambda call: GOOD) == GOOD
    with pytest.raises(KeyError):
        guarded(call, lambda call: {}["x"])
    assert call.closed == 3


def test_the_session_is_opened_once_and_errors_start_from_its_project(tmp_path: Path) -> None:
    (tmp_path / "ModelBuild.toml").write_text("")
    call = Invocation(Settings(folder=str(tmp_path), cache=str(tmp_path / "cache")), Report())
    assert call.session is call.session
    assert call.report.base == str(tmp_path)
    call.close()
    call.close()
