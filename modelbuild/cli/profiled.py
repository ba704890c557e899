"""A command with a trace of what each thread did when, written to a file."""

from __future__ import annotations

import json
from collections.abc import Callable

from modelbuild import trace
from modelbuild.cli.invocation import FAILED, WRONG, Invocation
from modelbuild.cli.written import checked, write
from modelbuild.errors import Stopped
from modelbuild.session.settings import started_in


def profiled(call: Invocation, named: str, run: Callable[[], int]) -> int:
    """Run, and write down what each thread did when; also of a build that failed or was interrupted."""
    file = checked(started_in(call.settings.folder, named), "--profile", "profile.json")
    with trace.recording() as found:
        code = WRONG
        try:
            return (code := run())
        except (KeyboardInterrupt, Stopped):
            code = FAILED
            raise
        finally:
            # Of what was wrong in itself, nothing was run.
            if code != WRONG:
                write(file, json.dumps(found.data(), separators=(",", ":")), "--profile")
                call.report.note(f"wrote {named}: open it at https://ui.perfetto.dev or in chrome://tracing")
