"""A project that is built in this process: a start costs more than what such tests look at."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from modelbuild.cli.main import main
from tests.e2e.project import Project


class InProcess(Project):
    """A project whose `run` starts no program."""

    def run(self, *words: str, code: int | None = 0, **places: Path) -> str:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            done = main(self.command(*words, **places)[3:])
        self.errors, self.code = err.getvalue(), done
        assert code is None or done == code, (done, out.getvalue(), self.errors)
        return out.getvalue()
