"""Error texts as they were once found good."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelbuild.errors import Error

GOLDEN = Path(__file__).parents[2] / "golden" / "formats"


def complaint(act: Callable[[], object]) -> str:
    """What is said when an action fails."""
    with pytest.raises(Error) as caught:
        act()
    return f"{caught.value}\n"


def check(case: str, text: str) -> None:
    """Compare with tests/golden/formats/CASE.txt; UPDATE_GOLDEN=1 writes it."""
    path = GOLDEN / f"{case}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def unused(prefix: str, cases: set[str]) -> set[str]:
    """The goldens of a kind that no case stands for any more."""
    return {path.stem for path in GOLDEN.glob(f"{prefix}*.txt")} - cases
