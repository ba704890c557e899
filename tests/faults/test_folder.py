"""What the cases rely on is not blind: each kind of damage to a models folder is told of, and the shim meets each kind of call."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import shim
from tests.faults.folder import LIBRARY, Theirs, examine, look, prune, scratch

needs_shim = pytest.mark.skipif(shim.missing() is not None, reason=str(shim.missing()))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    Theirs(tmp_path / "models", "good", [b"{}", b"weights"]).put()
    return tmp_path / "models"


def blob(models: Path, data: bytes) -> Path:
    return next(path for path in (models / "blobs").iterdir() if path.read_bytes() == data)


def test_a_whole_folder_is_whole(models: Path) -> None:
    assert examine(models) == []
    assert examine(models / "absent") == []


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing blob": lambda models: blob(models, b"weights").unlink(),
    "wrong bytes": lambda models: blob(models, b"weights").write_bytes(b"wEights"),
    "wrong size": lambda models: (models / LIBRARY / "good/latest").write_text(
        (models / LIBRARY / "good/latest").read_text().replace('"size": 7', '"size": 8')
    ),
    "foreign in the models folder: blobs/x": lambda models: (models / "blobs/x").write_text(""),
    "foreign in the models folder: x": lambda models: (models / "x").mkdir(),
    "foreign in the models folder: manifests/x": lambda models: (models / "manifests/x").write_text(
        json.dumps({"config": {"digest": "sha256:0", "size": 0}, "layers": []})
    ),
    "not a manifest": lambda models: (models / LIBRARY / "good/latest").write_text("{"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_told_of(what: str, models: Path) -> None:
    DAMAGE[what](models)
    assert any(each.startswith(what) for each in examine(models)), examine(models)


def test_scratch_is_no_part_of_a_folder_but_is_seen(models: Path) -> None:
    (models / "blobs/.modelbuild").mkdir()
    (models / "blobs/.modelbuild/.tmp-1").write_text("")
    assert examine(models) == []
    assert scratch(models) == ["blobs/.modelbuild", "blobs/.modelbuild/.tmp-1"]


def test_theirs_are_removed_as_a_server_does(models: Path) -> None:
    sharing = Theirs(models, "other", [b'{"a": 1}', b"weights"])
    sharing.put()
    before = look(models.rglob("good/latest"))
    sharing.remove()
    prune(models)
    assert examine(models) == []
    assert {path.read_bytes() for path in (models / "blobs").iterdir()} == {b"{}", b"weights"}
    assert not (models / LIBRARY / "other").exists()
    assert look(map(Path, before)) == before


SCRIPT = """
import fcntl, os, sys
from tests.faults import shim
root, what, error = sys.argv[1], int(sys.argv[2]), 28
calls = {
    "open": lambda: os.open(f"{root}/new", os.O_WRONLY | os.O_CREAT),
    "write": lambda: os.write(file, b"x"),
    "sync": lambda: os.fsync(file),
    "rename": lambda: os.replace(f"{root}/there", f"{root}/there"),
    "link": lambda: os.link(f"{root}/there", f"{root}/link"),
    "unlink": lambda: os.unlink(f"{root}/there"),
    "mkdir": lambda: os.mkdir(f"{root}/folder"),
    "rmdir": lambda: os.rmdir(f"{root}/empty"),
    "flock": lambda: fcntl.flock(file, fcntl.LOCK_EX),
    "lock": lambda: fcntl.lockf(file, fcntl.LOCK_EX),
    "chmod": lambda: os.chmod(file, 0o600),
    "truncate": lambda: os.ftruncate(file, 3),
    "times": lambda: os.utime(f"{root}/there"),
    "clone": lambda: fcntl.ioctl(file, 0x40049409, file),
}
open(f"{root}/there", "w").close()
os.mkdir(f"{root}/empty")
file = os.open(f"{root}/there", os.O_RDWR)
log = os.open(f"{root}-log", os.O_WRONLY | os.O_CREAT)
for kind, call in calls.items():
    shim.arm([root], shim.KINDS[kind], 1, what, error, log)
    os.stat(root), os.open(f"{root}/there", os.O_RDONLY), os.mkdir(f"{root}-beside-{kind}")
    try:
        call()
    except OSError as failed:
        if failed.errno == error:
            print(kind)
"""


def scripted(folder: Path, what: int, library: Path) -> subprocess.CompletedProcess[str]:
    (folder / "root").mkdir()
    words = [sys.executable, "-c", SCRIPT, str(folder / "root"), str(what)]
    return subprocess.run(
        words, env=shim.environment(library), capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )


@needs_shim
def test_each_kind_of_call_is_met_once(tmp_path: Path) -> None:
    done = scripted(tmp_path, shim.FAIL, shim.build(tmp_path))
    assert done.stdout.split() == list(shim.KINDS), done.stderr
    met = [line.split()[:2] for line in (tmp_path / "root-log").read_text().splitlines()]
    assert met == [["1", kind] for kind in shim.KINDS]


@needs_shim
@pytest.mark.parametrize(("what", "code"), [(shim.KILL, -signal.SIGKILL), (shim.INTERRUPT, -signal.SIGINT)])
def test_signals_come_at_the_call(what: int, code: int, tmp_path: Path) -> None:
    done = scripted(tmp_path, what, shim.build(tmp_path))
    assert done.returncode == code and not done.stdout, done
    assert (tmp_path / "root/new").exists() == (what == shim.INTERRUPT)
    assert os.listdir(tmp_path / "root")


def test_a_spare_blob_may_lie_there_if_it_is_whole(models: Path) -> None:
    folder = models / "blobs/.modelbuild/spare"
    folder.mkdir(parents=True)
    whole = folder / blob(models, b"weights").name
    whole.write_bytes(b"weights")
    assert scratch(models) == []
    whole.write_bytes(b"wEights")
    assert scratch(models) == ["blobs/.modelbuild/spare", f"blobs/.modelbuild/spare/{whole.name}"]
    whole.unlink()
    assert scratch(models) == ["blobs/.modelbuild", "blobs/.modelbuild/spare"]
