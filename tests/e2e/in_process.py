"""A project that is built in this process: a start costs more than what such tests look at."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path

from modelbuild.cli.main import main
from tests.e2e.project import Project
from tests.e2e.warm import ROOT, Done


def run(words: Sequence[str], folder: Path = ROOT, together: bool = False, **environment: str) -> Done:
    """What `warm.run` does, without a fork."""
    out, err = io.StringIO(), io.StringIO()
    before = dict(os.environ)
    try:
        os.environ.update(environment)
        with (
            contextlib.chdir(folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out if together else err),
        ):
            code = main(words)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return Done(code, out.getvalue(), err.getvalue())


class InProcess(Project):
    """A project whose `run` starts no program."""

    def run(self, *words: str, code: int | None = 0, **places: Path) -> str:
        done = run(self.command(*words, **places)[3:], Path.cwd())
        self.errors, self.code = done.err, done.code
        assert "Traceback" not in done.err, done.err
        assert code is None or done.code == code, done
        return done.out
