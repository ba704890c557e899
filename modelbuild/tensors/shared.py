"""Parts of a file that is made which need not be written: their blocks are another file's, or they are in it since an earlier build."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping

from modelbuild import direct
from modelbuild.files import open_plain, unwritten
from modelbuild.tensors.evaluate import Gone, Region
from modelbuild.tuples import NamedTuple

LEAST = 64 << 10
"""Bytes from which on sharing costs less than copying."""


class Shared(NamedTuple):
    """What was taken into a file without writing it.

    parts    see `direct.Kept`
    origins  path -> stat of each other file that blocks are shared with, from before that
    """

    parts: direct.Kept
    origins: Mapping[str, os.stat_result]

    def check(self) -> None:
        """Raise Gone where a file was written to since its blocks were shared: what was hashed of it may be something else."""
        for path, before in self.origins.items():
            # Blocks of one that is gone stay with whoever shares them.
            with contextlib.suppress(FileNotFoundError):
                if not unwritten(before, os.stat(path)):
                    raise Gone(path)


def take(file: int, tensors: Iterable[tuple[Region, int]]) -> Shared:
    """Take tensors that lie somewhere already into an open file, each to its offset there, as far as whole blocks of it can be.

    They are read and hashed all the same, as those are that are copied. `tensors` are in the order of the file.
    """
    parts: list[tuple[int, int]] = []
    origins: dict[str, os.stat_result] = {}
    ours = os.fstat(file)
    with contextlib.ExitStack() as held:
        opened: dict[str, int | None] = {}
        for region, offset in tensors:
            start, end = (
                -(-offset // direct.BLOCK) * direct.BLOCK,
                (offset + region.length) // direct.BLOCK * direct.BLOCK,
            )
            moved = region.offset - offset
            if end - start < LEAST or moved % direct.BLOCK or not region.passing:
                continue
            if region.path not in opened:
                opened[region.path] = None
                with contextlib.suppress(OSError):
                    opened[region.path] = held.enter_context(open_plain(region.path, buffering=0)).fileno()
            source = opened[region.path]
            if source is None:
                continue
            info = os.fstat(source)
            if os.path.samestat(info, ours):
                if not moved:
                    parts.append((start, end))
            elif direct.share(source, start + moved, file, start, end - start):
                origins.setdefault(region.path, info)
                parts.append((start, end))
            else:
                # This file system cannot, and would not the next time.
                opened[region.path] = None
    return Shared(parts, origins)
