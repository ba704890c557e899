"""A report that writes to strings, for tests of what is printed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from modelbuild.cli.progress import Work
from modelbuild.cli.report import Report
from modelbuild.cli.terminal import follow
from modelbuild.errors import Error


class Streams:
    """A report that writes to strings."""

    names: Mapping[str, Sequence[str]] = {}

    def __init__(self, **options: Any) -> None:
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        self.report = Report(out=self.stdout, err=self.stderr, **options)

    def build(self, events: list[dict[str, Any]], errors: list[Error] | None = None) -> None:
        with follow(self.report, Work(3, self.names, lambda manifest: 4_100_000_000)) as progress:
            for event in events:
                progress(event)
            progress.close(errors or [])

    @property
    def out(self) -> str:
        return self.stdout.getvalue()

    @property
    def err(self) -> str:
        return self.stderr.getvalue()
