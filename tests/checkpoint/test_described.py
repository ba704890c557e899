"""Metadata of a project's own: where they come to stand, and that the file is the converter's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from gguf import GGUFWriter, Metadata
from gguf import size_label as theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbuild.checkpoint import card, metadata
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.described import describe
from modelbuild.errors import Error
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.formats.gguf import decode_value, encode_value, type_name
from tests.at_length import examples
from tests.checkpoint.test_card import CARDS, NUMBERS, TEXT, as_pinned

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "str": TEXT,
    "i32": st.integers(-(2**31), 2**31 - 1) | st.just(""),
    "f32": st.floats(-3, 3, width=32) | st.integers(0, 5),
    "[str]": st.lists(TEXT, max_size=3),
    "tables": st.lists(st.dictionaries(st.sampled_from(metadata.FIELDS), TEXT, max_size=4), max_size=2),
}
GIVEN = st.fixed_dictionaries(
    {},
    optional={key: VALUES[form] for key, form in metadata.GENERAL.items() if key != "general.license" and form != "i32"}
    | {key: st.integers(0, 99) for key, form in metadata.GENERAL.items() if form == "i32"},
)


def gguf_py(folder: Path, override: Path) -> dict[str, bytes]:
    """The metadata that gguf-py writes for a folder, given a file as `--metadata` names it."""
    found = Metadata.load(override, folder, None, 260_000)
    if found.size_label is None:
        found.size_label = theirs(260_000, 260_000, 0, 0)
    file = folder / "out.gguf"
    writer = GGUFWriter(file, "llama")
    writer.add_type("model")
    found.set_gguf_meta_model(writer)
    writer.add_block_count(1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return dict(gguf.read_header(str(file)).table.metadata)


@as_pinned
@settings(max_examples=examples(200), deadline=None)
@given(CARDS, NUMBERS, GIVEN)
def test_the_file_says_what_the_converters_option_makes_it_say(
    tmp_path_factory: pytest.TempPathFactory, found: dict[str, Any], numbers: dict[str, Any], given: dict[str, Any]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "given" / "model-1M"
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "README.md": f"---\n{yaml.safe_dump(found, allow_unicode=True)}---\n",
        "generation_config.json": json.dumps(numbers),
        "config.json": "{}",
    }
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
    override = folder.parent / "override.json"
    override.write_text(json.dumps(given), encoding="utf-8")
    expected = gguf_py(folder, override)

    checkpoint = Checkpoint(lambda file: files[file].encode() if file in files else None, list(files), folder.name)
    ours = {"general.architecture": encode_value("str", "llama"), "general.type": encode_value("str", "model")}
    ours |= card.general(checkpoint, card.ParameterCounts(260_000, 260_000, 0, 0))
    ours["llama.block_count"] = encode_value("u32", 1)
    checked = {key: metadata.check(key, value) for key, value in given.items()}
    ours = describe(ours, json.loads(json.dumps(checked, sort_keys=True)))
    assert list(ours) == list(expected)
    assert ours == expected


FILE = {
    "general.architecture": encode_value("str", "llama"),
    "general.name": encode_value("str", "A"),
    "llama.context_length": encode_value("u32", 2048),
    "llama.rope.freq_base": encode_value("f32", 1e4),
    "tokenizer.ggml.add_bos_token": encode_value("bool", True),
    "tokenizer.chat_template": encode_value("str", "{{ x }}"),
    "acme.numbers": encode_value("[i32]", [1, 2]),
}


def test_a_key_keeps_its_place_and_its_type() -> None:
    given = {"llama.context_length": 4096, "llama.rope.freq_base": 500000, "acme.numbers": [3], "general.name": "B"}
    made = describe(FILE, given)
    assert list(made) == list(FILE)
    assert [(type_name(made[key]), decode_value(made[key])) for key in given] == [
        ("u32", 4096), ("f32", 500000.0), ("[i32]", [3]), ("str", "B"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("x", "str"), (True, "bool"), (0, "u32"), (-1, "i32"), (1 << 32, "u64"), (-(1 << 40), "i64"), (1.0, "f32"), (["a", "b"], "[str]"),
    ],
)  # fmt: skip
def test_a_new_key_comes_last_with_the_type_of_its_value(value: Any, form: str) -> None:
    made = describe(FILE, {"acme.key": value})
    assert list(made) == [*FILE, "acme.key"]
    assert (type_name(made["acme.key"]), decode_value(made["acme.key"])) == (form, value)


def test_an_empty_value_takes_a_key_away() -> None:
    given = {"tokenizer.chat_template": "", "acme.numbers": [], "acme.none": "", "general.author": ""}
    assert list(describe(FILE, given)) == [key for key in FILE if key not in given]


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("llama.context_length", "long", "'llama.context_length' expects a whole number, got 'long'"),
        ("llama.context_length", -1, "'llama.context_length' expects a whole number, got -1"),
        ("llama.context_length", True, "'llama.context_length' expects a whole number, got true"),
        ("llama.rope.freq_base", 1e39, "'llama.rope.freq_base' expects a number, got 1e+39"),
        ("tokenizer.ggml.add_bos_token", 1, "'tokenizer.ggml.add_bos_token' expects true or false, got 1"),
        ("acme.numbers", [1, "x"], "'acme.numbers' expects a list of numbers, got a list"),
        ("acme.numbers", 1, "'acme.numbers' expects a list of numbers, got 1"),
        ("acme.key", [1, 2], "'acme.key' expects a list of strings, got a list"),
    ],
)
def test_a_value_of_another_type_is_refused(key: str, value: Any, what: str) -> None:
    with pytest.raises(Error) as caught:
        describe(FILE, {key: metadata.check(key, value)})
    assert caught.value.what == what


@pytest.mark.parametrize("value", [1 << 64, -(1 << 63) - 1, 1e300])
def test_a_number_that_no_type_holds_is_refused(value: Any) -> None:
    with pytest.raises(Error, match="expects"):
        describe(FILE, {"acme.key": value})
