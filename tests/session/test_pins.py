"""The lock as builds write it: whole, once, and never over what another one pinned meanwhile."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.files import GUEST
from modelbuild.project import lock
from modelbuild.project.lock import Change
from modelbuild.session import pins
from tests.e2e.project import Project
from tests.session.conftest import Open

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def file(project: Project) -> Path:
    return project.folder / "ModelBuild.lock"


def test_pins_are_added_and_what_is_pinned_stays(start: Open, project: Project) -> None:
    session = start()
    assert pins.write(session, {"a:latest": A}) == [Change("a:latest", None, A)]
    assert pins.write(session, {"a:latest": B, "b:latest": B}) == [Change("b:latest", None, B)]
    assert pins.read(session) == {"a:latest": A, "b:latest": B}
    before = os.stat(file(project))
    assert pins.write(session, {"a:latest": A}) == [] and os.stat(file(project)) == before


def test_an_update_moves_pins_and_takes_them_out(start: Open, project: Project) -> None:
    session = start()
    pins.write(session, {"a:latest": A, "b:latest": A})
    assert pins.write(session, {"a:latest": B, "b:latest": None}, over=True) == [
        Change("a:latest", A, B),
        Change("b:latest", A, None),
    ]
    assert pins.read(session) == {"a:latest": B}


def test_builds_at_once_lose_no_pin(start: Open, project: Project) -> None:
    sessions = [start() for _ in range(6)]
    wrong: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for each in range(5):
                pins.write(sessions[number], {f"m{number}-{each}:latest": A})
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=write, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and len(pins.read(sessions[0])) == 30
    assert [name for name in os.listdir(project.folder) if name.startswith(GUEST)] == []


def test_what_a_killed_build_left_beside_a_lock_goes(start: Open, project: Project) -> None:
    left = project.folder / f"{GUEST}left"
    left.write_text("half")
    pins.write(start(), {"a:latest": A})
    assert not left.exists()


def test_a_lock_that_is_a_link_stays_one(start: Open, project: Project) -> None:
    real = project.folder / "elsewhere.lock"
    real.write_bytes(lock.encode({}))
    file(project).symlink_to(real)
    pins.write(start(), {"a:latest": A})
    assert file(project).is_symlink() and A in real.read_text()


def test_locked_tells_the_difference(start: Open) -> None:
    pins.refuse(start(), [])
    with pytest.raises(Error) as caught:
        pins.refuse(start(), [Change("a:latest", A, B), Change("b:latest", None, A)])
    assert caught.value.facts == (("a:latest", f"{A} -> {B}"), ("b:latest", f"not pinned -> {A}"))
    assert "`modelbuild update a:latest b:latest`" in str(caught.value.hint)


def test_a_lock_that_cannot_be_written(start: Open, project: Project) -> None:
    session = start()
    # Root writes everywhere, but nobody replaces a folder by a file.
    os.mkdir(file(project))
    with pytest.raises(Error, match="cannot be read"):
        pins.write(session, {"a:latest": A})
