"""The page that `modelbuild --help` prints fits 80 columns and names everything in a group, whole."""

from __future__ import annotations

import click
import pytest

from modelbuild.cli import arguments, main, usage
from modelbuild.cli.invocation import commands


@pytest.fixture
def page(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    assert main.main(["--help"]) == 0
    return capsys.readouterr().out


def test_it_fits_80_columns_and_cuts_no_sentence(page: str) -> None:
    assert max(map(len, page.splitlines())) < 80
    assert "..." not in page.partition("Examples")[2]
    lines = [line.strip() for line in page.splitlines()]
    for name in commands():
        command = arguments.root().get_command(click.Context(arguments.root()), name)  # type: ignore[attr-defined]
        summary = usage.summary(command)
        assert any(line.split() == [name, *summary.split()] for line in lines), (
            f"{name}: a first line of at most 66 characters"
        )


@pytest.mark.parametrize("name", commands())
def test_the_help_of_a_command_fits_too(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main.main([name, "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) < 80


def test_groups_name_what_there_is_and_the_last_has_the_rest(page: str) -> None:
    assert {name for names in usage.COMMANDS.values() for name in names} <= set(commands())
    options = {str(each.name) for each in arguments.common(hidden=False)}
    assert {name for names in usage.OPTIONS.values() for name in names} <= options
    order = [
        "Examples:",
        "Build:",
        "Look:",
        "Start and tidy up:",
        "More:",
        "Options of a build:",
        "More options:",
        "Completion:",
    ]
    places = [page.index(f"\n{title}") for title in order]
    assert places == sorted(places)
