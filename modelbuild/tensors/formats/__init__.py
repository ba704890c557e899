"""Weights files: reading what they say of themselves, and taking the digest of every tensor in one pass."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from modelbuild import interrupt
from modelbuild.digest import Xxh3, canonical, xxh3
from modelbuild.errors import Error
from modelbuild.tensors.tensor import Tensor, TensorTable

if TYPE_CHECKING:
    from concurrent.futures import Executor

CHUNK = 1 << 20
BATCH = 8 << 20
"""Bytes of neighbouring small tensors that one task hashes."""


class Survey(NamedTuple):
    """All that is kept of a weights file: its digest, and its table with the digest of every tensor."""

    digest: str
    table: TensorTable


class Head(NamedTuple):
    """The bytes before the tensors, which the file's digest covers: how many, and their digest."""

    size: int
    digest: str

    @staticmethod
    def of(data: bytes | memoryview) -> Head:
        return Head(len(data), xxh3(data))


def digest_all(path: str, head: Head, table: TensorTable, size: int, executor: Executor | None) -> Survey:
    """Read the whole file once, in bounded memory, and take the digest of each tensor and of all that lies between.

    executor  runs the reading in parallel; it must have a free thread, since this waits for it
    Raises Error where the file ends early.
    """
    regions = _regions(head.size, table, size)
    with open(path, "rb", buffering=0) as file:
        descriptor = file.fileno()
        run = executor.map if executor is not None else map
        digests = dict[tuple[int, int], str]()
        for batch in run(lambda regions: _hash(path, descriptor, regions), _batches(regions)):
            digests.update(batch)
    known = {t.name: replace(t, digest=digests[t.offset, t.length]) for t in table.tensors.values()}
    parts = [head.digest, *(digests[region] for region in regions)]
    return Survey(xxh3(canonical(parts)), TensorTable(table.metadata, known))


class Running:
    """The digest that `digest_all` finds, of a file whose bytes are given in their order."""

    def __init__(self, header: int, table: TensorTable, size: int) -> None:
        self._lengths = [header, *(length for _, length in _regions(header, table, size))][::-1]
        self._state, self._left = Xxh3(), self._lengths.pop()
        self._digests: list[str] = []

    def update(self, data: bytes | bytearray | memoryview) -> None:
        with memoryview(data) as view:
            at = 0
            while at < len(view):
                self._next()
                # What stands behind the end of the file as it was belongs to no region, and changes the digest.
                taken = view[at : at + self._left] if self._left else view[at:]
                self._state.update(taken)
                self._left = max(0, self._left - len(taken))
                at += len(taken)

    def _next(self) -> None:
        while not self._left and self._lengths:
            self._digests.append(self._state.digest())
            self._state, self._left = Xxh3(), self._lengths.pop()

    def digest(self) -> str:
        self._next()
        return xxh3(canonical([*self._digests, self._state.digest()]))


def _regions(header: int, table: TensorTable, size: int) -> list[tuple[int, int]]:
    """Offset and length of each tensor and of all that lies between, in order."""
    tensors = sorted(table.tensors.values(), key=lambda tensor: tensor.offset)
    return sorted([(tensor.offset, tensor.length) for tensor in tensors] + _gaps(tensors, header, size))


def _gaps(tensors: Iterable[Tensor], start: int, size: int) -> list[tuple[int, int]]:
    found = []
    for tensor in tensors:
        if tensor.offset > start:
            found.append((start, tensor.offset - start))
        start = tensor.offset + tensor.length
    if size > start:
        found.append((start, size - start))
    return found


def _batches(regions: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    batch: list[tuple[int, int]] = []
    size = 0
    for region in regions:
        batch.append(region)
        size += region[1]
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _hash(path: str, file: int, regions: Sequence[tuple[int, int]]) -> dict[tuple[int, int], str]:
    buffer = bytearray(min(CHUNK, max(length for _, length in regions)))
    digests = {}
    with memoryview(buffer) as view:
        for offset, length in regions:
            state = Xxh3()
            at, end = offset, offset + length
            while at < end:
                interrupt.check()
                count = os.preadv(file, [view[: min(len(view), end - at)]], at)
                if not count:
                    raise Error("the file ends early: it was cut short while it was read", path=path)
                state.update(view[:count])
                at += count
            digests[offset, length] = state.digest()
    return digests


def refuse_pointer(head: bytes, path: str, what: str) -> None:
    """Raise Error where a file is a Git LFS pointer to the `what` that it should be."""
    if head.startswith(b"version https://git-lfs"):
        words = dict(line.split(" ", 1) for line in head[:256].decode("utf-8", "replace").splitlines() if " " in line)
        facts = [(label, words[label]) for label in ("oid", "size") if label in words]
        raise Error(
            f"is a Git LFS pointer, not the {what} it stands for",
            path=path,
            facts=facts,
            hint=f"fetch the {what} with 'git lfs pull'",
        )


def refuse_other(head: bytes, path: str, expected: str) -> None:
    """Raise Error where the first bytes of a file are those of something else that is often found in its place."""
    refuse_pointer(head, path, "weights")
    if not head:
        raise Error(f"is empty, expected a {expected} file", path=path, hint="download it again")
    for start, name, hint in _OTHERS:
        if head.startswith(start) and expected not in name:
            raise Error(f"is {name}, expected {expected}", path=path, hint=hint)


_PICKLE_HINT = (
    "pickles can run code and are not read; load the model with transformers and save it with save_pretrained"
)
_OTHERS = (
    (b"GGUF", "a GGUF file", "name it .gguf"),
    (b"PK\x03\x04", "a zip archive (a PyTorch checkpoint)", _PICKLE_HINT),
    (b"\x80\x02", "a pickle", _PICKLE_HINT),
    (b"\x80\x03", "a pickle", _PICKLE_HINT),
    (b"\x80\x04", "a pickle", _PICKLE_HINT),
    (b"\x80\x05", "a pickle", _PICKLE_HINT),
    (b"<!DOCTYPE", "an HTML page", "the download was a web page; download the file itself"),
    (b"<!doctype", "an HTML page", "the download was a web page; download the file itself"),
    (b"<html", "an HTML page", "the download was a web page; download the file itself"),
)


def unpickling(folder: str) -> str:
    """A command that writes the tensors of a folder's pytorch_model*.bin as safetensors, none of them touched otherwise."""
    script = (
        "import glob, torch; from safetensors.torch import save_file; "
        "[save_file({k: v.clone().contiguous() for k, v in torch.load(f, map_location='cpu', weights_only=True).items()}, "
        "f.replace('pytorch_model', 'model', 1)[:-4] + '.safetensors', {'format': 'pt'}) for f in sorted(glob.glob('pytorch_model*.bin'))]"
    )
    return f'cd {shlex.quote(folder)} && python3 -c "{script}"'


SHOWN = 80
"""Characters of a value from a file that an error shows."""


def shown(value: Any) -> str:
    """A value from a file, short and printable."""
    text = value[: SHOWN + 1] if isinstance(value, str) else _start(value)
    text = text.encode("utf-8", "replace").decode() if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "…"


def _start(value: Any) -> str:
    """The start of a value's JSON, however long and deep it is."""
    text = ""
    try:
        for part in json.JSONEncoder().iterencode(value):
            text += part
            if len(text) > SHOWN:
                break
    except ValueError:
        return "a number of thousands of digits"
    return text
