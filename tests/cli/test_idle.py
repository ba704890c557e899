"""What is said where a build has nothing to do."""

from __future__ import annotations

import io

from modelbuild.cli import idle
from modelbuild.cli.report import Report
from modelbuild.session.stamp import Stamp, Told


def test_what_a_build_said_is_said_again() -> None:
    report = Report(err=io.StringIO())
    idle.say(report, Stamp(3, 9, "", {}, {}, Told(["registry.ollama.ai/library/chat/q8_0"])))
    assert isinstance(report.err, io.StringIO)
    first, second = report.err.getvalue().splitlines()
    assert first == "no longer declared: 'chat:q8_0'; `modelbuild clean --stale` removes them"
    assert second.startswith("nothing to do: 3 models unchanged")
