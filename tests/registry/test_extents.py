from __future__ import annotations

import random
from pathlib import Path

import pytest

from modelbuild.registry.extents import Extent, Extents, Journal


def test_they_are_the_bytes_that_were_added() -> None:
    """Beside a set of numbers, with everything asked after every step."""
    chance = random.Random(7)
    for _ in range(30):
        extents, known = Extents(), set[int]()
        for _ in range(25):
            start = chance.randrange(60)
            end = min(60, start + chance.randrange(12))
            extents.add(start, end)
            known |= set(range(start, end))
            assert extents.count == len(known)
            low, high = sorted((chance.randrange(61), chance.randrange(61)))
            gaps = extents.missing(low, high)
            assert {byte for gap in gaps for byte in range(*gap)} == set(range(low, high)) - known
            assert all(one.end < other.start for one, other in zip(gaps, gaps[1:], strict=False))
            at = chance.randrange(60)
            reach = extents.reach(at)
            assert set(range(at, reach)) <= known and reach not in known


def test_a_journal_tells_what_was_noted(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "j"))
    assert journal.read(100).count == 0
    journal.add(0, 10)
    journal.add(20, 30)
    journal.close()
    journal.add(10, 12)
    journal.close()
    assert Journal(journal.path).read(100).missing(0, 40) == [Extent(12, 20), Extent(30, 40)]


@pytest.mark.parametrize("kept", range(13))
def test_a_line_that_is_cut_short_counts_for_nothing(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "j"
    path.write_bytes(b"0-10\n" + b"100-1234567\n"[:kept])
    expected = 10 if kept < 12 else 10 + 1234567 - 100
    assert Journal(str(path)).read(1 << 30).count == expected
    # Nor does it spoil the next line.
    journal = Journal(str(path))
    journal.add(50, 60)
    journal.close()
    assert journal.read(1 << 30).reach(50) == 60


def test_a_journal_claims_nothing_that_the_file_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"\0\xff\n5-3\n-1-5\n0-9999999999999999999\nx\n" + b"9" * 100 + b"-5\n")
    assert Journal(str(tmp_path / "j")).read(64).missing(0, 70) == [Extent(64, 70)]


def test_a_journal_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("precious")
    (tmp_path / "j").symlink_to(tmp_path / "other")
    with pytest.raises(OSError):
        Journal(str(tmp_path / "j")).add(0, 1)
    assert (tmp_path / "other").read_text() == "precious"
