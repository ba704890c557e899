"""How the program starts, quickly, and how it ends: exit codes, interrupts, streams that are closed or full."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelbuild import __version__
from modelbuild.cli import main
from modelbuild.cli.invocation import Invocation
from modelbuild.errors import Error, Errors


@pytest.mark.parametrize("words", [["a\udcff"], ["list", "-C", "\udc80"]])
def test_an_argument_that_is_no_text_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.match(r"error: argument 'a?\\x(ff|80)' is not UTF-8\n", err)


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    from modelbuild.cli.commands import build

    def run(call: Invocation, **values: Any) -> int:
        raise error

    monkeypatch.setattr(build, "run", run)


@pytest.mark.parametrize("words", [["chat"], ["-k"]])
def test_errors_of_the_project_are_all_shown_and_are_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    raising(monkeypatch, Errors([Error("one"), Error("two", hint="look")]))
    assert main.main(words) == 2
    assert capsys.readouterr() == ("", "error: one\n\nerror: two\n  hint  look\n")


@pytest.mark.parametrize("words", [["chat"], ["-k"]])
def test_an_interrupt_is_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    raising(monkeypatch, KeyboardInterrupt())
    assert main.main(words) == 130
    assert capsys.readouterr() == ("", "interrupted\n")


def test_an_interrupt_says_what_is_kept(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ended = KeyboardInterrupt()
    ended.add_note("half of it is kept")
    raising(monkeypatch, ended)
    assert main.main(["chat"]) == 130
    assert capsys.readouterr() == ("", "interrupted; half of it is kept\n")


def python(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=60, env={**os.environ, **env}, check=False
    )


def test_the_version_is_printed_before_anything_is_imported() -> None:
    done = python("-X", "importtime", "-m", "modelbuild", "--version")
    assert done.stdout == f"modelbuild {__version__}\n"
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "import time:" in line}
    ours = {name for name in imported if name.startswith("modelbuild")}
    assert ours <= {
        "modelbuild",
        "modelbuild.cli",
        "modelbuild.cli.main",
        "modelbuild.cli.invocation",
        "modelbuild.__main__",
    }
    assert not imported & {
        "click",
        "rich",
        "numpy",
        "pydantic",
        "sqlite3",
        "json",
        "dataclasses",
        "argparse",
        "asyncio",
    }


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from modelbuild.cli import main as cli; cli.main(['--help'])\n"
        "print(sorted({'numpy', 'gguf', 'pydantic', 'rich', 'safetensors', 'tomllib', 'urllib3'} & set(sys.modules)), file=sys.stderr)"
    )
    assert python("-c", script).stderr == "[]\n"


def test_a_closed_pipe_is_quiet() -> None:
    script = "import sys; from modelbuild.cli import main as cli; sys.exit(cli.main(['--help']))"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", script], stdout=write, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["schema"]])
def test_a_full_disk_under_stdout_is_1(words: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "modelbuild", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    told = b"error: the output cannot be written: no space left on device\n"
    assert (done.returncode, done.stderr) == (1, told)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_matter(closed: str) -> None:
    command = f'"{sys.executable}" -m modelbuild schema {closed}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert bool(done.stdout) == (closed == "2>&-")


def test_garbage_is_searched_for_while_a_command_runs(tmp_path: Path) -> None:
    code = """
import gc, sys
from modelbuild.cli import invocation, main
real = invocation.Invocation.close
def close(call):
    print(gc.isenabled(), gc.get_freeze_count() > 0)
    real(call)
invocation.Invocation.close = close
sys.argv = ["modelbuild", "schema"]
main.program()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1:] == ["True True"], done.stderr
    # What is frozen may die, so the number of it falls by itself.
    before = gc.get_freeze_count()
    main.main(["schema"])
    assert gc.isenabled() and gc.get_freeze_count() <= before


@pytest.mark.parametrize("words", ["", "list", "-C .. list", "../x.gguf -o y.gguf", "init", "export . out"])
def test_a_working_folder_that_was_removed_is_2(words: str, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    script = f'cd gone && rmdir ../gone && exec "{sys.executable}" -P -m modelbuild {words}'
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "error: the working folder was removed\n  hint  change to a folder that exists\n" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_under_stderr_is_1(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "modelbuild", "list"], cwd=tmp_path, stderr=full)
    assert done.returncode == 1
