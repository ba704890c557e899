"""Where the values of a variant come from: its own lines, a model it is based on, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.session.provenance import Provenance, Value
from modelbuild.session.session import Session
from modelbuild.session.settings import Settings
from tests import checkpoints

TOML = """\
[model.base]
from = "./weights"
system = "You are a test."
quantize = "mine"
metadata = { "general.author" = "A" }
[model.base.parameters]
temperature = 0.5
stop = ["<end>"]

[model.chat]
from = "base"
parser = "p"
push = ["you/chat", "r.example.com/team/chat:v1"]
[model.chat.parameters]
temperature = 0.7

[ftype.mine]
base = "q8_0"
[ftype.mine.tensors]
attn_v = "f16"
"""


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    checkpoints.write(tmp_path / "weights")
    (tmp_path / "ModelBuild.toml").write_text(TOML)
    session = Session(Settings(folder=str(tmp_path), cache=str(tmp_path / "cache"), models=str(tmp_path / "models")))
    yield session
    session.close()


def provenance(session: Session, label: str) -> Provenance:
    return Provenance(session, next(output for output in session.graph.outputs if output.label == label))


def line(value: object, number: int, session: Session) -> Value:
    return Value(value, f"{session.file}:{number}")


def near(found: Value, session: Session) -> Value:
    """The value with its place as a whole path, without the column."""
    path, number, *_ = found.place.split(":")
    return Value(found.value, f"{Path(session.root) / path}:{number}")


def test_what_a_model_says_stands_in_its_own_lines(session: Session) -> None:
    base = provenance(session, "base")
    values = {key: near(value, session) for key, value in base.values().items()}
    assert values["system"] == line("You are a test.", 3, session)
    assert values["quantize"] == line("mine", 4, session)
    assert near(base.metadata()["general.author"], session) == line("A", 5, session)
    assert near(base.parameters()["temperature"], session) == line(0.5, 7, session)


def test_what_is_not_said_is_inherited_from_a_model_by_name(session: Session) -> None:
    chat = provenance(session, "chat")
    values = chat.values()
    assert values["system"] == Value("You are a test.", "inherited from 'base:latest'")
    assert near(values["parser"], session) == line("p", 12, session)
    assert near(values["push"], session) == line(["you/chat:latest", "r.example.com/team/chat:v1"], 13, session)
    assert "push" not in provenance(session, "base").values()
    assert "quantize" not in values
    assert chat.metadata()["general.author"] == Value("A", "inherited from 'base:latest'")
    assert chat.parameters()["stop"] == Value(["<end>"], "inherited from 'base:latest'")
    assert near(chat.parameters()["temperature"], session) == line(0.7, 15, session)


def test_a_mix_is_shown_key_by_key_also_of_the_base(session: Session) -> None:
    for label in ("base", "chat"):
        mix = provenance(session, label).mix()
        assert mix is not None
        rules = mix["tensors"]
        assert isinstance(rules, dict) and isinstance(mix["base"], Value)
        assert near(mix["base"], session) == line("q8_0", 18, session)
        assert near(rules["attn_v"], session) == line("f16", 20, session)
