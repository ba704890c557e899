"""The view of a tool: what lies in it is what was hashed, and what was hashed alone. tests/e2e/test_tools.py runs tools in it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelbuild.digest import xxh3
from modelbuild.engine.action import ABSENT
from modelbuild.engine.graph import Source, Step
from modelbuild.engine.sources import Sources
from modelbuild.engine.stat_cache import StatCache
from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.session import foreign
from modelbuild.session.leaves import digesters


@pytest.fixture
def means(tmp_path: Path) -> Any:
    store = Store(str(tmp_path / "cache"))
    sources = Sources(StatCache(store.database), digesters())
    return SimpleNamespace(store=store, sources=sources, stop=threading.Event())


def view(
    means: Any, root: Path, files: dict[str, str], digests: dict[str, str] | None = None
) -> tuple[list[str], Path]:
    """What is started, and the folder, of a tool with these files by role."""
    inputs = []
    for number, (role, text) in enumerate(files.items()):
        path = root / f"{number}"
        path.write_text(text)
        inputs.append((role, Source(str(path), "bytes")))
    known = {role: xxh3(text.encode()) for role, text in files.items()} | (digests or {})
    folder = root / "work"
    folder.mkdir()
    step = Step("m/x", "tool", 1, "{}", tuple(inputs))
    return foreign.Program("sha256:0", known, step, means)._view(str(folder)), folder


FILES = {
    "interpreter": "python", "tool/run.py": "main", "tool/lib/part.py": "part", "tool/lib/same.py": "part",
    "tool/models/a.gguf": "data", "input/M/config.json": "{}", "input/M/gone.json": "x",
}  # fmt: skip


def test_its_own_files_are_copies_and_what_it_reads_are_links(means: Any, tmp_path: Path) -> None:
    start, folder = view(means, tmp_path, FILES, {"input/M/gone.json": ABSENT})
    assert start == [str(tmp_path / "0"), "-s", str(folder / "tool/run.py")]
    assert (folder / "tool/run.py").read_text() == "main" and not (folder / "tool/run.py").is_symlink()
    assert (folder / "tool/lib/same.py").read_text() == "part"
    assert os.readlink(folder / "tool/models/a.gguf") == str(tmp_path / "4")
    assert os.listdir(folder / "input/M") == ["config.json"]
    assert not os.stat(folder / "input/M").st_mode & 0o222
    foreign._remove(str(folder))
    assert not folder.exists() and (tmp_path / "5").read_text() == "{}"


@pytest.mark.parametrize("role", ["tool/run.py", "tool/models/a.gguf", "input/M/config.json", "interpreter"])
def test_another_revision_of_a_file_than_was_hashed_stops_it(means: Any, tmp_path: Path, role: str) -> None:
    with pytest.raises(Error, match="source changed during the build"):
        view(means, tmp_path, FILES, {role: xxh3(b"before")})


def test_logs_of_long_ago_go(tmp_path: Path) -> None:
    logs = tmp_path / foreign.LOGS
    logs.mkdir()
    for name, age in (("old", 2 * foreign.KEPT), ("new", 0)):
        (logs / name).touch()
        os.utime(logs / name, (0, (logs / name).stat().st_mtime - age))
    with foreign._workplace(str(tmp_path)) as folder:
        foreign._sweep(str(tmp_path))
        assert os.path.isdir(folder)
    assert os.listdir(logs) == ["new"] and os.listdir(tmp_path) == [foreign.LOGS]
