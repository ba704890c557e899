"""Write hostile projects, check and build each, and say how that ended: a line of JSON for each line of standard input.

    {"case", "folder", "real"}  ->  [{"command", "code", "seconds", "peak", "errors"}, …]

    real     by the command itself; else in a fork of this process, which has everything imported already
    code     its exit status, negative where a signal ended it
    seconds  of computing, whatever else the machine did meanwhile
    peak     bytes of its largest resident set

A process by itself and small: what one counts as its peak starts with what the one that started it had.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from tests.attacks import hostile

SECONDS, WALL = 20, 180
ADDRESSES = 4 << 30
"""Bytes that no child may pass, for the machine's sake."""
COMMANDS = (["check"], [])


def child(act: Callable[[], object], errors: int) -> tuple[int, Any]:
    """Run something in a fork, its standard error going to a file; returns its exit status and what it used."""
    process = os.fork()
    if not process:
        code = 70
        try:
            nothing = os.open(os.devnull, os.O_RDWR)
            for target, source in ((0, nothing), (1, nothing), (2, errors)):
                os.dup2(source, target)
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
            resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
            act()
            code = 0
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(process, signal.SIGKILL))
    signal.alarm(WALL)
    _, status, usage = os.wait4(process, 0)
    signal.alarm(0)
    return os.waitstatus_to_exitcode(status), usage


def modelbuild(words: list[str], real: bool) -> NoReturn:
    if real:
        os.execv(sys.executable, [sys.executable, "-m", "modelbuild", *words])
    from modelbuild.cli import main as cli

    sys.argv = ["modelbuild", *words]
    sys.exit(cli.main(words))


def write(name: str, folder: Path) -> None:
    hostile.start(folder)
    hostile.cases()[name].write(folder)


def run(name: str, folder: Path, real: bool) -> list[dict[str, Any]]:
    found = []
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryFile() as errors:
        code, _ = child(lambda: write(name, folder), errors.fileno())
        if code:
            errors.seek(0)
            raise SystemExit(f"{name} cannot be written: {errors.read().decode('utf-8', 'replace')}")
    for command in COMMANDS:
        with tempfile.TemporaryFile() as errors:
            places = ["-C", str(folder), "--cache", str(folder / "cache"), "--models", str(folder / "models")]
            words = [*places, *command]
            code, usage = child(lambda words=words: modelbuild(words, real), errors.fileno())  # type: ignore[misc]
            errors.seek(0)
            found.append(
                {
                    "command": " ".join(command) or "build",
                    "code": code,
                    "seconds": usage.ru_utime + usage.ru_stime,
                    "peak": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
                    "errors": errors.read().decode("utf-8", "replace")[-20_000:],
                }
            )
    shutil.rmtree(folder, ignore_errors=True)
    return found


def main() -> None:
    # All that a check needs, so that no fork imports it again.
    import tokenizers  # noqa: F401

    from modelbuild.checkpoint import card_yaml, structure  # noqa: F401
    from modelbuild.cli.commands import build, check  # noqa: F401
    from modelbuild.plan import preflight  # noqa: F401
    from modelbuild.project import schema  # noqa: F401
    from modelbuild.session import session  # noqa: F401
    from modelbuild.steps import import_, layer  # noqa: F401

    hostile.cases()
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(run(asked["case"], Path(asked["folder"]), asked["real"])), flush=True)


if __name__ == "__main__":
    main()
