"""The target of a command that takes one: a variant, the latest of several, or the only model."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest

from modelbuild.cli.one_target import one
from modelbuild.engine.graph import Output
from modelbuild.errors import Error
from modelbuild.session.session import Selection


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
