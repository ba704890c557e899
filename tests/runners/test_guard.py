"""The guard of a server ends with it, and ends it when whoever started both is gone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from modelbuild.runners import _guard

SERVER = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(600)"


def started(*program: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-S", _guard.__file__, *program]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def is_there(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def test_the_exit_code_of_the_program() -> None:
    with started(sys.executable, "-c", "raise SystemExit(3)") as guard:
        assert guard.wait(60) == 3


def test_a_program_that_cannot_be_started(tmp_path: Path) -> None:
    program = tmp_path / "llama-server"
    program.write_bytes(b"\x7fELF of another machine")
    program.chmod(0o755)
    done = subprocess.run([sys.executable, _guard.__file__, str(program)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 126 and str(program) in done.stderr and "Traceback" not in done.stderr


def test_the_program_ends_with_the_input() -> None:
    with started(sys.executable, "-c", SERVER) as guard:
        assert guard.stdin and guard.stdout
        server = int(guard.stdout.readline())
        assert is_there(server)
        guard.stdin.close()
        assert guard.wait(60) != 0
        end = time.monotonic() + 60
        while is_there(server) and time.monotonic() < end:
            time.sleep(0.02)
        assert not is_there(server)


def test_the_program_gets_no_input(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with started(sys.executable, "-c", f"import sys; open({str(seen)!r}, 'w').write(repr(sys.stdin.read()))") as guard:
        assert guard.wait(60) == 0
    assert seen.read_text() == "''"
