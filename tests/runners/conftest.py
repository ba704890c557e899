"""Stand-ins for programs, found by this process and by those that it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runners.fakes import Fakes


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    folder = tmp_path / "fakes"
    folder.mkdir()
    found = Fakes(folder)
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("FAKE_LLAMA", raising=False)
    monkeypatch.syspath_prepend(str(found.packages))
    return found
