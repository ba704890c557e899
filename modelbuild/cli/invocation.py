"""The settings and the end of a command, and the list of commands."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelbuild.cli.report import Report
    from modelbuild.session.session import Session
    from modelbuild.session.settings import Settings


GOOD = 0
FAILED = 1
WRONG = 2
INTERRUPTED = 130
INTERNAL = 70
"""EX_SOFTWARE of sysexits.h: a fault of ours."""
BROKEN_PIPE = 141
"""What a shell says of a program that a closed pipe ended (128 + SIGPIPE)."""

COMPLETE = "_MODELBUILD_COMPLETE"
"""The variable by which a shell asks for completions."""


class Invocation:
    """The input of a command: the common options, the report, and the project once it is asked for."""

    def __init__(self, settings: Settings, report: Report) -> None:
        from modelbuild.session.settings import options

        self.settings = settings
        self.report = report
        report.options = options(settings)
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """Raises Error or Errors where there is no project or no usable store."""
        if self._session is None:
            from modelbuild.cli.sentences import waiting
            from modelbuild.session.session import Session

            self._session = Session(self.settings, lambda path: self.report.note(waiting(path)))
            self.report.base = os.path.dirname(self._session.file)
        return self._session

    @contextmanager
    def writing_nothing(self) -> Iterator[Invocation]:
        """The same for a command that writes nothing: if there is no cache, a temporary one."""
        import tempfile

        from modelbuild.files import existing
        from modelbuild.session.settings import cache_folder

        folder = cache_folder(self.settings)
        if os.path.lexists(folder):
            yield self
            return
        try:
            # On the same file system: what a build would take of its space is asked.
            made = tempfile.TemporaryDirectory(prefix=".modelbuild-", dir=existing(folder))
        except OSError:
            yield self
            return
        with made as cache:
            told = self.report.options
            other = Invocation(self.settings._replace(cache=cache), self.report)
            self.report.options = told
            try:
                yield other
            finally:
                other.close()

    @property
    def has_project(self) -> bool:
        """Whether a project has been found."""
        return self._session is not None

    def close(self) -> None:
        """Close the session, if there is one; the next use opens another."""
        if self._session is not None:
            self._session.close()
            self._session = None


def is_command(word: str) -> bool:
    """Whether a word is a command: the name of a file in `commands/`."""
    if not word.isidentifier() or word.startswith("_"):
        return False
    from importlib.util import find_spec

    return find_spec(f"modelbuild.cli.commands.{word}") is not None


def commands() -> list[str]:
    """The names of all commands."""
    from pkgutil import iter_modules

    import modelbuild.cli.commands as folder

    return sorted(module.name for module in iter_modules(folder.__path__) if not module.name.startswith("_"))


def guarded(call: Invocation, run: Callable[[Invocation], int]) -> int:
    """Run a command; what is wrong with its input is printed and gives exit code 2."""
    import gc

    from modelbuild.errors import Error, Errors

    if not gc.isenabled():
        # What is imported by now stays to the end: no search for garbage need look at it, not even the last one.
        gc.freeze()
        # A plan is many objects and hardly any garbage: the usual thresholds cost a quarter of its time.
        gc.set_threshold(50_000, 50, 100)
        gc.enable()
    try:
        return run(call)
    except Error as error:
        call.report.errors([error])
    except Errors as errors:
        call.report.errors(errors.errors)
    finally:
        call.close()
    return WRONG


def invoked(values: dict[str, Any]) -> Invocation:
    """What the options say, by the names of their parameters."""
    from modelbuild.cli.report import Report
    from modelbuild.session.settings import Settings

    settings = Settings(**{key: values[key] for key in Settings._fields if values.get(key) is not None})
    report = Report(
        as_json=bool(values.get("as_json")),
        quiet=bool(values.get("quiet")),
        verbose=bool(values.get("verbose")),
        color=values.get("color") or "auto",
    )
    return Invocation(settings, report)


def merged(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Options before and after the command: repeatable options add up; of others the later one counts."""
    both = dict(before)
    for key, value in after.items():
        if isinstance(value, tuple):
            both[key] = (*both.get(key, ()), *value)
        elif value is not None:
            both[key] = value
    return both
