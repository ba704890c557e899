"""Our tables of numbers and sizes beside those of the gguf package, whole and both ways, as far as both know them."""

from __future__ import annotations

import gguf as theirs

from modelbuild.tensors import quants
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.ftypes import FTYPES

TYPES = {kind.name.lower(): int(kind) for kind in theirs.GGMLQuantizationType}
OURS = {name: quants.get(name) for name in (*quants.names(), *quants._carried.SIZES)}
FILE_TYPES = {kind.name.partition("_")[2].lower(): int(kind) for kind in theirs.LlamaFileType if "_" in kind.name}


def test_ids_of_ggml_types() -> None:
    assert {name: OURS[name].ggml_type for name in TYPES} == TYPES
    by_id = {number: name for name, number in TYPES.items()}
    known = {quant.ggml_type: name for name, quant in OURS.items()}
    assert {number: known[number] for number in by_id} == by_id
    for number in range(64):
        quant = quants.by_ggml_type(number)
        assert (quant and quant.name) == known.get(number)


def test_sizes_of_blocks() -> None:
    sizes = {kind.name.lower(): size for kind, size in theirs.GGML_QUANT_SIZES.items()}
    assert sizes.keys() == TYPES.keys()
    # 36 bytes in ggml-common.h; gguf counts its halves as floats.
    sizes["q8_1"] = (32, 36)
    assert {name: (OURS[name].block, OURS[name].bytes) for name in sizes} == sizes


def test_types_of_metadata_values() -> None:
    words = {"u": "UINT", "i": "INT", "f": "FLOAT"}
    ours = {
        ("BOOL" if name == "bool" else words[name[0]] + name[1:]): number for name, (number, _) in gguf.SCALARS.items()
    }
    assert {**ours, "STRING": gguf.STRING, "ARRAY": gguf.ARRAY} == {
        kind.name: int(kind) for kind in theirs.GGUFValueType
    }


def test_numbers_of_file_types() -> None:
    ours = {name.lower(): number for name, number in FTYPES.items()}
    assert ours == {name: FILE_TYPES[name] for name in ours}
    by_number = {number: name for name, number in FILE_TYPES.items()}
    assert {number: by_number[number] for number in ours.values()} == {number: name for name, number in ours.items()}


def test_what_stands_at_the_beginning_of_a_file() -> None:
    assert int.from_bytes(gguf.MAGIC, "little") == theirs.GGUF_MAGIC
    assert (gguf.VERSION, gguf.ALIGNMENT) == (theirs.GGUF_VERSION, theirs.GGUF_DEFAULT_ALIGNMENT)
    assert gguf.QUANTIZATION_VERSION == theirs.GGML_QUANT_VERSION
