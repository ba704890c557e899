"""What every file of commands/ must offer. What each command prints is a golden of tests/e2e/test_commands.py."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest

from modelbuild.cli.arguments import common
from modelbuild.cli.commands.build import MOST_JOBS, Request
from modelbuild.cli.invocation import commands

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", commands())
def test_a_command_takes_what_may_be_written_and_has_help(name: str) -> None:
    module: Any = import_module(f"modelbuild.cli.commands.{name}")
    parameters = module.parameters()
    assert all(isinstance(parameter, click.Parameter) for parameter in parameters)
    names = [str(parameter.name) for parameter in parameters]
    assert len(set(names)) == len(names)
    inspect.signature(module.run).bind("the invocation", **dict.fromkeys(names))
    first, _, rest = module.__doc__.partition("\n")
    assert len(first) < 120 and first.endswith(".")
    assert not rest or rest.startswith("\n"), "the first line stands alone in the list of commands"
    short = {option for parameter in parameters for option in parameter.opts}
    assert short & {option for parameter in common(hidden=True) for option in parameter.opts} <= {"--cache"}


@pytest.mark.parametrize("name", commands())
def test_a_command_has_its_place_in_the_docs_and_is_run_as_users_do(name: str) -> None:
    page = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
    assert f"| [`{name}`](#{name}) |" in page and f"\n## {name}\n" in page, "docs/command-line.md"
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests/e2e").glob("test_*.py")]
    assert any(f'"{name}"' in text for text in texts), "tests/e2e: what does it print?"


@pytest.mark.parametrize("name", ["build", "watch"])
def test_all_options_of_a_build_are_asked_of_it(name: str) -> None:
    names = {parameter.name for parameter in import_module(f"modelbuild.cli.commands.{name}").parameters()}
    assert names - {"poll"} <= set(Request._fields)
    if name == "build":
        assert names == set(Request._fields)


def test_jobs_are_all_cores_unless_said_and_never_thousands() -> None:
    assert 1 <= Request().options().jobs <= MOST_JOBS
    assert Request(jobs=3, force=True).options()._asdict() == {
        "jobs": 3,
        "keep_going": False,
        "force": True,
        "explain": False,
        "executor": None,
    }
    assert Request(jobs=100_000).options().jobs == MOST_JOBS
