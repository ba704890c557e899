"""Reading safetensors files, beside the safetensors library."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from modelbuild.digest import xxh3
from modelbuild.errors import Error, render
from modelbuild.tensors import file_digest
from modelbuild.tensors.formats import safetensors
from modelbuild.tensors.tensor import Tensor, TensorTable
from tests import checkpoints


def library_file(path: Path) -> Path:
    arrays = {
        "b.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
        "a": np.array(7, dtype=np.int64),
        "empty": np.zeros((0, 5), dtype=np.float16),
        "c": np.ones((2, 2), dtype=np.float16),
    }
    save_file(arrays, path, metadata={"format": "np", "e": "\u00e9"})
    return path


def test_a_file_of_the_library_is_read_as_the_library_reads_it(tmp_path: Path) -> None:
    path = library_file(tmp_path / "m.safetensors")
    table = safetensors.table(str(path))
    assert table.metadata == {"format": b"np", "e": "\u00e9".encode()}
    assert {(t.name, t.dtype, t.shape) for t in table.tensors.values()} == {
        ("a", "i64", ()), ("b.weight", "f32", (3, 4)), ("c", "f16", (2, 2)), ("empty", "f16", (0, 5)),
    }  # fmt: skip
    data = path.read_bytes()
    b = table.tensors["b.weight"]
    assert np.frombuffer(data[b.offset : b.offset + b.length], np.float32).tolist() == list(range(12))
    offsets = [tensor.offset for tensor in table.tensors.values()]
    assert offsets == sorted(offsets)


def test_spaces_after_the_header_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes((16).to_bytes(8, "little") + b"{}" + b" " * 14)
    assert safetensors.table(str(path)) == TensorTable({}, {})


@pytest.mark.parametrize("length", [640, 896, 1152, 1408, 0x10280])
def test_a_length_that_looks_like_the_start_of_a_pickle_is_a_length(length: int, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}".ljust(length))
    assert safetensors.table(str(path)) == TensorTable({}, {})


def test_each_tensor_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    path = library_file(tmp_path / "m.safetensors")
    survey = safetensors.survey(str(path))
    data = path.read_bytes()
    for tensor in survey.table.tensors.values():
        assert tensor.digest == xxh3(data[tensor.offset : tensor.offset + tensor.length])
    assert TensorTable.decode(survey.table.encode()) == survey.table


def test_threads_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.write(tmp_path)
    path = str(tmp_path / "model.safetensors")
    alone = safetensors.survey(path)
    monkeypatch.setattr(file_digest, "BATCH", 1000)
    monkeypatch.setattr(file_digest, "CHUNK", 777)
    with ThreadPoolExecutor(3) as pool:
        assert safetensors.survey(path, pool) == alone


def test_every_byte_counts(tmp_path: Path) -> None:
    path = library_file(tmp_path / "m.safetensors")
    data = path.read_bytes()
    whole = safetensors.survey(str(path))
    start = min(tensor.offset for tensor in whole.table.tensors.values())
    for at in range(start, len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        changed = safetensors.survey(str(path))
        assert changed.digest != whole.digest
        differ = [n for n, t in changed.table.tensors.items() if t.digest != whole.table.tensors[n].digest]
        assert len(differ) == 1


def test_a_name_changed_in_the_header_changes_the_digest_of_the_file_alone(tmp_path: Path) -> None:
    path = library_file(tmp_path / "m.safetensors")
    before = safetensors.survey(str(path))
    path.write_bytes(path.read_bytes().replace(b"b.weight", b"d.weight"))
    after = safetensors.survey(str(path))
    assert after.digest != before.digest
    assert after.table.tensors["d.weight"].digest == before.table.tensors["b.weight"].digest


def test_the_index_of_shards_decides_which_files_are_read(tmp_path: Path) -> None:
    from modelbuild.checkpoint import shards

    checkpoints.write(tmp_path, shards=3)
    (tmp_path / "model.safetensors").write_bytes(b"left over")
    names = [path.name for path in tmp_path.iterdir()]
    index = (tmp_path / shards.INDEX).read_bytes()
    assert shards.weights(names, index) == [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    assert shards.weights(names, None)[0] == "model-00001-of-00003.safetensors"


def test_a_written_header_is_read_as_the_library_reads_it(tmp_path: Path) -> None:
    arrays = {"é": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(7, dtype=np.int64)}
    head = safetensors.header([("é", "f32", (2, 3)), ("b", "i64", ())])
    assert len(head) % 8 == 0
    path = tmp_path / "m.safetensors"
    path.write_bytes(head + b"".join(each.tobytes() for each in arrays.values()))
    found = load_file(path)
    assert {name: each.tolist() for name, each in found.items()} == {
        name: each.tolist() for name, each in arrays.items()
    }
    assert safetensors.table(str(path)).metadata == {"format": b"pt"}


def test_shards_are_full_and_in_order() -> None:
    tensors = {f"t{n}": Tensor(f"t{n}", "u8", (size,), 0, size, "") for n, size in enumerate([4, 3, 3, 10, 1, 1])}
    table = TensorTable({}, tensors)

    def cut(limit: int, count: int = 0) -> list[list[str]]:
        return [[each.name for each in shard.tensors] for shard in safetensors.shards(table, limit, count)]

    assert cut(7) == [["t0", "t1"], ["t2"], ["t3"], ["t4", "t5"]]
    assert cut(0) == [list(tensors)] and cut(0, 4) == [["t0", "t1", "t2", "t3"], ["t4", "t5"]]
    assert safetensors.shards(table, 7, 0)[1].head == safetensors.header([("t2", "u8", (3,))])


ROWS = {
    "a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
    "empty": {"dtype": "F32", "shape": [0, 5], "data_offsets": [12, 12]},
    "one": {"dtype": "I64", "shape": [], "data_offsets": [12, 20]},
    "\u00e9 \U0001f600": {"dtype": "F4", "shape": [4], "data_offsets": [20, 22]},
}


def spelled(rows: object, metadata: object = None) -> str:
    whole = {**({} if metadata is None else {"__metadata__": metadata}), **rows}  # type: ignore[dict-item]
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=False)


def of(**fields: object) -> dict[str, object]:
    return {**ROWS, "a": {**ROWS["a"], **fields}}


COMPACT = {
    "rows": spelled(ROWS),
    "padded": spelled(ROWS, {"format": "pt", "\u00e9": ""}) + "   ",
    "no rows": spelled({}, {}),
    "twice": spelled(ROWS)[:-1] + "," + spelled(ROWS)[1:],
    "metadata as a row": spelled({**ROWS, "__metadata__": ROWS["empty"]}),
    "metadata twice": '{"__metadata__":{"a":"b","a":"c"},' + spelled(ROWS)[1:],
    "a number in the metadata": spelled(ROWS, {"a": 1}),
    "braces in the metadata": spelled(ROWS, {"a": "{}"}),
    "a comma at the end": spelled(ROWS)[:-1] + ",}",
    "something between": spelled(ROWS).replace('},"one"', '},x"one"'),
    "no brace at the end": spelled(ROWS)[:-1],
    "a control character": spelled(ROWS).replace('"one"', '"o\nne"'),
    "an escape": spelled(ROWS).replace('"one"', '"o\\u006ee"'),
    "other order": spelled(dict(reversed(ROWS.items()))),
    "unknown dtype": spelled(of(dtype="BF17")),
    "shape": spelled(of(shape=[2, 4])),
    "a large size": spelled(of(shape=[0, 1 << 63], data_offsets=[0, 0])),
    "true": spelled(of(shape=[2, 3, True])),
    "a float": spelled(of(shape=[2, 3.0])),
    "a leading zero": spelled(ROWS).replace("[2,3]", "[2,03]"),
    "an empty size": spelled(ROWS).replace("[2,3]", "[2,,3]"),
    "offsets": spelled(of(data_offsets=[1, 13])),
    "backwards": spelled(of(data_offsets=[12, 0])),
    "dimensions": spelled(of(shape=[1] * 65)),
    "half a byte": spelled(of(dtype="F4", shape=[1], data_offsets=[0, 0])),
}


@pytest.mark.parametrize("case", COMPACT)
def test_a_header_that_is_read_row_by_row_is_read_as_json(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = COMPACT[case].encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(22 if "shape" in COMPACT[case] else 0))

    def read() -> TensorTable | str:
        try:
            return safetensors.table(str(path), " of f")
        except Error as error:
            return render(error)

    found = read()
    monkeypatch.setattr(safetensors, "_rows", lambda *args: None)
    assert found == read()
    if case in ("rows", "padded"):
        assert isinstance(found, TensorTable) and list(found.tensors) == list(ROWS)


def test_a_shape_of_many_sizes_is_refused_before_they_are_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    # The product of a million large sizes takes hours.
    monkeypatch.setattr(safetensors, "prod", None)
    assert safetensors._form("F32", ",".join(["9" * 18] * 65)) is None


def test_headers_of_writers_are_read_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = library_file(tmp_path / "m.safetensors")
    monkeypatch.setattr(safetensors, "_parse", None)
    assert len(safetensors.table(str(path)).tensors) == 4
