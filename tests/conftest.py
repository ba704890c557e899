"""What holds for every test."""

from __future__ import annotations

import os
import signal

# The command is run hundreds of times: the first run may keep its bytecode for the others.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A server of whoever runs the tests is asked nothing.
os.environ["OLLAMA_HOST"] = "http://none.invalid"

# Whoever starts the tests in the background may have them ignore Ctrl-C, and all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nobody here pulls the plug, and a kill loses nothing that was written: a slow disk would only have the tests wait for it.
os.fsync = os.fstat  # type: ignore[assignment]
