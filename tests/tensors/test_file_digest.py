"""The digest of a weights file: of a file that lies there, and of bytes that come in their order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelbuild.digest import xxh3
from modelbuild.errors import Error
from modelbuild.tensors import file_digest
from modelbuild.tensors.file_digest import Digested, Head, RunningDigest, digest_all
from modelbuild.tensors.tensor import Tensor, TensorTable

HEADER = 40
DATA = bytes(range(256)) * 4
"""A header, tensors with and without a gap between them, and something behind the last."""

TABLE = TensorTable(
    {},
    {
        name: Tensor(name, "u8", (length,), offset, length)
        for name, offset, length in (("empty", 500, 0), ("b", 500, 300), ("a", HEADER, 60), ("c", 128, 372))
    },
)


def digested(path: Path, data: bytes = DATA, executor: ThreadPoolExecutor | None = None) -> Digested:
    path.write_bytes(data)
    return digest_all(str(path), Head.of(data[:HEADER]), TABLE, len(DATA), executor)


def test_each_tensor_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    for tensor in digested(tmp_path / "weights").table.tensors.values():
        assert tensor.digest == xxh3(DATA[tensor.offset : tensor.offset + tensor.length])


def test_every_byte_counts(tmp_path: Path) -> None:
    whole = digested(tmp_path / "weights").digest
    for at in range(0, len(DATA), 11):
        assert digested(tmp_path / "weights", DATA[:at] + bytes([DATA[at] ^ 1]) + DATA[at + 1 :]).digest != whole


def test_threads_and_pieces_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = digested(tmp_path / "weights")
    monkeypatch.setattr(file_digest, "BATCH", 30)
    monkeypatch.setattr(file_digest, "CHUNK", 7)
    with ThreadPoolExecutor(3) as pool:
        assert digested(tmp_path / "weights", executor=pool) == alone


def test_a_file_that_is_cut_short_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Error, match="the file ends early"):
        digested(tmp_path / "weights", DATA[:-4])


@pytest.mark.parametrize("step", (1, 7, 64, 1 << 20))
def test_digest_of_bytes_in_their_order_is_the_file_s(tmp_path: Path, step: int) -> None:
    def taken(data: bytes) -> str:
        running = RunningDigest(HEADER, TABLE, len(DATA))
        for at in range(0, len(data), step):
            running.update(data[at : at + step])
        return running.digest()

    digest = digested(tmp_path / "weights").digest
    assert taken(DATA) == digest
    wrong = [DATA[:-1], DATA + b"\0", DATA + DATA, DATA[:100], b"", DATA[1:]]
    wrong += [DATA[:at] + bytes([DATA[at] ^ 1]) + DATA[at + 1 :] for at in range(0, len(DATA), 101)]
    assert digest not in [taken(each) for each in wrong]
    assert len({taken(each) for each in wrong}) == len(wrong)
