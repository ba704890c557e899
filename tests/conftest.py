"""What holds for every test."""

from __future__ import annotations

import os

# The command is run hundreds of times: the first run may keep its bytecode for the others.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
