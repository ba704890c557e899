"""Programs of others: what they are kept from, what is kept of their words, and that nothing of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from modelbuild import _contain, contained
from modelbuild.errors import Stopped


def run(folder: Path, code: str, stop: threading.Event | None = None) -> contained.Ended:
    (folder / "made").mkdir(exist_ok=True)
    return contained.run(
        [sys.executable, "-I", "-S", "-c", code],
        folder=str(folder / "made"),
        within=str(folder),
        environment={"ONLY": "this"},
        log=str(folder / "log"),
        stop=stop or threading.Event(),
    )


def test_it_writes_in_its_folder_and_is_told_apart_by_its_exit(tmp_path: Path) -> None:
    code = "import os; open('made/x', 'w').write(os.environ['ONLY']); print('said', os.read(0, 1)); raise SystemExit(3)"
    ended = run(tmp_path, code)
    assert ended.code == 3 and (tmp_path / "made/x").read_text() == "this"
    assert (tmp_path / "log").read_text() == "said b''\n"
    assert run(tmp_path, "import os; os.kill(os.getpid(), 9)").code in (
        0,
        137,
    )  # the first process of a namespace cannot
    assert contained.run(
        ["/none"], folder=str(tmp_path), within="/", environment={}, log=str(tmp_path / "log"), stop=threading.Event()
    ).code == 126  # fmt: skip
    assert "/none: No such file" in (tmp_path / "log").read_text()


def test_what_it_is_kept_from_is_so(tmp_path: Path) -> None:
    code = (
        "import socket; print(socket.socket().connect_ex(('192.0.2.1', 9)))\n"
        "try: open('outside', 'w')\nexcept OSError as error: print(error.errno)"
    )
    given = run(tmp_path, code).given
    lines = (tmp_path / "log").read_text().split()
    if given.network:
        assert lines[0] == "101"
    assert (tmp_path / "outside").exists() == (not given.files)


def test_without_namespaces_it_runs_all_the_same(tmp_path: Path) -> None:
    script = tmp_path / "contain.py"
    text = Path(_contain.__file__).read_text()
    script.write_text(text.replace("    libc = ", "    raise OSError(1, 'no')\n    libc = "))
    assert script.read_text() != text
    told, theirs = os.pipe()
    still, end = os.pipe()
    done = subprocess.run(
        [sys.executable, "-I", script, str(theirs), tmp_path, sys.executable, "-c", "print('well')"],
        start_new_session=True,
        pass_fds=[theirs],
        stdin=still,
        capture_output=True,
        text=True,
        check=True,
    )
    os.close(still)
    os.close(end)
    os.close(theirs)
    assert (done.stdout, os.read(told, 10)) == ("well\n", b"")
    os.close(told)


def test_stopped_it_leaves_no_process(tmp_path: Path) -> None:
    stop = threading.Event()
    code = (
        "import subprocess, time; subprocess.Popen(['/bin/sleep', '765.4321'])\n"
        "open('made/begun', 'w').close(); time.sleep(600)"
    )

    def when_begun() -> None:
        while not (tmp_path / "made/begun").exists():
            time.sleep(0.02)
        stop.set()

    threading.Thread(target=when_begun).start()
    with pytest.raises(Stopped):
        run(tmp_path, code, stop)
    assert not sleeping("765.4321")


def sleeping(seconds: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[-2:-1] == [seconds.encode()]:
            return True
    return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes in /proc")
def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    code = (
        "import threading; from modelbuild import contained\n"
        f"contained.run(['/bin/sleep', '765.4322'], folder={str(tmp_path)!r}, within='/', environment={{}}, "
        f"log={str(tmp_path / 'log')!r}, stop=threading.Event())"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while not sleeping("765.4322") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sleeping("765.4322")
    process.send_signal(signal.SIGKILL)
    process.wait()
    while sleeping("765.4322") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not sleeping("765.4322")


def test_a_flood_of_words_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contained, "LOG_LIMIT", 1 << 17)
    monkeypatch.setattr(contained, "_TAIL", 1 << 17)
    run(tmp_path, "print('first'); [print('x' * 1000) for _ in range(2000)]; print('last')")
    said = (tmp_path / "log").read_text()
    assert said.startswith("first") and said.endswith("last\n") and len(said) < 1 << 19
