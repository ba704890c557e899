"""Tuples with named fields are those of typing."""

from __future__ import annotations

import pickle
import subprocess
import sys
import typing
from typing import TYPE_CHECKING

from modelbuild import tuples

if TYPE_CHECKING:
    from collections.abc import Sequence


class Ours(tuples.NamedTuple):
    """Two fields."""

    name: Sequence[str]
    size: int = 3

    @property
    def twice(self) -> int:
        return 2 * self.size

    @classmethod
    def of(cls, *names: str) -> Ours:
        return cls(names)


class Theirs(typing.NamedTuple):
    """Two fields."""

    name: Sequence[str]
    size: int = 3


def test_they_are_those_of_typing() -> None:
    ours = Ours.of("a", "b")
    assert ours == Theirs(("a", "b")) == (("a", "b"), 3)
    assert repr(ours) == repr(Theirs(("a", "b"))).replace("Theirs", "Ours")
    assert (ours.twice, ours._replace(size=4).twice) == (6, 8)
    for name in ("_fields", "_field_defaults", "__doc__", "__module__", "__slots__", "__match_args__"):
        assert getattr(Ours, name) == getattr(Theirs, name), name
    assert Ours.__annotations__ == {"name": "Sequence[str]", "size": "int"}
    assert pickle.loads(pickle.dumps(ours)) == ours


def test_an_edit_of_a_project_loads_nothing_that_takes_long_to_make_classes() -> None:
    modules = "modelbuild.cli.commands.build, modelbuild.session.edited, modelbuild.session.building, modelbuild.plan.replanned"
    program = (
        f"import {modules}, modelbuild.project.loader, sys; print({{'dataclasses', 'inspect'}} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
