from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from modelbuild.files import DAY
from modelbuild.runners._folder import PREFIX, Folder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_there_until_it_is_cleaned_up(temporary: Path) -> None:
    folder = Folder()
    (Path(folder.name) / "log").write_text("x")
    assert os.listdir(temporary) == [os.path.basename(folder.name)]
    folder.cleanup()
    folder.cleanup()
    assert os.listdir(temporary) == []


def test_the_folder_of_a_process_that_was_killed_goes_and_no_other(temporary: Path) -> None:
    code = "import sys, time; from modelbuild.runners._folder import Folder; print(Folder().name, flush=True); time.sleep(60)"
    environment = {**os.environ, "TMPDIR": str(temporary)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    names = [process.stdout.readline().strip() for process in processes if process.stdout]
    (temporary / f"{PREFIX}young").mkdir()
    (temporary / f"{PREFIX}old").mkdir()
    os.utime(temporary / f"{PREFIX}old", (time.time() - 2 * DAY,) * 2)
    (temporary / "elsewhere").mkdir()
    (temporary / f"{PREFIX}link").symlink_to("elsewhere")
    (temporary / f"{PREFIX}file").touch()
    processes[0].send_signal(signal.SIGKILL)
    processes[0].wait()
    folder = Folder()
    left = sorted(os.listdir(temporary))
    others = [f"{PREFIX}{each}" for each in ("file", "link", "young")]
    assert left == sorted(["elsewhere", *others, os.path.basename(names[1]), os.path.basename(folder.name)])
    folder.cleanup()
    processes[1].kill()
    for process in processes:
        process.wait()
        if process.stdout:
            process.stdout.close()


def test_one_that_is_taken_for_a_dead_ones_before_it_is_locked_is_made_again(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, lost = fcntl.flock, list[Path]()

    def late(lock: int, how: int) -> None:
        if not lost:
            lost.extend(temporary.iterdir())
            shutil.rmtree(lost[0])
        flock(lock, how)

    monkeypatch.setattr(fcntl, "flock", late)
    folder = Folder()
    assert [str(path) for path in temporary.iterdir()] == [folder.name] != [str(lost[0])]
    folder.cleanup()
