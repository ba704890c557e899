"""A build on a terminal: what is drawn, when, and how bytes are counted. Whole screens are in tests/e2e/test_screens.py."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from modelbuild.cli.progress import FOLDED, LATEST, Work
from modelbuild.cli.terminal import Bytes, Running, Terminal
from tests.cli.streams import Streams
from tests.cli.test_progress import NAME, SUMMARY, start, step, variant

pytestmark = pytest.mark.usefixtures("plain")


def models(count: int, **options: Any) -> list[str]:
    """What a build of so many models prints, where nothing is drawn."""
    streams = Streams(**options)
    terminal = Terminal(streams.report, Work(count))
    for number in range(count):
        terminal(variant(True, NAME.replace("q8_0", str(number)), str(number)))
    terminal(SUMMARY)
    terminal.close([])
    return streams.err.splitlines()


def test_models_past_twenty_are_folded_to_a_count_and_the_latest() -> None:
    assert [line.split()[0] for line in models(FOLDED)] == ["built"] * FOLDED + [str(FOLDED)]
    few = models(FOLDED + LATEST)
    assert len(few) == FOLDED + LATEST + 1 and "more" not in "".join(few)
    many = models(200)
    assert many[FOLDED] == f"…          {200 - FOLDED - LATEST} more models"
    assert many[-2] == "built      chat:199" and many[-1].startswith("200 models built (")
    assert len(many) == FOLDED + 1 + LATEST + 1


def test_verbose_folds_nothing() -> None:
    assert len(models(200, verbose=True)) == 201


def running(name: str, done: int, total: int) -> Running:
    found = Running(name)
    found.done, found.total = done, total
    return found


def test_the_bytes_of_a_build_are_those_expected_and_those_that_turn_up() -> None:
    bytes_ = Bytes()
    assert bytes_.look([], 0.0) == (0, 0, 0.0), "nothing is known"
    bytes_.expect({"a": 100, "b": 300, "c": 50})
    assert bytes_.look([running("a", 50, 100)], 1.0) == (50, 450, 50.0)
    bytes_.finish(running("a", 100, 100), True)
    bytes_.finish(Running("c"), False)
    done, total, _ = bytes_.look([running("b", 10, 300), running("copy", 5, 20)], 2.0)
    assert (done, total) == (115, 420), "a cached step is expected no more, a copied file joins"
    bytes_.finish(running("b", 300, 300), True)
    bytes_.finish(running("copy", 20, 20), True)
    assert bytes_.look([], 3.0)[:2] == (420, 420)


def test_a_rate_is_that_of_the_last_seconds() -> None:
    bytes_ = Bytes()
    bytes_.expect({"a": 1000})
    for second in range(20):
        _, _, rate = bytes_.look([running("a", 100 if second > 10 else 10 * second, 1000)], float(second))
    assert rate == 0.0, "nothing has come for a while"


def test_a_step_under_way_tells_how_far_it_is_or_how_long_it_takes() -> None:
    found = running("chat/model", 25, 100)
    assert found.told(found.begun) == "     25 %  chat/model"
    found = Running("chat/convert")
    assert found.told(found.begun + 1.5) == "   1.50 s  chat/convert"


SCRIPT = """
import sys, threading, time
from modelbuild.cli import progress, report, terminal
terminal.DELAY = {delay}
with terminal.follow(report.Report(color="{color}"), progress.Work(3, {names}, lambda manifest: 4_100_000)) as build:
    for event in {events}:
        build(event)
    thread = threading.Thread(target=lambda: [
        (build({{"event": "progress", "step": "chat/model", "done": done, "total": 4_000_000}}), time.sleep(0.02))
        for done in range(0, 3_000_000, 50_000)
    ])
    if {slow}:
        thread.start()
        thread.join()
    for event in {after}:
        build(event)
    build.close([])
print("rich" in sys.modules)
"""


def on_terminal(**values: Any) -> tuple[str, str]:
    """Run a build with stderr on a terminal; returns what went there and stdout."""
    pty = pytest.importorskip("pty")
    fcntl, struct, termios = (pytest.importorskip(name) for name in ("fcntl", "struct", "termios"))
    values = {"delay": 0.2, "color": "auto", "names": {}, "slow": False, **values}
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    seen = bytearray()

    def read() -> None:
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                return
            if not data:
                return
            seen.extend(data)

    env = {**os.environ, "TERM": values.pop("term", "xterm-256color")}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(**values)], stdout=subprocess.PIPE, stderr=slave, stdin=slave, env=env
    )
    os.close(slave)
    reader = threading.Thread(target=read)
    reader.start()
    out = process.communicate(timeout=60)[0].decode()
    reader.join(10)
    os.close(master)
    assert process.returncode == 0, seen.decode()
    return seen.decode(), out


def test_a_terminal_sees_what_is_running_with_bytes_rate_and_time_left() -> None:
    seen, out = on_terminal(
        events=[step("hit", "chat/convert"), start()], after=[step("ran"), variant(True), SUMMARY], slow=True
    )
    assert "1 of 3 steps" in seen
    assert "chat/model" in seen
    for sign in (" of 4.0 MB", "MB/s", " left", "━"):
        assert sign in seen
    assert "built    " in seen
    assert "chat:q8_0  4.1 MB" in seen
    assert "1 model built (" in seen.splitlines()[-1]
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h") == 1, "the cursor comes back"
    assert out == "True\n"


def test_a_quick_build_on_a_terminal_prints_plain_lines_and_imports_no_rich() -> None:
    seen, out = on_terminal(events=[start()], after=[step("ran"), variant(True), SUMMARY], delay=5, color="never")
    assert [line.split(" (")[0] for line in seen.splitlines()] == ["built      chat:q8_0  4.1 MB", "1 model built"]
    assert out == "False\n"


def test_a_dumb_terminal_gets_plain_lines() -> None:
    seen, out = on_terminal(events=[start()], after=[step("ran"), variant(True), SUMMARY], slow=True, term="dumb")
    assert seen.splitlines()[0] == "built      chat:q8_0  4.1 MB"
    assert "\x1b" not in seen
    assert out == "False\n"
