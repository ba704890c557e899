"""A build that is stopped keeps the finished tensors of its unfinished files; the next one computes the others."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.files import UNFINISHED
from tests.e2e.in_process import InProcess
from tests.e2e.project import Project, flip

TOML = '[defaults]\nquantize = "q4_K_M"\n[model.chat]\nfrom = "./weights"\n'

STOPPED = """
import os, signal, sys, time
from modelbuild import interrupt
from modelbuild.cli.main import main
from modelbuild.engine import unfinished
from modelbuild.tensors import materialize
from modelbuild.tensors.materialize import _Follower
unfinished.EVERY = 0
# Whoever runs the tests may ignore these.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# One tensor after the other, so that none is beyond the last look at the signal.
materialize.Resources.window = materialize._AHEAD = 1
number, after, follow = int(sys.argv[1]), int(sys.argv[2]), _Follower.follow
def followed(self, task, data):
    follow(self, task, data)
    if len(self.spans) == after and not os.path.exists("told"):
        open("told", "w").close()
        # A killed process loses what is in its buffers.
        self._growing.finish() if number == 9 else None
        self._tell()
        os.kill(os.getpid(), number) if number else interrupt.supersede()
        time.sleep(0.2)
_Follower.follow = followed
sys.exit(main(sys.argv[3:]))
"""
"""Builds, and is sent a signal after so many tensors; 0 is the news that the build is obsolete."""

AFTER = 16


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = InProcess(tmp_path / "project")
    project.write("ModelBuild.toml", TOML)
    project.checkpoint()
    return project


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system than the temporary folder."""
    folder = Path("/dev/shm") / f"modelbuild-test-{time.monotonic_ns()}"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("there is no /dev/shm")
    yield folder
    shutil.rmtree(folder)


def stop(project: Project, number: int, after: int = AFTER) -> subprocess.CompletedProcess[str]:
    (project.folder / "told").unlink(missing_ok=True)
    command = [sys.executable, "-c", STOPPED, str(number), str(after), *project.command()[3:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=project.folder)


def unfinished(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob(UNFINISHED + "*")]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_what_was_finished_is_not_computed_again(project: Project, name: str) -> None:
    number = signal.Signals[name]
    done = stop(project, number)
    assert done.returncode == (-9 if name == "SIGKILL" else 128 + number), done.stderr
    assert "Traceback" not in done.stderr
    if name != "SIGKILL":
        assert done.stderr.endswith("; finished steps are cached, and finished tensors of unfinished layers\n")
        assert ("interrupted" if name == "SIGINT" else f"ended by {name}") in done.stderr
    (kept,) = unfinished(project.folder)
    assert kept.parent == project.cache / "blobs"
    project.build()
    computed, reused = project.summary["tensors_computed"], project.summary["tensors_reused"]
    assert reused >= AFTER and computed == 21 - reused
    assert not unfinished(project.folder)
    tree = project.tree()
    project.build(cache=project.folder / "other", models=project.folder / "clean")
    assert project.summary["tensors_computed"] == 21
    assert tree == project.tree(project.folder / "clean")


def test_a_build_that_is_superseded_keeps_what_was_finished(project: Project) -> None:
    stop(project, 0)
    assert len(unfinished(project.folder)) == 1
    project.build()
    assert project.summary["tensors_reused"] >= AFTER
    project.check()


def test_it_may_be_stopped_again_and_loses_nothing(project: Project) -> None:
    stop(project, signal.SIGINT, 8)
    stop(project, signal.SIGINT, 14)
    # Before the first tensors were read again.
    assert stop(project, signal.SIGTERM, 2).returncode == 143
    project.build()
    assert project.summary["tensors_reused"] >= 14
    project.check()


def test_a_models_folder_on_another_disk_keeps_them_itself(project: Project, elsewhere: Path) -> None:
    if elsewhere.stat().st_dev == project.folder.stat().st_dev:
        pytest.skip("it is the same file system")
    project.models = elsewhere / "models"
    stop(project, signal.SIGINT)
    (kept,) = unfinished(project.folder, elsewhere)
    assert kept.parent == project.models / ".modelbuild"
    assert "would remove  1 unfinished file, " in project.run("clean", "-n") and kept.exists()
    assert json.loads(project.run("--json", "clean", "-n"))["unfinished"] == [str(kept)]
    project.build()
    assert project.summary["tensors_reused"] >= AFTER
    assert not unfinished(project.folder, elsewhere) and not (project.models / ".modelbuild").exists()
    project.check()
    shutil.rmtree(project.cache)
    shutil.rmtree(project.models)
    stop(project, signal.SIGINT)
    project.run("clean")
    assert not unfinished(elsewhere)


def test_another_variant_copies_them(project: Project) -> None:
    stop(project, signal.SIGINT)
    project.write(
        "ModelBuild.toml", TOML.replace('from = "./weights"', 'from = "./weights"\nmetadata = { author = "me" }')
    )
    project.build()
    assert project.summary["tensors_reused"] >= AFTER
    project.check()


def test_damaged_tensors_are_computed(project: Project) -> None:
    stop(project, signal.SIGINT)
    (kept,) = unfinished(project.folder)
    flip(kept, kept.stat().st_size - 10)
    project.build()
    assert not unfinished(project.folder)
    tree = project.tree()
    project.build(cache=project.folder / "other", models=project.folder / "clean")
    assert tree == project.tree(project.folder / "clean")


def test_cleaning_the_cache_removes_them(project: Project) -> None:
    stop(project, signal.SIGINT)
    assert "unknown" not in project.run("clean", "--cache") + project.errors
    assert not unfinished(project.folder)
    project.build()
    assert project.summary["tensors_computed"] == 21
    project.check()


def test_what_is_forced_begins_anew(project: Project) -> None:
    stop(project, signal.SIGINT)
    project.build("--force")
    assert not unfinished(project.folder)
    assert project.summary["tensors_computed"] == 21
    project.check()
