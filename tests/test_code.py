"""Which code this is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelbuild import __version__, code


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of a few files that takes the place of ours."""
    folder = tmp_path / "modelbuild"
    (folder / "steps").mkdir(parents=True)
    for name in ("code.py", "steps/layer.py"):
        (folder / name).write_text("x = 1\n")
    monkeypatch.setattr(code, "__file__", str(folder / "code.py"))
    return folder


def fingerprint() -> str:
    return code.fingerprint.__wrapped__()


def test_installed_code_is_known_by_its_version(package: Path) -> None:
    assert fingerprint() == __version__
    (package / "steps/layer.py").write_text("x = 22\n")
    assert fingerprint() == __version__


def test_in_a_checkout_every_change_of_a_file_is_other_code(package: Path) -> None:
    (package.parent / "pyproject.toml").touch()
    before = fingerprint()
    assert before.startswith(f"{__version__}+xxh3:")
    (package / "notes.txt").write_text("no code")
    (package / "__pycache__").mkdir()
    (package / "__pycache__/layer.py").touch()
    assert fingerprint() == before
    os.utime(package / "steps/layer.py", ns=(1, 1))
    touched = fingerprint()
    assert touched != before
    (package / "steps/other.py").touch()
    assert fingerprint() not in (before, touched)
