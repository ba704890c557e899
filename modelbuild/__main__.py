"""`python -m modelbuild`."""

from __future__ import annotations

import sys

from modelbuild.cli.main import program

sys.exit(program())
