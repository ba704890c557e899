"""Builds that are killed, run out of space, may not write, or run beside one another: nothing is lost, nothing is ever half there."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.project import Project

INTERRUPTS = 3

TOML = """
[defaults]
quantize = "q8_0"
[model.chat]
from = "./weights"
system = "You are killed."
[model.chat.matrix]
quantize = ["f16", "q4_K_M", "q8_0"]
[model.copy]
from = "chat:q8_0"
quantize = "none"
parameters = { temperature = 0.5, stop = ["a", "b"] }
"""


def new(folder: Path) -> Project:
    project = Project(folder)
    project.write("ModelBuild.toml", TOML)
    project.checkpoint(layers=6, intermediate=2048)
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return new(tmp_path / "project")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a build makes that nothing interrupts."""
    project = new(tmp_path_factory.mktemp("clean") / "project")
    project.build()
    return project.tree()


@pytest.mark.parametrize("enough", [4, pytest.param(100, marks=pytest.mark.peer)])
def test_killed_at_any_moment_the_next_build_goes_on(enough: int, project: Project, expected: dict[str, bytes]) -> None:
    moments = random.Random(5)
    begun = time.perf_counter()
    subprocess.run(project.command(), check=True, capture_output=True)
    whole = time.perf_counter() - begun
    shutil.rmtree(project.models)
    shutil.rmtree(project.cache)
    kills = 0
    while kills < enough:
        with subprocess.Popen(project.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(moments.uniform(0.05, 1.1) * whole)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += 1
        if project.models.exists():
            project.check()
            assert {path.name for path in project.models.iterdir()} <= {"blobs", "manifests", ".modelbuild"}
        if process.returncode == 0:
            assert project.tree() == expected
            shutil.rmtree(project.models)
            if moments.random() < 0.5:
                shutil.rmtree(project.cache)
    project.build()
    assert project.tree() == expected
    assert not (project.models / ".modelbuild").exists() or not any((project.models / ".modelbuild").iterdir())


def test_interrupts_are_clean(project: Project) -> None:
    moments = random.Random(7)
    for _ in range(INTERRUPTS):
        shutil.rmtree(project.cache, ignore_errors=True)
        process = subprocess.Popen(project.command("-v"), stderr=subprocess.PIPE, text=True)
        assert process.stderr
        first = next(line for line in process.stderr if not line.startswith(("note: ", "  ")))
        assert first.startswith("run")
        time.sleep(moments.uniform(0, 0.03))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode in (0, 130)
        assert "Traceback" not in errors
        if process.returncode:
            assert "interrupted" in errors
        assert not list(project.folder.rglob(".tmp-*"))
    project.build()
    project.check()


def is_small(event: dict[str, Any], folder: Path) -> bool:
    """Whether a step made a text, config or manifest, which takes less than to wait for somebody else."""
    blob = folder / event["digest"].replace(":", "-")
    return event["kind"] in ("layer", "config", "manifest") and (not blob.exists() or blob.stat().st_size < 10_000)


def test_two_builds_at_once_share_the_work(project: Project, expected: dict[str, bytes]) -> None:
    processes = [subprocess.Popen(project.command("--json"), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    ran = [
        event["step"]
        for output in outputs
        for event in map(json.loads, output.splitlines())
        if event["event"] == "step" and event["state"] == "ran" and not is_small(event, project.folder / "models/blobs")
    ]
    assert ran
    assert len(ran) == len(set(ran))
    project.check()
    assert project.tree() == expected


as_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root, to mount a small file system or to become somebody else"
)


@as_root
@pytest.mark.parametrize(
    ("full", "size"),
    [("models", "300k"), ("models", "2m"), ("models", "9m"), ("cache", "60k"), ("cache", "150k"), ("cache", "220k")],
)
def test_full_disk_is_an_error_and_loses_nothing(
    project: Project, size: str, full: str, expected: dict[str, bytes]
) -> None:
    """In a mount namespace of its own: a build onto a small tmpfs, then one with the tmpfs grown."""
    place = project.folder / full
    place.mkdir()
    build = " ".join(project.command())
    script = f"""
set -u
mount -t tmpfs -o size={size} none {place} || exit 77
{build}; echo "first: $?"
cp -a {project.models}/. {project.folder}/after 2>/dev/null
mount -o remount,size=400m {place}
{build} >&2; echo "second: $?"
cp -a {project.models}/. {project.folder}/finished
"""
    done = subprocess.run(["unshare", "-m", "bash", "-c", script], capture_output=True, text=True, timeout=100)
    if done.returncode == 77:
        pytest.skip("mounting is not allowed here")
    assert re.search("first: [12]", done.stdout), (done.stdout, done.stderr)
    assert "second: 0" in done.stdout, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert re.search(r"error: .*(no space left|not enough space)", done.stderr), done.stderr
    assert "hint" in done.stderr
    if (project.folder / "after/manifests").exists():
        project.check(project.folder / "after")
    project.check(project.folder / "finished")
    assert project.tree(project.folder / "finished") == expected


def unprivileged(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    """Run without the right to pass over permissions, which root has."""
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    return subprocess.run([*drop, *project.command(*words)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("closed", ["models", "cache"])
def test_folder_without_write_permission_is_an_error(project: Project, closed: str) -> None:
    folder = project.folder / closed
    folder.mkdir()
    folder.chmod(0o555)
    done = unprivileged(project)
    folder.chmod(0o755)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert re.search("permission denied|unable to open|readonly", done.stderr), done.stderr
    assert "hint" in done.stderr
    assert not list(folder.iterdir())


@pytest.mark.parametrize("closed", ["models/blobs", "models/manifests", "cache/blobs"])
def test_folder_closed_after_a_build_is_an_error(project: Project, closed: str) -> None:
    project.build()
    before = project.tree()
    project.write("ModelBuild.toml", TOML.replace("killed", "shut out"))
    folder = project.folder / closed
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    done = unprivileged(project)
    for path in folders:
        path.chmod(0o755)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "permission denied" in done.stderr, done.stderr
    if closed != "models/manifests":
        assert project.tree() == before
    project.check()
    project.build()
    assert project.blob("chat:q8_0", "system") == b"You are shut out."


@pytest.mark.parametrize("words", [(), ("-n",), ("explain",), ("-n", "--explain")])
def test_unreadable_weights_are_an_error(project: Project, words: tuple[str, ...]) -> None:
    (project.folder / "weights/model.safetensors").chmod(0)
    done = unprivileged(project, *words)
    assert done.returncode == 1, done.stderr
    assert "weights/model.safetensors: cannot be read: permission denied" in done.stderr
    assert "used by" in done.stderr
    assert "Traceback" not in done.stderr
    done = unprivileged(project, "--json", *words)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events][-2:] == ["error", "summary"]
    assert events[-1]["ran"] == 0 and events[-1]["failed"] > 0


def test_dry_run_tells_of_what_needs_no_unreadable_file(project: Project) -> None:
    project.checkpoint("other")
    project.write("ModelBuild.toml", TOML + '[model.other]\nfrom = "./other"\n')
    (project.folder / "weights/model.safetensors").chmod(0)
    done = unprivileged(project, "-n")
    assert done.returncode == 1, done.stderr
    assert "run      other/convert" in done.stdout and "chat/convert" not in done.stdout


@pytest.mark.parametrize(
    ("closed", "words"),
    [("models", ("clean",)), ("models/manifests", ("clean",)), ("cache/blobs", ("clean", "--cache"))],
)
def test_clean_of_a_folder_that_cannot_be_written_fails(project: Project, closed: str, words: tuple[str, ...]) -> None:
    project.build()
    folder = project.folder / closed
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    done = unprivileged(project, *words)
    for path in folders:
        path.chmod(0o755)
    assert done.returncode == 1, done.stderr
    assert "hint" in done.stderr and "removed" not in done.stdout
    assert "Traceback" not in done.stderr
    project.check()
