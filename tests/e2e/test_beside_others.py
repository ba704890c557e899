"""Builds beside servers, other builds and hands that delete things: no model is lost, and what is wrong is said as it is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelbuild.cli import main
from modelbuild.engine.build import Build
from modelbuild.engine.rebuilder import Rebuilder
from modelbuild.publish.models_folder import ModelsFolder
from tests.e2e.project import Project

TOML = """
[defaults]
quantize = "q8_0"
[model.chat]
from = "./weights"
system = "You are here."
[model.other]
from = "chat"
quantize = "none"
system = "You are there."
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    project.write("ModelBuild.toml", TOML)
    project.checkpoint()
    return project


def here(project: Project, *words: str) -> int:
    """Run the command in this process."""
    return main.main(
        ["-C", str(project.folder), "--cache", str(project.cache), "--models", str(project.models), *words]
    )


def test_name_that_goes_during_the_build_is_not_taken_for_finished(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Build.run
    manifest = project.models / "manifests/registry.ollama.ai/library/chat/latest"

    def and_remove(self: Build) -> bool:
        good = run(self)
        manifest.unlink()
        time.sleep(0.1)  # old enough for a stamp
        return good

    with monkeypatch.context() as patch:
        patch.setattr(Build, "run", and_remove)
        assert here(project) == 0
    assert not manifest.exists()
    assert here(project) == 0
    assert manifest.exists()


def test_blob_that_a_server_takes_at_the_end_is_put_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    settle = Build._settle

    def and_remove(self: Build) -> None:
        for path in (project.models / "blobs").iterdir():
            path.unlink()
        settle(self)

    monkeypatch.setattr(Build, "_settle", and_remove)
    assert here(project) == 0
    project.check()


def test_everything_that_was_made_is_made_again_when_cache_and_blobs_go(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = Build._settle

    def and_remove(self: Build) -> None:
        shutil.rmtree(project.cache)
        shutil.rmtree(project.models / "blobs")
        settle(self)

    monkeypatch.setattr(Build, "_settle", and_remove)
    assert here(project) == 0
    project.check()


@pytest.mark.parametrize(("part", "when"), [(Rebuilder, "look_up"), (Build, "_execute"), (Build, "_finish_output")])
def test_cache_that_is_deleted_in_the_middle_costs_time(
    project: Project, part: type, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = getattr(part, when)
    left = [2]

    def and_remove(self: object, *values: object, **named: object) -> object:
        if left[0]:
            left[0] -= 1
            shutil.rmtree(project.cache, ignore_errors=True)
        return call(self, *values, **named)

    monkeypatch.setattr(part, when, and_remove)
    assert here(project) == 0
    project.check()


def test_records_that_are_wrong_are_not_believed(project: Project) -> None:
    project.build()
    expected = project.tree()
    shutil.rmtree(project.models)
    with sqlite3.connect(project.cache / "state.sqlite") as db:
        # Every result is another's.
        (one,) = db.execute("select artifact, size from action order by size limit 1")
        db.execute("update action set artifact = ?, size = ?", one)
    db.close()
    for path in (project.cache / "blobs").iterdir():
        path.unlink()
    project.run()
    assert "everything is rebuilt" in project.errors
    assert "deterministic" not in project.errors
    assert project.tree() == expected


def test_dry_run_reads_no_weights(project: Project) -> None:
    before = (project.folder / "weights/model.safetensors").stat().st_atime_ns
    project.run("list")  # makes the cache, which a dry run does not
    assert "run      chat/convert" in project.run("-n")
    with sqlite3.connect(project.cache / "state.sqlite") as db:
        hashed = [path for (path,) in db.execute("select path from file")]
    assert not any(path.endswith(".safetensors") for path in hashed), (hashed, before)
    project.run("-n", "--explain")
    project.build()
    assert project.run("-n") == ""


def test_as_many_jobs_as_anybody_asks_for(project: Project) -> None:
    project.run("-j", "1000000")
    project.check()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs limits of processes")
def test_no_more_threads_is_an_error(project: Project) -> None:
    code = (
        "import sys, threading\n"
        'def refuse(self):\n    raise RuntimeError("can\'t start new thread")\n'
        "threading.Thread.start = refuse\n"
        "from modelbuild.cli import main as cli\nsys.exit(cli.main(sys.argv[1:]))\n"
    )
    words = project.command()[3:]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "the system cannot start more threads" in done.stderr
    project.build()


def test_stopped_build_that_holds_a_lock_is_told_of(project: Project) -> None:
    project.build()
    project.write("ModelBuild.toml", TOML.replace("here", "everywhere"))
    scratch = project.models / ".modelbuild"
    scratch.mkdir(exist_ok=True)
    lock = scratch / "lock"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import fcntl, time\nf = open({str(lock)!r}, 'w')\nfcntl.flock(f, 2)\nprint(flush=True)\ntime.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    os.kill(holder.pid, signal.SIGSTOP)
    waiting = subprocess.Popen(project.command(), stderr=subprocess.PIPE, text=True)
    assert waiting.stderr is not None
    try:
        seen = ""
        while "waiting for another modelbuild" not in seen:
            line = waiting.stderr.readline()
            assert line, seen
            seen += line
        assert str(lock) in seen
    finally:
        holder.kill()
        holder.wait()
    assert waiting.wait(30) == 0
    project.check()


def test_interrupt_is_heard_while_a_lock_is_waited_for(project: Project) -> None:
    scratch = project.models / ".modelbuild"
    scratch.mkdir(parents=True)
    import fcntl

    with open(scratch / "lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = subprocess.Popen(project.command(), stderr=subprocess.PIPE, text=True)
        assert waiting.stderr is not None
        while "waiting" not in waiting.stderr.readline():
            pass
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(10) == 130


def test_name_that_no_file_can_have_is_an_error_before_the_work(project: Project) -> None:
    host = "h" * 300
    project.write("ModelBuild.toml", TOML.replace("[model.chat]", f'[model.chat]\nname = "{host}/n/chat"'))
    assert project.build(code=1).get("chat/convert") in (None, "skipped")
    assert "a part of 300 bytes" in project.errors
    assert not (project.models / "manifests").exists()
    project.run("check", code=1)
    assert "a part of 300 bytes" in project.errors


def test_folder_in_the_place_of_a_manifest_is_an_error_for_its_model_alone(project: Project) -> None:
    (project.models / "manifests/registry.ollama.ai/library/other/latest").mkdir(parents=True)
    project.build("-k", code=1)
    assert "a folder is in the place of the manifest" in project.errors
    assert project.blob("chat:latest", "system") == b"You are here."


def test_interrupt_leaves_no_replaced_model(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.build()
    project.write("ModelBuild.toml", TOML.replace("q8_0", "q4_K_M"))
    publish = ModelsFolder.publish_all
    with monkeypatch.context() as patch:

        def and_interrupt(self: ModelsFolder, *values: object) -> bool:
            changed = publish(self, *values)  # type: ignore[arg-type]
            os.kill(os.getpid(), signal.SIGINT)
            return changed

        patch.setattr(ModelsFolder, "publish_all", and_interrupt)
        assert here(project) == 130
    named = {
        layer["digest"].replace(":", "-")
        for path in (project.models / "manifests").rglob("latest")
        for layer in (lambda value: [value["config"], *value["layers"]])(json.loads(path.read_text()))
    }
    assert {path.name for path in (project.models / "blobs").iterdir()} == named
    project.build()
    project.check()


def test_what_nobody_foresaw_is_an_internal_error(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Panic(BaseException):
        """As of a library in Rust."""

    for fault in (RecursionError("too deep"), Panic("called `unwrap` on a `None` value"), OSError(5, "odd", "/file")):

        def fail(*_: object, fault: BaseException = fault) -> None:
            raise fault

        with monkeypatch.context() as patch:
            patch.setattr(Build, "_hash_sources", fail)
            assert here(project) == 70
        shown = capsys.readouterr().err
        assert f"internal error: {type(fault).__name__}" in shown or "Panic" in shown
        assert "modelbuild/engine/build.py:" in shown and "report it" in shown
        assert "Traceback" not in shown
        monkeypatch.setenv("MODELBUILD_TRACEBACK", "1")
        with monkeypatch.context() as patch:
            patch.setattr(Build, "_hash_sources", fail)
            assert here(project) == 70
        assert "Traceback" in capsys.readouterr().err
        monkeypatch.delenv("MODELBUILD_TRACEBACK")


def test_clean_says_what_it_leaves_in_the_cache_and_takes_one_of_two_switches(project: Project) -> None:
    project.build()
    (project.cache / "blobs/thesis.txt").write_text("mine")
    project.run("clean", "--stale", "--cache", code=2)
    assert "cannot be used together" in project.errors
    project.run("clean", "--cache")
    assert "1 file in" in project.errors and "stay" in project.errors
    assert [path.name for path in (project.cache / "blobs").iterdir()] == ["thesis.txt"]


def test_stat_cache_that_is_wrong_costs_one_build(project: Project) -> None:
    project.build()
    with sqlite3.connect(project.cache / "state.sqlite") as db:
        db.execute("update file set digest = 'xxh3:0'")
        db.execute("delete from kept")
        db.execute("delete from action")
    db.close()
    project.run(code=None)
    project.run()
    project.check()
