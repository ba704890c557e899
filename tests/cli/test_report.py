"""What the printer makes of results and errors: colours, control characters, what stdout cannot spell."""

from __future__ import annotations

import io
from typing import Any

import pytest

from modelbuild.cli import report
from modelbuild.cli.report import Report
from modelbuild.errors import Error
from tests.cli.streams import Streams

pytestmark = pytest.mark.usefixtures("plain")


def test_colour_follows_the_option_then_the_environment_then_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def coloured(**options: Any) -> bool:
        streams = Streams(**options)
        streams.report.error(Error("bad"))
        assert streams.err.replace("\x1b[1;31m", "").replace("\x1b[0m", "") == "error: bad\n"
        return "\x1b[" in streams.err

    assert not coloured()
    assert coloured(color="always")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert coloured()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured()
    assert coloured(color="always")
    assert not coloured(color="never")


def test_an_error_that_quotes_control_characters_leaves_the_terminal_alone() -> None:
    streams = Streams()
    streams.report.error(Error("unknown target '\x1b[2J\x9b'", hint="a\tb"))
    assert streams.err == "error: unknown target '\\x1b[2J\\x9b'\n  hint  a\tb\n"


def test_results_and_notes_leave_the_terminal_alone_and_json_means_the_same() -> None:
    streams = Streams()
    streams.report.result("a\x1b[2J\u202eb\n\tc")
    streams.report.note("a\x9bb")
    assert (streams.out, streams.err) == ("a\\x1b[2J\\u202eb\n\tc\n", "a\\x9bb\n")
    streams = Streams()
    streams.report.data({"é\u202e": "\x9b"})
    assert streams.out == '{\n  "é\\u202e": "\\u009b"\n}\n'


def test_an_error_stays_in_its_line() -> None:
    streams = Streams()
    streams.report.error(Error("unknown model 'a\nerror: b'", path="x\ny", facts=[("two", "a\nb")]))
    assert streams.err == "error: x\\ny: unknown model 'a\\nerror: b'\n  two  a\n       b\n"


def test_what_stops_several_models_is_said_once() -> None:
    err = io.StringIO()
    Report(err=err).errors([Error("is gone", path="a"), Error("is gone", path="b"), Error("is gone", path="a")])
    assert err.getvalue().count("is gone") == 2


def test_results_that_stdout_cannot_spell_are_escaped() -> None:
    raw = io.BytesIO()
    report = Report(out=io.TextIOWrapper(raw, encoding="ascii"))
    report.result("3 × \udcff")
    report.object({"event": "error", "message": "…"})
    assert raw.getvalue() == b'3 \\xd7 \\udcff\n{"v": 1, "event": "error", "message": "\\u2026"}\n'


def test_an_error_on_a_terminal_is_wrapped_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelbuild.cli.report.width", lambda stream: 40)
    streams = Streams()
    streams.report.error(
        Error(
            "unknown instruction 'SYSTEMM', of which Ollama knows nothing",
            path="Modelfile",
            line=2,
            column=61,
            source="x" * 60 + "SYSTEMM" + "y" * 60,
            width=7,
            facts=[("known", "FROM, ADAPTER, DRAFT, TEMPLATE, SYSTEM, PARAMETER\nand none besides")],
            hint="write SYSTEM, or ask `ollama show mine --modelfile`",
        )
    )
    assert streams.err == (
        "error: Modelfile:2:61: unknown\n"
        "  instruction 'SYSTEMM', of which Ollama\n"
        "  knows nothing\n"
        "  2 | …xxxxxxxxxxSYSTEMMyyyyyyyyyyyyyyy…\n"
        "    |            ^^^^^^^\n"
        "  known  FROM, ADAPTER, DRAFT,\n"
        "         TEMPLATE, SYSTEM, PARAMETER\n"
        "         and none besides\n"
        "  hint   write SYSTEM, or ask\n"
        "         `ollama show mine --modelfile`\n"
    )


def test_what_a_watch_has_noted_once_is_not_said_after_each_build() -> None:
    streams = Streams()
    for text in ("try it: a", "no longer declared: 'b'", "try it: a"):
        streams.report.note_once(text)
    assert streams.err == "try it: a\nno longer declared: 'b'\n"
    streams.report.note("try it: a")
    assert streams.err.count("try it: a") == 2


def test_an_answer_is_printed_as_it_comes_and_what_stands_beside_it_goes_to_stderr() -> None:
    streams = Streams(color="always")
    streams.report.stream("Once ")
    streams.report.stream("upon\x1b[2J")
    streams.report.aside("beside\x1b[2J\n")
    streams.report.redraw("50 %")
    assert streams.out == "Once upon\x1b[2J"  # a pipe gets what the model said
    assert streams.err == "\x1b[2mbeside\\x1b[2J\n\x1b[0m\r\x1b[2K50 %"
    streams = Streams(quiet=True)
    streams.report.aside("beside")
    assert streams.err == ""


@pytest.mark.parametrize("columns", [30, 200])
def test_the_colour_of_a_note_is_our_own_and_the_rest_of_it_harmless(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "width", lambda stream: columns)
    streams = Streams(color="always")
    streams.report.marked("pulled   ", "green", "  registry.example.com/team/chat:latest\x1b[2J  4.9 GB")
    assert streams.err.startswith("\x1b[32mpulled   \x1b[0m")
    assert streams.err.count("\x1b") == 2 and "chat:latest\\x1b[2J" in "".join(streams.err.split())
    assert (streams.err.count("\n") > 1) == (columns == 30)


def test_a_command_that_is_proposed_has_the_options_that_this_one_was_given() -> None:
    streams = Streams()
    streams.report.options = ["-C", "a b", "--cache", "/c", "--models", "/m"]
    streams.report.note("`modelbuild clean --cache` empties it, `modelbuild -C /x gc` not all, `modelbuild` builds")
    assert streams.err.splitlines() == [
        "`modelbuild -C 'a b' --cache /c --models /m clean --cache` empties it, "
        "`modelbuild --cache /c --models /m -C /x gc` not all, `modelbuild -C 'a b' --cache /c --models /m` builds"
    ]
    streams.report.note("`modelbuild clean --cache -n` says what goes")
    assert streams.err.splitlines()[-1].startswith("`modelbuild -C 'a b' --cache /c --models /m clean --cache -n`")
    streams.report.error(Error("no space", hint="`modelbuild clean --cache` empties it"))
    assert "hint  `modelbuild -C 'a b' --cache /c --models /m clean --cache` empties it" in streams.err


def test_a_long_list_of_what_is_known_is_told_once() -> None:
    streams = Streams()
    known = ("known", ", ".join(f"Class{number}" for number in range(60)))
    streams.report.errors([Error("bad a", facts=[known]), Error("bad b", facts=[known, ("also", "x")])])
    assert streams.err.count(known[1]) == 1
    assert streams.err.endswith("error: bad b\n  known  as above\n  also   x\n")
    streams.report.begin()
    streams.report.error(Error("bad a", facts=[known]))
    assert streams.err.count(known[1]) == 2
