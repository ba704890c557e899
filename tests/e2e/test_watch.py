"""`modelbuild watch`: what counts as a change, how long it waits, and what it does where places vanish or events are missing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.project import Project

TOML = """
[project]
modelfiles = ["*/Modelfile"]
[model.base]
from = "%s"
"""
CHAT = "FROM base\nSYSTEM %s\n"
LIMIT = 60.0
"""Seconds after which a wait for something fails: far more than is needed, since machines are busy."""

PROGRAM = """
import sys
from modelbuild.session import watcher
from modelbuild.cli.main import main

watcher.PERIOD, watcher.PATIENCE = 0.4, 0.8  # the same program, quicker
sys.exit(main(sys.argv[1:]))
"""


class Watch:
    """A project being watched. The models folder, the cache and the log lie outside of it."""

    def __init__(self, folder: Path, weights: str = "./weights") -> None:
        self.outside = folder
        self.project = Project(folder / "project")
        self.project.folder.mkdir()
        self.project.models = folder / "models"
        self.project.cache = folder / "cache"
        self.log = folder / "log"
        self.project.write("ModelBuild.toml", TOML % weights)
        self.project.write("chat/Modelfile", CHAT % "one")

    def command(self, *words: str, program: str = PROGRAM) -> list[str]:
        """What watches the folder that it is started in."""
        command = self.project.command("watch", *words)
        at = command.index("-C")
        return [sys.executable, "-c", program, *command[3:at], *command[at + 2 :]]

    @contextmanager
    def running(self, *words: str, program: str = PROGRAM) -> Iterator[None]:
        """Watch until the block ends; then Ctrl-C must end it."""
        with self.started(self.command(*words, program=program)):
            yield

    @contextmanager
    def started(self, command: list[str], when: str = "Ctrl-C ends it") -> Iterator[None]:
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        with self.log.open("w") as out:
            process = subprocess.Popen(command, cwd=self.project.folder, env=env, stdout=out, stderr=out)
        try:
            self.until(lambda: when in self.text)
            yield
            assert process.poll() is None, self.text
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(LIMIT)
        assert code == 130, self.text
        assert "Traceback" not in self.text

    @property
    def text(self) -> str:
        return self.log.read_text()

    @property
    def builds(self) -> int:
        return len(re.findall(r"^\d+ models? (?:re)?built", self.text, re.MULTILINE))

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT
        while not holds():
            assert time.monotonic() < end, self.text
            time.sleep(0.02)

    def says(self, text: str, name: str = "chat") -> bool:
        """Whether the model in the models folder has this system prompt."""
        try:
            return self.project.blob(f"{name}:latest", "system") == text.encode()
        except (OSError, ValueError):
            return False

    def save(self, number: int) -> None:
        """Replace the Modelfile, as editors do: it is whole at any moment."""
        saved = self.outside / "saved"
        saved.write_text(CHAT % f"take {number}")
        saved.replace(self.project.folder / "chat" / "Modelfile")

    def edit(self, text: str) -> None:
        """Save the Modelfile and wait until the model is made of it."""
        self.project.write("chat/Modelfile", CHAT % text)
        self.until(lambda: self.says(text))


@contextmanager
def repeated(action: Callable[[int], object], seconds: float) -> Iterator[None]:
    """Do something over and over beside the block."""
    stop = threading.Event()

    def run() -> None:
        number = 0
        while not stop.wait(seconds):
            number += 1
            action(number)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write("step, loss\n")


def test_a_log_written_all_the_time_starts_nothing_and_puts_off_nothing(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.project.checkpoint()
    logs = [watch.project.folder / "train.log", watch.project.folder / "weights" / "train.log"]
    for log in logs:
        append(log)
    with watch.running():
        with repeated(lambda _: [append(log) for log in logs], 0.02):
            watch.edit("two")
            watch.until(lambda: watch.builds == 2)
            time.sleep(1.2)
        assert watch.builds == 2
        assert "nothing to do" not in watch.text


def test_changes_without_a_pause_are_built_after_a_while_and_the_last_one_too(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.project.checkpoint()
    with watch.running():
        with repeated(watch.save, 0.03):
            watch.until(lambda: watch.builds >= 2)
        watch.edit("at rest")
        # Just behind the quiet time: while the plan is made.
        with repeated(watch.save, 0.12):
            time.sleep(2)
        watch.edit("at rest again")
        assert "error" not in watch.text


def test_new_modelfiles_and_files_that_are_replaced_or_missing_count(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    with watch.running():
        assert "weights" in watch.text
        watch.project.checkpoint()  # what was missing comes
        watch.until(lambda: watch.says("one"))
        saved = watch.project.write("chat/.Modelfile.swp", CHAT % "replaced")
        saved.replace(watch.project.folder / "chat" / "Modelfile")
        watch.until(lambda: watch.says("replaced"))
        watch.project.write("other/Modelfile", "FROM base\n")
        watch.until(lambda: (watch.project.models / "manifests/registry.ollama.ai/library/other/latest").exists())
        watch.edit("and again")


def test_a_project_folder_that_is_removed_and_made_again_is_watched_again(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.project.checkpoint()
    copy = tmp_path / "copy"
    shutil.copytree(watch.project.folder, copy)
    with watch.running():
        shutil.rmtree(watch.project.folder)
        watch.until(lambda: "the project file was removed" in watch.text)
        (copy / "chat" / "Modelfile").write_text(CHAT % "back")
        copy.rename(watch.project.folder)
        watch.until(lambda: watch.says("back"))
        watch.edit("in the new folder")
        assert watch.text.count("error:") == 1


def test_a_folder_that_is_replaced_is_watched_again(tmp_path: Path) -> None:
    watch = Watch(tmp_path, weights=str(tmp_path / "outside" / "weights"))
    first = Project(tmp_path).checkpoint("outside/weights")
    second = Project(tmp_path).checkpoint("outside/new", layers=1)
    with watch.running():
        first.rename(first.with_name("old"))
        second.rename(first)
        watch.until(lambda: watch.builds == 2)
        config = first / "config.json"
        config.write_text(config.read_text().replace('"rms_norm_eps": 1e-05', '"rms_norm_eps": 1e-06'))
        watch.until(lambda: watch.builds == 3)


def test_the_target_of_a_link_is_watched_also_another_one(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.project.checkpoint()
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    (one / "Modelfile").write_text(CHAT % "one")
    (two / "Modelfile").write_text(CHAT % "two")
    file = watch.project.folder / "chat" / "Modelfile"
    file.unlink()
    file.symlink_to(one / "Modelfile")
    # Globs pass over links; what a table names is followed.
    watch.project.write("ModelBuild.toml", TOML % "./weights" + '[model.chat]\nmodelfile = "chat/Modelfile"\n')
    with watch.running():
        watch.until(lambda: watch.says("one"))
        (one / "Modelfile").write_text(CHAT % "at the target")
        watch.until(lambda: watch.says("at the target"))
        link = file.with_name("link")
        link.symlink_to(two / "Modelfile")
        link.replace(file)
        watch.until(lambda: watch.says("two"))
        (two / "Modelfile").write_text(CHAT % "at the other")
        watch.until(lambda: watch.says("at the other"))


WITHOUT_EVENTS = """
import errno, os, sys
from modelbuild.cli.main import main
from modelbuild.session import watcher
from modelbuild.session.inotify import INotify

def refuse(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

INotify.add_watch = refuse
watcher.PERIOD = 1.0
sys.exit(main(sys.argv[1:]))
"""


def test_files_are_polled_where_no_events_are_to_be_had(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.project.checkpoint()
    said = (
        "watching by polling every 1 s: the inotify limit is reached; raise fs.inotify.max_user_watches; Ctrl-C ends it"
    )
    with watch.running(program=WITHOUT_EVENTS):
        assert said in watch.text.splitlines()
        watch.edit("polled")
        assert watch.text.count("polling") == 1


def test_files_are_polled_where_that_is_asked_for(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.project.checkpoint()
    with watch.running("--poll", program=PROGRAM.replace("= 0.4, 0.8", "= 2.0, 2.0")):
        assert "watching by polling every 2 s; Ctrl-C ends it" in watch.text.splitlines()


def unshared(folder: Path, *options: str, script: str, command: list[str]) -> list[str]:
    """The command behind a shell script, in namespaces of its own, where this user may make some."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    outer = ["unshare", *options, "sh", "-c", f'{script} && exec env --default-signal=INT "$@"', "sh"]
    done = subprocess.run([*outer, "true"], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        pytest.skip(f"not permitted here: {done.stderr.strip()}")
    return [*outer, *command]


@pytest.mark.peer
def test_a_file_system_that_reports_nothing_is_looked_at(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.project.checkpoint()
    for name in ("work", "merged"):
        (tmp_path / name).mkdir()
    below = Path(shutil.copytree(watch.project.folder / "chat", tmp_path / "upper" / "chat")) / "Modelfile"
    script = f"cd '{tmp_path}' && mount -t overlay -o lowerdir=project,upperdir=upper,workdir=work overlay merged && cd merged"
    with watch.started(unshared(tmp_path, "-Urm", script=script, command=watch.command())):
        below.write_text(CHAT % "from below")
        watch.until(lambda: watch.says("from below"))


@pytest.mark.peer
def test_too_few_watches_are_said_and_files_polled(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.project.checkpoint()
    for number in range(6):
        watch.project.write(f"m{number}/Modelfile", "FROM base\n")
    script = "echo 4 > /proc/sys/user/max_inotify_watches"
    with watch.started(unshared(tmp_path, "-Ur", script=script, command=watch.command())):
        assert "raise fs.inotify.max_user_watches; Ctrl-C ends it" in watch.text
        watch.edit("polled")


def test_an_output_starts_no_build_and_is_made_again_with_the_next(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.project.checkpoint()
    toml = (TOML % "./weights").replace("[model.base]", '[model.base]\noutput = "chat/base.gguf"')
    watch.project.write("ModelBuild.toml", toml)
    file = watch.project.folder / "chat/base.gguf"
    with watch.running("-v"):
        watch.until(file.exists)
        time.sleep(2.5)
        assert watch.text.count("written    ") == watch.text.count("chat/manifest") == 1, watch.text
        file.unlink()
        watch.edit("two")
        watch.until(file.exists)


SLOW = """
import sys, time
from modelbuild.cli.main import main
from modelbuild.errors import Stopped
from modelbuild.session import watcher, worker

run, slow = worker.Worker.run, []

def held(self, action, step):
    if step.name == "base/model" and not slow:
        slow.append(True)
        sys.stderr.write("held\\n")
        sys.stderr.flush()
        if self.stop.wait({seconds}):
            raise Stopped
    return run(self, action, step)

worker.Worker.run = held
sys.exit(main(sys.argv[1:]))
"""
"""A program whose first heavy step takes long, and is stopped as others are."""


def test_a_build_that_an_edit_makes_obsolete_is_ended_at_once(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.project.checkpoint()
    command = watch.command("-v", program=SLOW.format(seconds=300))
    with watch.started(command, "held"):
        begun = time.monotonic()
        watch.edit("instead")
        assert time.monotonic() - begun < LIMIT / 2
        assert "chat/Modelfile changed; the build starts again" in watch.text
        assert "says: one" not in watch.text and "error" not in watch.text
        watch.until(lambda: "1 model" in watch.text or "2 models" in watch.text)
        assert re.search(r"cached +base/convert", watch.text), "what was finished is kept"


def test_a_build_goes_on_whatever_changes_nothing_of_it(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.project.checkpoint()
    with watch.started(watch.command(program=SLOW.format(seconds=1)), "held"):
        os.utime(watch.project.folder / "chat" / "Modelfile")
        watch.project.write("chat/notes.txt", "")
        watch.until(lambda: watch.says("one"))
        assert "again" not in watch.text


def test_two_hundred_edits_in_two_seconds_end_in_the_last(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.project.checkpoint()
    with watch.running():
        begun = time.monotonic()
        for number in range(200):
            watch.save(number)
            time.sleep(max(0.0, begun + (number + 1) * 0.01 - time.monotonic()))
        watch.until(lambda: watch.says("take 199"))
        time.sleep(1)
        builds = watch.builds
        time.sleep(1)
        assert watch.builds == builds < 100
        assert "error" not in watch.text
        watch.edit("at rest")


def test_a_project_file_that_is_broken_at_the_start_is_built_when_it_is_mended(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.project.checkpoint()
    text = (watch.project.folder / "ModelBuild.toml").read_text()
    watch.project.write("ModelBuild.toml", text + "[model.chat")
    with watch.running():
        assert watch.text.count("error:") == 1
        watch.project.write("ModelBuild.toml", text)
        watch.until(lambda: watch.says("one"))
        watch.project.write("ModelBuild.toml", text.replace("[model.base]", "[model.base]\nfrm = 1"))
        watch.until(lambda: "unknown key 'frm'" in watch.text)
        watch.project.write("ModelBuild.toml", text)
        watch.edit("two")


def test_the_cache_and_the_models_folder_may_lie_where_a_glob_looks(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.project.checkpoint()
    watch.project.cache, watch.project.models = (watch.project.folder / name for name in ("cache", "models"))
    watch.project.write("ModelBuild.toml", (TOML % "./weights").replace("*/Modelfile", "**/Modelfile"))
    with watch.running():
        watch.until(lambda: watch.says("one"))
        watch.edit("two")
        time.sleep(1)
        text = watch.text
        time.sleep(1)
        assert watch.text == text, "what a build writes starts no other"
        assert watch.builds == 2, text


def test_files_outside_the_project_and_texts_are_watched(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.project.checkpoint()
    outside = tmp_path / "outside"
    outside.mkdir()
    watch.project.checkpoint("../outside/weights")
    (outside / "system.txt").write_text("from a file")
    watch.project.write(
        "ModelBuild.toml",
        TOML % "./weights"
        + '[model.other]\nfrom = "../outside/weights"\nsystem = { file = "../outside/system.txt" }\n',
    )
    with watch.running():
        watch.until(lambda: watch.says("from a file", "other"))
        (outside / "system.txt").write_text("edited")
        watch.until(lambda: watch.says("edited", "other"))
        before = watch.project.manifest("other:latest")
        shutil.rmtree(outside / "weights")
        watch.until(lambda: "no such file or folder" in watch.text)
        watch.project.checkpoint("../outside/weights", layers=1)
        watch.until(lambda: watch.project.manifest("other:latest") != before)
        watch.edit("and the project too")


def test_each_round_says_when_and_what(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.project.checkpoint()
    with watch.running():
        watch.edit("two")
        watch.project.write("chat/Modelfile", "# a comment\n" + CHAT % "two")
        watch.until(lambda: watch.text.count("chat/Modelfile changed") == 2)
        watch.project.write("more/Modelfile", "FROM base\n")
        watch.until(lambda: re.search(r"^\d\d:\d\d:\d\d  more added$", watch.text, re.MULTILINE) is not None)


def test_rounds_are_objects_with_json(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.project.checkpoint()
    with watch.running("--json"):
        watch.edit("two")
        watch.until(lambda: watch.text.count('"event": "summary"') == 2)
    events = [json.loads(line) for line in watch.text.splitlines() if line.startswith("{")]
    rounds = [each for each in events if each["event"] == "round"]
    assert [each["changed"] for each in rounds] == [{}, {str(watch.project.folder / "chat/Modelfile"): "changed"}]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", each["time"]) for each in rounds)
    assert not any(each["restarted"] for each in rounds)


def test_what_a_broken_model_was_made_of_counts_when_it_is_mended(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    project = watch.project
    project.checkpoint()
    texts = ["license.txt", "other.txt"]
    for name in texts:
        project.write(name, "one")
    table = '\n[model.%s]\nlicense = [{ file = "%s" }]\n'
    project.write("ModelBuild.toml", TOML % "./weights" + table % ("own", texts[0]) + table % ("other", texts[1]))
    project.write("own/Modelfile", "FROM base\nSYSTEM own\n")
    project.write("other/Modelfile", "FROM own\nSYSTEM other\n")

    def is_licensed(text: str) -> bool:
        try:
            return all(project.blob(f"{name}:latest", "license") == text.encode() for name in ("own", "other"))
        except (OSError, ValueError):
            return False

    with watch.running(program=PROGRAM.replace("0.4, 0.8", "1e6, 0.8")):
        watch.until(lambda: is_licensed("one"))
        for number, text in enumerate(("two", "three")):
            project.write("own/Modelfile", f"FROM bass{number}\n")
            watch.until(lambda name=f"'bass{number}'": name in watch.text)  # type: ignore[misc]
            for name in texts:
                project.write(name, text)
            time.sleep(0.2)
            project.write("own/Modelfile", f"FROM base\nSYSTEM {text}\n")
            watch.until(lambda text=text: watch.says(text, "own") and is_licensed(text))  # type: ignore[misc]
            for name in texts:
                project.write(name, f"{text} more")
            watch.until(lambda text=text: is_licensed(f"{text} more"))  # type: ignore[misc]
