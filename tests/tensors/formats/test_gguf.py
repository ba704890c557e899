"""Reading and writing GGUF headers, beside gguf-py."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from hypothesis import given
from hypothesis import strategies as st

from modelbuild.digest import xxh3
from modelbuild.errors import Error
from modelbuild.tensors import file_digest
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.formats.gguf import decode_value, encode_value
from tests import recipes

VALUES: dict[str, tuple[str, Any]] = {
    "a.u8": ("u8", 255), "a.i8": ("i8", -128), "a.u16": ("u16", 65535), "a.i16": ("i16", -2), "a.u32": ("u32", 1 << 31),
    "a.i32": ("i32", -7),
    "a.f32": ("f32", 0.5), "a.bool": ("bool", True), "a.str": ("str", "gr\u00fc\u00df"), "a.u64": ("u64", 1 << 63),
    "a.i64": ("i64", -(1 << 62)),
    "a.f64": ("f64", 0.1), "a.texts": ("[str]", ["x", "", "\u00e9" * 300]), "a.ints": ("[i32]", [1, -2, 3]),
    "a.floats": ("[f32]", [0.25, -1.0]), "a.flags": ("[bool]", [True, False]),
}  # fmt: skip
TYPES = {
    name: GGUFValueType[{"i": "INT", "u": "UINT", "f": "FLOAT"}[name[0]] + name[1:]]
    for name in gguf.SCALARS
    if name != "bool"
}
TYPES |= {"bool": GGUFValueType.BOOL, "str": GGUFValueType.STRING}


def library_file(path: Path) -> Path:
    writer = GGUFWriter(path, "llama")
    for key, (form, value) in VALUES.items():
        if form.startswith("["):
            writer.add_key_value(key, value, GGUFValueType.ARRAY, sub_type=TYPES[form[1:-1]])
        else:
            writer.add_key_value(key, value, TYPES[form])
    writer.add_tensor("one", np.arange(3, dtype=np.float32))
    writer.add_tensor("two", np.zeros((2, 34), dtype=np.uint8), raw_dtype=GGMLQuantizationType.Q8_0)
    writer.add_tensor("three", np.ones((1, 4, 5), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_header_we_write_is_gguf_pys(tmp_path: Path) -> None:
    theirs = library_file(tmp_path / "m.gguf").read_bytes()
    metadata = {"general.architecture": encode_value("str", "llama")}
    metadata |= {key: encode_value(form, value) for key, (form, value) in VALUES.items()}
    ours = gguf.header(metadata, [("one", "f32", (3,)), ("two", "q8_0", (2, 32)), ("three", "f16", (1, 4, 5))])
    assert len(ours) % gguf.ALIGNMENT == 0
    assert theirs[: len(ours)] == ours


def test_a_file_of_gguf_py_is_read_as_gguf_py_reads_it(tmp_path: Path) -> None:
    path = library_file(tmp_path / "m.gguf")
    header = gguf.read_header(str(path))
    assert (header.version, header.alignment) == (3, 32)
    for key, (form, value) in VALUES.items():
        found = header.table.metadata[key]
        assert gguf.type_name(found) == form
        assert decode_value(found) == (np.float32(value) if form == "f32" else value)
    for theirs in GGUFReader(path).tensors:
        ours = header.table.tensors[theirs.name]
        assert ours.offset == theirs.data_offset
        assert ours.length == theirs.n_bytes
        assert list(reversed(ours.shape)) == theirs.shape.tolist()
        assert ours.dtype == theirs.tensor_type.name.lower()


SCALAR_VALUES = st.one_of(
    st.tuples(st.just("u32"), st.integers(0, (1 << 32) - 1)),
    st.tuples(st.just("i64"), st.integers(-(1 << 63), (1 << 63) - 1)),
    st.tuples(st.just("f64"), st.floats(allow_nan=False)),
    st.tuples(st.just("bool"), st.booleans()),
    st.tuples(st.just("str"), st.text()),
    st.tuples(st.just("[str]"), st.lists(st.text(max_size=300))),
    st.tuples(st.just("[u16]"), st.lists(st.integers(0, 65535))),
    st.tuples(st.just("[bool]"), st.lists(st.booleans())),
)


@given(SCALAR_VALUES)
def test_what_was_encoded_decodes_to_itself(pair: tuple[str, Any]) -> None:
    form, value = pair
    data = encode_value(form, value)
    assert gguf.type_name(data) == form
    assert decode_value(data) == value


@pytest.mark.parametrize(
    ("form", "value"), [("u32", -1), ("u8", 256), ("i32", 1 << 31), ("u32", 0.5), ("f32", "x"), ("[i32]", [1, "2"])]
)
def test_a_value_that_does_not_fit_is_an_error(form: str, value: Any) -> None:
    with pytest.raises(Error, match="expected a value that fits"):
        encode_value(form, value)


def test_text_that_is_no_unicode_is_an_error() -> None:
    with pytest.raises(Error, match="expected Unicode text"):
        encode_value("[str]", ["a", "\ud800"])


@pytest.mark.parametrize("alignment", [8, 32, 64, 4096])
def test_other_alignments_are_read(alignment: int, tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_custom_alignment(alignment)
    writer.add_tensor("one", np.arange(3, dtype=np.float32))
    writer.add_tensor("two", np.arange(5, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    table = gguf.read_header(str(tmp_path / "m.gguf")).table
    data = (tmp_path / "m.gguf").read_bytes()
    two = table.tensors["two"]
    assert two.offset % alignment == 0
    assert np.frombuffer(data[two.offset : two.offset + two.length], np.float32).tolist() == [0, 1, 2, 3, 4]
    made = recipes.imported(tmp_path, ["m.gguf"])
    assert ("general.alignment" in made.metadata) == (alignment == 32), "what is made of it is laid out in steps of 32"


def test_version_2_and_a_missing_end_of_padding_are_read(tmp_path: Path) -> None:
    data = bytearray(library_file(tmp_path / "m.gguf").read_bytes())
    data[4] = 2
    last = max(gguf.read_header(str(tmp_path / "m.gguf")).table.tensors.values(), key=lambda tensor: tensor.offset)
    (tmp_path / "v2.gguf").write_bytes(data[: last.offset + last.length])
    assert gguf.read_header(str(tmp_path / "v2.gguf")).version == 2


def test_every_byte_counts(tmp_path: Path) -> None:
    path = library_file(tmp_path / "m.gguf")
    data = path.read_bytes()
    whole = gguf.survey(str(path))
    for tensor in whole.table.tensors.values():
        assert tensor.digest == xxh3(data[tensor.offset : tensor.offset + tensor.length])
    start = gguf.read_header(str(path)).size
    for at in range(start, len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert gguf.survey(str(path)).digest != whole.digest, "padding counts too: an imported file is taken as it is"
    path.write_bytes(data + b"\0")
    assert gguf.survey(str(path)).digest != whole.digest


def test_threads_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(library_file(tmp_path / "m.gguf"))
    alone = gguf.survey(path)
    monkeypatch.setattr(file_digest, "BATCH", 30)
    monkeypatch.setattr(file_digest, "CHUNK", 7)
    with ThreadPoolExecutor(3) as pool:
        assert gguf.survey(path, pool) == alone


def test_an_imported_file_is_a_recipe_of_its_own_bytes(tmp_path: Path) -> None:
    path = library_file(tmp_path / "m.gguf")
    recipe = recipes.imported(tmp_path, ["m.gguf"])
    assert all(entry.expression.operation == "leaf" for entry in recipe.tensors)
    assert recipes.file_of(recipe, recipes.Folder(tmp_path, ["m.gguf"]).leaves()) == path.read_bytes()
