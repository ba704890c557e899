"""Plain command lines are read as click reads them, or not at all."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from modelbuild.cli import arguments, plain
from modelbuild.cli.commands import build
from modelbuild.cli.invocation import Invocation, invoked

WORDS = ["-q", "--quiet", "-k", "-v", "-C", "--cache", "--models", "dir", "q4_K_M", "check", "-", "--", "--json", ""]


def by_click(words: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...] | None:
    """The settings, the report and the request of a build that click reads; None for anything else."""
    found: list[tuple[object, ...]] = []

    def run(call: Invocation, **given: Any) -> int:
        found.append(told(call, given))
        return 0

    with monkeypatch.context() as patched:
        patched.setattr(build, "run", run)
        patched.setattr(arguments, "aimed", lambda call, values: values)
        patched.setattr("modelbuild.cli.commands.check.run", lambda call, **given: 0)
        arguments.run(words)
    return found[0] if found else None


def told(call: Invocation, given: dict[str, Any]) -> tuple[object, ...]:
    report = call.report
    return call.settings, report.quiet, report.verbose, report.as_json, build.Request(**given)


def test_all_short_command_lines_are_read_as_by_click(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read = 0
    for count in range(4):
        for words in itertools.product(WORDS, repeat=count):
            values = plain.read(words)
            if values is None:
                continue
            read += 1
            given = {name: value for name, value in values.items() if name in build.Request._fields}
            assert told(invoked(values), given) == by_click([*words], monkeypatch), words
    capsys.readouterr()
    assert read > 300


@pytest.mark.parametrize(
    "line", ["check", "-q q4_K_M x", "-C", "-C -q", "--cache=x", "-j 4", "x -q q8_0", "-C a -C b", "x -- y", "--help"]
)
def test_all_else_is_for_click(line: str) -> None:
    assert plain.read(line.split()) is None
