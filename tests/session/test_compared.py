"""Two models side by side: every kind of difference is told, and no tensor is read without need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelbuild.digest import xxh3
from modelbuild.engine.action import ActionResult, Made, Range
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.ollama import manifest
from modelbuild.session.compared import Compared, Side, compare
from modelbuild.tensors import file_digest
from modelbuild.tensors.formats import gguf
from tests.session.test_layers import NAME, write

SHAPES = {"a": ("f32", (2, 4)), "b": ("f16", (4,)), "c": ("f32", (3,))}


def weights(metadata: dict[str, tuple[str, Any]] | None = None, **fill: int) -> bytes:
    """A GGUF of three tensors, each filled with one byte."""
    values = {key: gguf.encode_value(kind, value) for key, (kind, value) in (metadata or {}).items()}
    tensors = [(name, kind, shape) for name, (kind, shape) in SHAPES.items()]
    data = gguf.header({"general.architecture": gguf.encode_value("str", "llama"), **values}, tensors)
    for name, size in (("a", 32), ("b", 8), ("c", 12)):
        data += bytes([fill.get(name, 0)]) * size + bytes(-size % 32)
    return data


def file(path: Path, data: bytes) -> Side:
    path.write_bytes(data)
    return Side(path.name, str(path))


def named(folder: Path, *layers: tuple[str, bytes]) -> Side:
    library = write(folder, *layers)
    served = library.served(NAME)
    assert served is not None
    return Side.named(folder.name, library, served)


def different(found: Compared) -> list[str]:
    assert found.tensors is not None
    return [each.name for each in found.tensors.different]


def test_files_of_the_same_bytes_are_equal(tmp_path: Path) -> None:
    found = compare(file(tmp_path / "1", weights(a=1)), file(tmp_path / "2", weights(a=1)), None)
    assert found.equal
    assert found.tensors is not None and found.tensors.equal == 3


def test_a_tensor_of_other_bytes_is_the_only_difference(tmp_path: Path) -> None:
    found = compare(file(tmp_path / "1", weights()), file(tmp_path / "2", weights(b=1)), None)
    assert not found.equal and different(found) == ["b"] and not found.values
    assert found.data()["tensors"]["different"] == [
        {
            "name": "b",
            "before": {"type": "f16", "shape": [4], "bytes": 8, "digest": xxh3(bytes(8))},
            "after": {"type": "f16", "shape": [4], "bytes": 8, "digest": xxh3(b"\1" * 8)},
        }
    ]
    totals = {"tensors": 2, "bytes": 44}
    assert found.data()["tensors"]["types"][0] == {"type": "f32", "before": totals, "after": totals}


def test_a_tensor_of_one_side_and_one_of_another_type_differ_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = file(tmp_path / "1", gguf.header({}, [("a", "f32", (2,)), ("b", "f32", (2,))]) + bytes(64))
    other = file(tmp_path / "2", gguf.header({}, [("a", "f16", (2,)), ("c", "f32", (2,))]) + bytes(64))
    monkeypatch.setattr(file_digest, "of_tensors", None)
    assert different(compare(one, other, None)) == ["a", "b", "c"]


def test_metadata_tells_values_lengths_and_types(tmp_path: Path) -> None:
    tokens = [str(number) for number in range(20)]
    one = weights({"n": ("u32", 1), "t": ("[str]", tokens), "k": ("u32", 7), "gone": ("bool", True)})
    other = weights({"n": ("u32", 2), "t": ("[str]", [*tokens[:-1], "x"]), "k": ("i32", 7), "new": ("[u8]", [1, 2])})
    found = compare(file(tmp_path / "1", one), file(tmp_path / "2", other), None)
    assert {each.key.removeprefix("metadata "): (each.before, each.after) for each in found.values} == {
        "n": (1, 2),
        "t": ("list of 20 str", "list of 20 str (1 differ)"),
        "k": ("7 (u32)", "7 (i32)"),
        "gone": (True, None),
        "new": (None, [1, 2]),
    }


def test_names_are_compared_by_layers_and_texts(tmp_path: Path) -> None:
    model = (manifest.MODEL, weights())
    one = named(tmp_path / "one", model, (manifest.SYSTEM, b"hello"), (manifest.PARAMS, b'{"top_k": 1, "seed": 4}'))
    other = named(
        tmp_path / "other", model, (manifest.TEMPLATE, b"{{ . }}"), (manifest.PARAMS, b'{"top_k":2,"seed":4}')
    )
    found = compare(one, other, None)
    assert [(each.kind, each.before is None, each.after is None) for each in found.layers] == [
        ("system", False, True), ("params", False, False), ("template", True, False),
    ]  # fmt: skip
    assert {each.key: (each.before, each.after) for each in found.values} == {
        "template": (None, "{{ . }}"),
        "system": ("hello", None),
        "parameter top_k": (1, 2),
    }
    assert "parameter seed" in found.same
    assert different(found) == []
    assert compare(one, named(tmp_path / "again", model, *[]), None).values[0].key == "system"


def test_a_model_without_gguf_differs_from_one_with(tmp_path: Path) -> None:
    found = compare(named(tmp_path / "one"), file(tmp_path / "2", weights()), None)
    assert [(each.key, each.before, each.after) for each in found.values] == [("GGUF file", None, "yes")]


def test_what_the_index_knows_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = named(tmp_path / "one", (manifest.MODEL, weights()))
    other = named(tmp_path / "other", (manifest.MODEL, weights(c=1)))
    store = Store(str(tmp_path / "cache"))
    for side in (one, other):
        assert side.weights is not None
        data = Path(side.weights).read_bytes()
        spans = [(name, at.offset, at.length) for name, at in gguf.table(side.weights).tensors.items()]
        ranges = tuple(
            (
                xxh3(f"{side.title} {name}".encode()),
                Range(side.blob, offset, length, xxh3(data[offset : offset + length])),
            )
            for name, offset, length in spans
        )
        LocalCache(store).record(side.title, Made(ActionResult(side.blob, len(data)), ranges))
    monkeypatch.setattr(file_digest, "of_tensors", None)
    assert different(compare(one, other, LocalCache(store))) == ["c"]
    store.close()


def test_a_file_that_is_cut_short_is_an_error(tmp_path: Path) -> None:
    cut = file(tmp_path / "cut", weights()[:-40])
    with pytest.raises(Error, match="cut short|ends"):
        compare(file(tmp_path / "1", weights()), cut, None)
