"""The options that every command takes, and what holds where they are left open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.session.settings import CACHE_LIMIT, Settings, cache_folder, cache_limit, folder_of, memory_limit


def test_the_cache_lies_where_it_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    for name in ("MODELBUILD_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    folder = os.path.realpath(tmp_path)
    assert cache_folder(Settings(folder)) == "/home/x/.cache/modelbuild"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder(Settings(folder)) == "/xdg/modelbuild"
    monkeypatch.setenv("MODELBUILD_CACHE", "ours")
    assert cache_folder(Settings(folder)) == f"{folder}/ours"
    assert cache_folder(Settings(folder, cache="~/theirs")) == "/home/x/theirs"


def test_the_limit_of_the_cache_is_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELBUILD_CACHE_LIMIT", raising=False)
    assert cache_limit() == CACHE_LIMIT
    monkeypatch.setenv("MODELBUILD_CACHE_LIMIT", "1000")
    assert cache_limit() == 1000
    monkeypatch.setenv("MODELBUILD_CACHE_LIMIT", "1 GB")
    with pytest.raises(Error, match="expects a number of bytes, got '1 GB'"):
        cache_limit()


def test_memory_is_the_option_or_a_part_of_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_limit(Settings(memory=5)) == 5
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1 << 18}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    assert memory_limit(Settings()) == 256 << 20
    pages["SC_PHYS_PAGES"] = 1 << 24
    assert memory_limit(Settings()) == 512 << 20


def test_a_folder_that_is_not_utf_8_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = os.fsencode(tmp_path) + b"/o\xff"
    try:
        os.mkdir(odd)
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    monkeypatch.chdir(os.fsdecode(odd))
    with pytest.raises(Error, match=r"o\\xff' is not UTF-8"):
        folder_of(Settings())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELBUILD_CACHE", os.fsdecode(odd))
    with pytest.raises(Error, match="is not UTF-8"):
        cache_folder(Settings())
