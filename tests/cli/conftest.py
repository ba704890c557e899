from __future__ import annotations

import pytest

from modelbuild.cli.report import Report


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No colours that the environment asks for, and a clock that stands still."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Report, "seconds", 1.25)
