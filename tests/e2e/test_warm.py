"""A fork is the program: its words, folder, environment, streams and exit code, and nothing of the one before it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e import warm
from tests.e2e.project import Project


def test_a_fork_says_what_the_program_says(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.checkpoint()
    project.write("ModelBuild.toml", '[model.m]\nfrom = "./weights"\n')
    assert "1 model built" in warm.run(project.command()[3:]).err
    for words in (["show", "m"], ["nobody"], ["list", "--unknown"], ["--version"], ["check"], ["clean", "--help"]):
        found = warm.run(project.command(*words)[3:])
        done = subprocess.run(project.command(*words), capture_output=True, text=True)
        assert (found.code, found.out, found.err) == (done.returncode, done.stdout, done.stderr)


def test_a_fork_has_the_folder_the_environment_and_the_mask_of_who_asks(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.checkpoint()
    project.write("ModelBuild.toml", '[vars]\nword = "x"\n[model.m]\nfrom = "./weights"\nsystem = "${word}"\n')
    places = {"MODELBUILD_CACHE": "cache", "OLLAMA_MODELS": "models"}
    before = os.umask(0o077)
    try:
        assert warm.run([], tmp_path, MODELBUILD_VAR_word="y", **places).code == 0
    finally:
        os.umask(before)
    assert project.blob("m:latest", "system") == b"y"
    assert project.cache.stat().st_mode & 0o77 == 0
    assert warm.run([], tmp_path, **places).code == 0
    assert project.blob("m:latest", "system") == b"x"


def test_the_streams_of_a_fork_are_pipes(tmp_path: Path) -> None:
    Project(tmp_path).checkpoint()
    words = ["weights", "-o", "/dev/stdout"]
    apart = warm.run(words, tmp_path)
    together = warm.run(words, tmp_path, together=True)
    assert apart.code == together.code == 1 and (apart.out, together.err) == ("", "")
    assert "/dev/stdout: is not a regular file" in apart.err
    assert "/dev/stdout: is not a regular file" in together.out


@pytest.mark.parametrize("code", [0, 2, 130, 255, -9])
def test_every_exit_code_is_told(code: int, tmp_path: Path) -> None:
    # What an architecture of another package does while it is imported, the program does.
    act = f"import os, signal; os.kill(os.getpid(), signal.SIGKILL) if {code} < 0 else os._exit({code})"
    (tmp_path / "ending.py").write_text(act)
    info = tmp_path / "ending-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ending\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[modelbuild.architectures]\nEndingForCausalLM = ending:x\n")
    weights = Project(tmp_path).checkpoint()
    config = weights / "config.json"
    config.write_text(config.read_text().replace("LlamaForCausalLM", "EndingForCausalLM"))
    assert warm.run(["check", "./weights"], tmp_path, PYTHONPATH=f"{warm.ROOT}:{tmp_path}").code == code


def test_imports_decide_nothing_but_the_names_of_files_and_what_is_in_them() -> None:
    code = """
import functools, gc
from tests.e2e import warm
warm.import_everything()
gc.unfreeze()
kept = [each for each in gc.get_objects() if isinstance(each, functools._lru_cache_wrapper) and each.cache_info().currsize]
print(*sorted({each.__qualname__ for each in kept if each.__module__.startswith("modelbuild.")}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=warm.ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("get names pushed\n", "")
