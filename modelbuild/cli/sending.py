"""Built models on their way to a running Ollama server, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelbuild.cli.invocation import FAILED, GOOD, Invocation
from modelbuild.cli.report import Report, width
from modelbuild.errors import Error
from modelbuild.ollama.api import Client, address
from modelbuild.session import delivering
from modelbuild.session.delivering import Delivered
from modelbuild.words import size

if TYPE_CHECKING:
    from modelbuild.engine.graph import Output
    from modelbuild.ollama.manifest import Layer


def server(text: str) -> Client:
    """The server of an address. Raises Error if it is not there, or too old."""
    client = Client(address(text))
    delivering.check(client)
    return client


def send(call: Invocation, client: Client, outputs: Sequence[Output]) -> int:
    """Send every name of some models; returns the exit code."""
    report, library = call.report, call.session.models.library
    failures: list[Error] = []
    for name in [name for output in outputs for name in output.names]:
        if library.served(name) is None:
            continue  # its build has failed, and said so
        try:
            _say(report, client, delivering.deliver(client, library, name, _Shown(report)))
        except Error as error:
            failures.append(error)
    report.errors(failures)
    return FAILED if failures else GOOD


def _say(report: Report, client: Client, found: Delivered) -> None:
    if report.as_json:
        report.object({"event": "sent", "server": str(client.at), **found._asdict()})
    word = "unchanged" if found.state == "unchanged" else "sent"
    report.note(f"{word:9}  {found.name}  {client.at}")
    if found.state == "different":
        what = f"the server made another model of '{found.name}': its manifest has another digest"
        facts = [("ours", found.ours), ("the server's", found.digest)]
        facts += [("differs", each) for each in found.differs]
        hint = (
            None
            if found.differs
            else "servers from 0.34 on write GGUF files anew, in llama-quantize's order and with its keys"
        )
        report.warning(Error(what, facts=facts, hint=hint))


class _Shown:
    """How it goes, as notes; on a terminal with the part that was sent."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._lives = width(report.err) is not None and not report.quiet
        self._whole = self._done = 0

    def sending(self, name: str, layer: Layer) -> None:
        kind = layer.media_type.rpartition(".")[2]
        self._whole, self._done = layer.size, 0
        self._report.note(f"{'sending':9}  {name}  {kind}, {size(layer.size)}")

    def sent(self, count: int) -> None:
        before, self._done = self._done, self._done + count
        percent = 100 * self._done // max(self._whole, 1)
        if self._lives and percent != 100 * before // max(self._whole, 1):
            self._report.redraw(f"{percent:3} %" if percent < 100 else "")

    def status(self, name: str, text: str) -> None:
        if self._report.verbose:
            self._report.note(f"{'server':9}  {name}  {text}")
