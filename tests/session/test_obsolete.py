"""What ends a build, and what does not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from modelbuild import interrupt
from modelbuild.observed import Observed
from modelbuild.session.obsolete import Obsolete
from modelbuild.session.watcher import concerns
from tests.session.watching import watching


def until_ended(seconds: float) -> bool:
    """Work that can be ended; whether it was."""
    aborted: list[bool] = []
    try:
        with interrupt.deferred(lambda: aborted.append(True)):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                interrupt.check()
                time.sleep(0.005)
    except interrupt.Superseded:
        assert aborted == [True]
        return True
    return False


@pytest.fixture
def observed(tmp_path: Path) -> Observed:
    """What a plan has seen of a text and a folder, of which the text is also a source, and weights are another."""
    for name in ("text", "weights"):
        (tmp_path / name).write_text("one")
    found = Observed()
    found.read(str(tmp_path / "text"))
    found.entries(str(tmp_path))
    return found


def test_only_what_the_plan_sees_otherwise_ends_a_build(tmp_path: Path, observed: Observed) -> None:
    text, weights = tmp_path / "text", tmp_path / "weights"
    with watching(concerns(observed.looks(), [str(text), str(weights)])) as watcher:
        with Obsolete(watcher, observed.looks()):
            os.utime(text)
            assert not until_ended(0.3)
        assert watcher.wait(10) == {str(text)}
        with Obsolete(watcher, observed.looks()):
            text.write_text("two")
            assert until_ended(10)
        assert watcher.wait(10) == {str(text)}, "the change that ended it is built"
        with Obsolete(watcher, observed.looks()):
            (tmp_path / "new").write_text("")
            assert not until_ended(0.3)
        assert watcher.wait(10) == {str(tmp_path)}
        with Obsolete(watcher, observed.looks()):
            weights.write_text("two")
            assert until_ended(10)
        watcher.wait(10)
        with Obsolete(watcher, observed.looks(), {str(weights)}):
            weights.write_text("three")
            assert not until_ended(0.3)


def test_a_change_before_the_work_begins_ends_it_then(tmp_path: Path, observed: Observed) -> None:
    with watching(concerns(observed.looks(), [])) as watcher, Obsolete(watcher, observed.looks()):
        (tmp_path / "text").write_text("two")
        time.sleep(0.2)
        assert until_ended(10)


def test_without_a_change_the_end_is_at_once(observed: Observed) -> None:
    with watching(concerns(observed.looks(), [])) as watcher:
        begun = time.monotonic()
        with Obsolete(watcher, observed.looks()):
            pass
        assert time.monotonic() - begun < 5
