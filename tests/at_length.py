"""How much the tests try whose cases are drawn at random: enough to see what breaks at once, or all that they name.

`MODELBUILD_AT_LENGTH=1 pytest -m hypothesis` tries all, as `.ci/run` does.
"""

from __future__ import annotations

import os

AT_LENGTH = "MODELBUILD_AT_LENGTH" in os.environ


def examples(count: int) -> int:
    """Of so many examples of a random test, those that are drawn now."""
    return count if AT_LENGTH else max(25, count // 4)
