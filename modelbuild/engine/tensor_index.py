"""The tensor index: where the bytes of each tensor that was made lie. It may forget anything: only time is lost."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from modelbuild.engine.action import Range
from modelbuild.engine.database import Database, Statement

_SCHEME = "xxh3:"

_HOLDER = "insert or ignore into holder (blob) values (?)"
_TENSOR = "insert or {} into tensor select ?, id, ?, ?, ? from holder where blob = ?"
_USED = "exists (select 1 from tensor where tensor.blob = id)"


class TensorIndex:
    """Finds tensors by key. Digests are kept as bytes and blobs as numbers: an entry takes 90 bytes of the disk."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, keys: Iterable[str]) -> dict[str, Range]:
        """Where tensors lie that were made before, by key. A blob that is named may be gone."""
        query = (
            "select tensor.key, holder.blob, offset, length, xxh3 from tensor join holder on holder.id = tensor.blob "
            "where tensor.key in ({})"
        )
        return {
            _unpacked(key): Range(blob, offset, length, _unpacked(xxh3))
            for key, blob, offset, length, xxh3 in self._database.rows_in(query, map(packed, keys))
            if isinstance(offset, int)
            and isinstance(length, int)
            and isinstance(xxh3, bytes)
            and min(offset, length) >= 0
        }

    def holders(self) -> list[str]:
        """The blobs that entries name."""
        return [blob for (blob,) in self._database.rows(f"select blob from holder where {_USED}")]

    def ranges(self, blob: str) -> dict[int, Range]:
        """Where tensors lie in a blob, by offset, as far as the index names this blob for them."""
        query = "select offset, length, xxh3 from tensor join holder on holder.id = tensor.blob where holder.blob = ?"
        rows = self._database.rows(query, (blob,))
        return {offset: Range(blob, offset, length, _unpacked(xxh3)) for offset, length, xxh3 in rows}

    def end(self, blob: str) -> int:
        """Where the last tensor ends that lies in a blob; 0 where none does."""
        query = "select max(offset + length) from tensor join holder on holder.id = tensor.blob where holder.blob = ?"
        return int(self._database.rows(query, (blob,))[0][0] or 0)

    def sweep(self) -> None:
        """Drop the names of blobs whose tensors are found elsewhere by now."""
        self._database.change(
            ("delete from holder where not exists (select 1 from tensor where tensor.blob = id)", [()])
        )


def noting(tensors: Sequence[tuple[str, Range]], otherwise: str = "replace") -> list[Statement]:
    """The statements that enter tensors; `otherwise` is what becomes of an entry that is there: `replace` or `ignore` the new one."""
    blobs = dict.fromkeys(at.blob for _, at in tensors)
    # In the order of the index, so that what is near is written together.
    rows = sorted((packed(key), at.offset, at.length, packed(at.xxh3), at.blob) for key, at in tensors)
    return [(_HOLDER, [(blob,) for blob in blobs]), (_TENSOR.format(otherwise), rows)] if tensors else []


def forgetting(blobs: Collection[str]) -> list[Statement]:
    """The statements that forget blobs and all tensors in them."""
    rows = [(blob,) for blob in blobs]
    return [
        ("delete from tensor where blob = (select id from holder where blob = ?)", rows),
        ("delete from holder where blob = ?", rows),
    ]


def packed(digest: str) -> bytes:
    """The 16 bytes of an `xxh3:<hex>`."""
    return bytes.fromhex(digest.removeprefix(_SCHEME))


def _unpacked(data: bytes) -> str:
    return _SCHEME + data.hex()
