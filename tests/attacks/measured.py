"""Run a command, and say how it ended: `python measured.py SECONDS COMMAND…` writes one line of JSON.

    code     its exit status; -9 where it ran past its time
    seconds  of computing that it took, whatever else the machine did meanwhile
    peak     bytes of its largest resident set
    errors   what it wrote to standard error

By itself and small: what a process counts as its peak starts with what the one that started it had.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile


def main() -> None:
    seconds, command = float(sys.argv[1]), sys.argv[2:]
    with tempfile.TemporaryFile() as errors, open(os.devnull, "r+b") as nothing:
        actions = [
            (os.POSIX_SPAWN_DUP2, *pair)
            for pair in ((nothing.fileno(), 0), (nothing.fileno(), 1), (errors.fileno(), 2))
        ]
        process = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(process, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, seconds)
        _, status, usage = os.wait4(process, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        errors.seek(0)
        told = {
            "code": os.waitstatus_to_exitcode(status),
            "seconds": usage.ru_utime + usage.ru_stime,
            "peak": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            "errors": errors.read().decode("utf-8", "replace")[:20_000],
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
