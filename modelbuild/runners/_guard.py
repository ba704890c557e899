"""Run as a script, starts the program of its arguments, and ends it when its own input ends: when whoever started it is gone.

A process that is killed can end no other, and a server with a model in its memory would stay. Begins a group of processes with it,
as `start_new_session` makes one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence


def guard(command: Sequence[str]) -> int:
    """Run a program until it ends; returns its exit code, or that of a shell where it cannot be started."""
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        os.write(2, f"{error}\n".encode())
        return 126

    def listen() -> None:
        while os.read(0, 1 << 10):
            pass
        # All of the group, this process too: the server has nothing to save.
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=listen, daemon=True).start()
    return process.wait()


if __name__ == "__main__":
    sys.exit(guard(sys.argv[1:]) & 0xFF)
