"""How large parts may be, as users write it."""

from __future__ import annotations

import pytest

from modelbuild.errors import Error
from modelbuild.tensors.formats.limit import limit


def test_limits_are_read_as_the_tool_reads_them() -> None:
    assert limit("50GB") == limit("50G") == limit(" 50 g") == (50_000_000_000, 0)
    assert limit("500M") == (500_000_000, 0) and limit(128) == limit("128") == (0, 128)
    for wrong in ("1.5G", "50GiB", "50K", "G", "", "-1M", 0, -1, True, 1.5, None, "0M", "9" * 10, 1 << 31):
        with pytest.raises(Error, match="expected a size such as '50GB'"):
            limit(wrong)
