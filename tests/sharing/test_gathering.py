"""Tensors that come as ranges: which are asked for together, and that none of wrong bytes is taken."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.digest import sha256, xxh3
from modelbuild.files import Temporary
from modelbuild.sharing.gathering import NEAR, RUN, _Made, _runs
from modelbuild.sharing.parts import Part, key
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.leaf import leaf

BLOB = "sha256:" + "1" * 64
DATA = bytes(random.Random(1).randbytes(5000))


def part(offset: int, length: int, blob: str = BLOB) -> Part:
    return Part("a" * 64, blob, offset, length, sha256(DATA[offset : offset + length]))


def test_what_lies_near_comes_together() -> None:
    parts = {
        "a": part(0, 100),
        "b": part(100, 50),
        "c": part(150 + NEAR, 10),
        "d": part(161 + 2 * NEAR, 10),
        "e": part(0, 10, "sha256:" + "2" * 64),
        "f": part(171 + 2 * NEAR, RUN),
    }
    assert [[name for name, _ in run] for run in _runs(parts)] == [["a", "b", "c"], ["d"], ["f"], ["e"]]


def pieces(start: int, end: int, size: int) -> Iterator[bytes]:
    yield from (DATA[at : min(end, at + size)] for at in range(start, end, size))


@pytest.mark.parametrize("size", [1, 7, 1000, 5000])
def test_tensors_are_taken_out_of_a_run_however_it_is_cut(tmp_path: Path, size: int) -> None:
    run = [
        ("a", part(100, 300)),
        ("b", part(450, 50)),
        ("wrong", part(600, 100)._replace(sha256=BLOB)),
        ("c", part(700, 1)),
    ]
    file = Temporary(str(tmp_path / "made"))
    made = _Made(file)
    made.take(run, pieces(100, 701, size))
    made.take([("cut", part(1000, 400))], pieces(1000, 1300, size))
    made.drop()
    wanted = DATA[100:400] + DATA[450:500] + DATA[700:701]
    assert (tmp_path / "made").read_bytes() == wanted
    assert made.digest.hexdigest() == hashlib.sha256(wanted).hexdigest()
    assert made.wrong
    assert made.tensors == [
        ("a", 0, 300, xxh3(DATA[100:400])), ("b", 300, 50, xxh3(DATA[450:500])), ("c", 350, 1, xxh3(DATA[700:701])),
    ]  # fmt: skip
    file.close()


def test_a_key_is_of_the_contents_of_the_leaves() -> None:
    x = cast("f16", leaf("xxh3:1", "f32", (4, 32)))
    keys = {key(x, {"xxh3:1": digest}) for digest in ("sha256:1", "sha256:2")}
    assert len(keys) == 2 and None not in keys
    assert key(x, {}) is None
    assert key(cast("bf16", leaf("xxh3:1", "f32", (4, 32))), {"xxh3:1": "sha256:1"}) not in keys


@pytest.mark.parametrize(
    "wrong",
    [{"v": 2}, {"key": "b" * 64}, {"blob": "x"}, {"sha256": 1}, {"offset": -1}, {"length": True}, {"seconds": "1"}],
)
def test_a_record_of_a_part_is_read_again_and_nothing_else_is_one(wrong: dict[str, object]) -> None:
    import json

    found = part(1, 2)
    data = found.encode()
    assert Part.decode(data, found.key) == found
    assert Part.decode(json.dumps({**json.loads(data), **wrong}).encode(), found.key) is None
    assert Part.decode(b"[" * 9000, found.key) is None
