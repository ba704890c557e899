"""What is said of a fault that nobody foresaw."""

from __future__ import annotations

import errno
import io
import os
import re
from pathlib import Path

import pytest

import modelbuild
from modelbuild import digest, internal_error
from modelbuild.cli.report import Report

ROOT = Path(modelbuild.__file__).parent


def raised(act: object) -> BaseException:
    with pytest.raises(BaseException) as caught:
        act()  # type: ignore[operator]
    return caught.value


def test_it_names_our_innermost_places_and_how_to_report_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(internal_error.SHOWN, raising=False)
    error = raised(lambda: digest.canonical({1, 2}))
    first, place, *rest = internal_error.described(error).splitlines()
    assert first == "internal error: TypeError: Object of type set is not JSON serializable"
    assert re.fullmatch(r"  at       modelbuild/digest\.py:\d+ in canonical", place)
    assert rest[0].startswith(f"  version  modelbuild {modelbuild.__version__}, Python ")
    assert "Traceback" not in internal_error.described(error)
    monkeypatch.setenv(internal_error.SHOWN, "1")
    assert internal_error.described(error).startswith("Traceback")


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_stream_that_cannot_be_written_is_told_from_a_file() -> None:
    ours = raised(lambda: Report(out=Full()).result("x"))
    assert isinstance(ours, OSError) and internal_error.of_streams(ours)
    theirs = raised(lambda: digest.file_xxh3("/nowhere/at/all"))
    assert isinstance(theirs, OSError) and not internal_error.of_streams(theirs)
    unnamed = raised(lambda: Full().write("x"))
    assert isinstance(unnamed, OSError) and not internal_error.of_streams(unnamed)


def test_the_modules_that_write_to_the_terminal_are_known() -> None:
    writes = re.compile(r"sys\.std(out|err)\.write|\b(err|out)\.write|click\.echo|\bprint\(")
    found = {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py") if writes.search(path.read_text())}
    assert found == set(internal_error.WRITERS)
