"""A project, and sessions over it in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelbuild.session.session import Session
from modelbuild.session.settings import Settings
from tests.e2e.project import Project

Open = Callable[..., Session]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two models over one checkpoint: `base`, which is quantized, and `chat`, which adds a text."""
    found = Project(tmp_path / "project")
    found.checkpoint()
    found.write(
        "ModelBuild.toml",
        '[model.base]\nfrom = "./weights"\nquantize = "q8_0"\n\n[model.chat]\nfrom = "base"\nsystem = "Hello."\n',
    )
    return found


@pytest.fixture
def start(project: Project) -> Iterator[Open]:
    """Opens sessions as new processes would; they are closed at the end."""
    opened: list[Session] = []

    def start(**settings: str) -> Session:
        places = {"folder": str(project.folder), "models": str(project.models), "cache": str(project.cache)}
        opened.append(Session(Settings(**{**places, **settings})))  # type: ignore[arg-type]
        return opened[-1]

    yield start
    for session in opened:
        session.close()
