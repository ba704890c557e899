"""The target of a command that takes one: a variant, the latest of several, or the only model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest

from modelbuild.cli.invocation import Invocation
from modelbuild.cli.one_target import keep_type, one
from modelbuild.cli.report import Report
from modelbuild.engine.graph import Output
from modelbuild.errors import Error
from modelbuild.session.session import Selection
from modelbuild.session.settings import Settings
from tests.e2e.project import Project


class Words:
    def __init__(self, **meant: list[str]) -> None:
        self.meant = {name.replace("_", ":"): labels for name, labels in meant.items()}
        self.known = [name for name in self.meant if ":" not in name]

    def resolve(self, word: str) -> list[str] | None:
        return self.meant.get(word)


class Sessions:
    """As much of a session as is asked."""

    file = "/here/ModelBuild.toml"

    def __init__(self, **meant: list[str]) -> None:
        self._words = Words(**meant)

    def words(self) -> Words:
        return self._words

    def select(self, targets: tuple[str, ...]) -> Selection:
        labels = [label for target in targets for label in self._words.meant[target]]
        outputs = [Output(label=label, names=(), manifest="", blobs=()) for label in labels]
        return Selection(targets, cast("list[Output]", outputs))


def test_one_variant() -> None:
    session: Any = Sessions(chat=["chat:a", "chat:b"], chat_latest=["chat:b"], other=["other"])
    assert one(session, "other", "run").label == "other"
    assert one(session, "chat", "run").label == "chat:b"
    alone: Any = Sessions(chat=["chat:a"])
    assert one(alone, None, "run").label == "chat:a"


def test_several_or_none() -> None:
    session: Any = Sessions(chat=["chat:a", "chat:b"], empty=[])
    with pytest.raises(Error, match=re.escape("'chat' matches 2 variants, need one")) as caught:
        one(session, "chat", "run")
    assert caught.value.hint == "name one, such as `modelbuild run chat:a`"
    with pytest.raises(Error, match="matches no model"):
        one(session, "empty", "run")


def test_who_runs_or_pushes_a_model_keeps_the_type_of_an_earlier_q(tmp_path: Path) -> None:
    project = Project(tmp_path / "one")
    project.checkpoint()
    project.write("Modelfile", "FROM ./weights\n")

    def kept() -> str | None:
        settings = Settings(folder=str(project.folder), models=str(project.models), cache=str(project.cache))
        call = Invocation(settings, Report())
        keep_type(call, ())
        call.close()
        return call.settings.quantize

    assert kept() is None
    project.build("-q", "q8_0")
    project.write("Modelfile", "FROM ./weights\nSYSTEM Changed.\n")
    assert kept() == "q8_0"
    project.build()
    assert kept() is None
