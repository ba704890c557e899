"""How large the parts of a split file may be, as users write it."""

from __future__ import annotations

import re

from modelbuild.errors import Error
from modelbuild.tuples import NamedTuple
from modelbuild.words import got


class Limit(NamedTuple):
    """How large a part may be: `size` bytes of tensors, or `tensors` of them; one of the two is 0."""

    size: int
    tensors: int


_SIZE = r"(?i)([1-9][0-9]{0,8})\s*([MG])B?"


def limit(value: object) -> Limit:
    """Read a limit: '50G' or '500MB' as `--split-max-size` reads it, in powers of a thousand; a number as `--split-max-tensors`.

    Raises Error.
    """
    if isinstance(value, str) and (found := re.fullmatch(_SIZE, value.strip())):
        return Limit(int(found[1]) * (1_000_000 if found[2] in "mM" else 1_000_000_000), 0)
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 10:
        value = int(value)
    if type(value) is int and 0 < value < 1 << 31:
        return Limit(0, value)
    raise Error(
        f"expected a size such as '50GB' or '500MB', or a number of tensors, got {got(value)}",
        hint="a size is a whole number of M or G",
    )
