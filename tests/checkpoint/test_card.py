"""What a model says of itself, beside gguf-py's own reading of the same folder."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from gguf import GGUFWriter, Metadata
from gguf import size_label as theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbuild.checkpoint import card
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.tensors.formats import gguf
from tests.at_length import examples

# Its guesses change from release to release; those of 0.19 are the ones that the pinned converter makes.
as_pinned = pytest.mark.skipif(
    not version("gguf").startswith("0.19."), reason="gguf-py is not of the pinned release, 0.19"
)

PARTS = [
    "Llama", "llama", "3", "3.1", "v1.0", "iter3", "7B", "8b", "7b1", "1_3b", "8x7B", "A3B", "262k", "128K", "0.5b", "1T", "mini", "small",
    "xl", "instruct", "Chat", "vision", "lora", "q4_K", "fp16", "bf16", "hf", "x", ".hidden", "\u00c4\u00d6", "", "-", "name.with", "42",
]  # fmt: skip
IDS = st.builds(
    lambda start, parts: start + "-".join(parts),
    st.sampled_from(["", "org/", "./", "../", "/", "my org/", "a/b/", "meta-llama/"]),
    st.lists(st.sampled_from(PARTS), max_size=6),
) | st.text(max_size=12)
TOTALS = st.sampled_from([0, 260_000, 1_500_000, 1_235_814_432, 7_000_000_000, 46_700_000_000, 10**12])


@as_pinned
@settings(max_examples=examples(400), deadline=None)
@given(IDS, TOTALS)
def test_ids_fall_into_the_parts_that_gguf_py_finds(text: str, total: int) -> None:
    found = card.parse_id(text, total)
    ours = (found.name, found.organization, found.basename, found.finetune, found.version, found.size_label)
    assert ours == Metadata.get_model_id_components(text, total)


@as_pinned
@given(IDS)
def test_titles_are_gguf_pys(text: str) -> None:
    assert card.title(text) == Metadata.id_to_title(text)


@as_pinned
@given(st.integers(1, 10**13), st.integers(0, 10**12), st.integers(0, 10**11), st.sampled_from([0, 4, 8, 128]))
def test_size_labels_are_gguf_pys(total: int, shared: int, expert: int, experts: int) -> None:
    assert card.size_label(card.ParameterCounts(total, shared, expert, experts)) == theirs(
        total, shared, expert, experts
    )


def test_parameters_are_counted_over_what_is_written() -> None:
    dense = [("token_embd.weight", (10, 4)), ("blk.0.attn_norm.weight", (4,))]
    assert card.count_parameters(dense) == (44, 44, 0, 0)
    experts = [
        ("blk.0.ffn_up_exps.weight", (8, 3, 4)),
        ("blk.0.ffn_up_exps.bias", (8, 3)),
        ("blk.0.ffn_gate_inp.weight", (8, 4)),
    ]
    assert card.count_parameters(experts[::2]) == (128, 32, 12, 8)


def gguf_py(folder: Path, total: int) -> dict[str, bytes]:
    """The metadata that gguf-py writes for a folder."""
    metadata = Metadata.load(None, folder, None, total)
    if metadata.size_label is None and total:
        metadata.size_label = theirs(total, total, 0, 0)
    file = folder / "out.gguf"
    writer = GGUFWriter(file, "llama")
    metadata.set_gguf_meta_model(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    values = dict(gguf.read_header(str(file)).table.metadata)
    del values["general.architecture"]
    return values


TEXT = st.sampled_from(
    ["", "a", "org/name-7B-v2", "https://huggingface.co/org/name-1B", "http://x.org/y", "two words", "en", "\u00fc"]
)
OTHER = (
    TEXT
    | st.dictionaries(st.sampled_from(["name", "author", "version", "url", "repo_url", "x"]), TEXT)
    | st.integers(0, 3)
)
CARDS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ("name", "model_name", "author", "model_creator", "version", "model_version", "organization", "basename"),
            TEXT,
        ),
        **dict.fromkeys(
            ("model_type", "finetune", "description", "size_label", "url", "repo_url", "license_name", "license_link"),
            TEXT,
        ),
        "license": TEXT | st.lists(TEXT, max_size=2),
        **dict.fromkeys(
            ("tags", "pipeline_tag", "language", "languages"), TEXT | st.lists(TEXT, max_size=3) | st.none()
        ),
        **dict.fromkeys(
            ("base_model", "base_models", "datasets", "dataset"), TEXT | st.lists(OTHER, max_size=3) | st.none()
        ),
    },
)
NUMBERS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ("top_p", "min_p", "temperature", "xtc_threshold", "penalty_repeat"),
            st.none() | st.floats(0, 2),
        ),
        **dict.fromkeys(("top_k", "penalty_last_n", "mirostat"), st.none() | st.integers(0, 100)),
        "sequence": TEXT,
        "do_sample": st.booleans(),
    },
)


@as_pinned
@settings(max_examples=examples(150), deadline=None)
@given(
    CARDS,
    NUMBERS,
    st.sampled_from([None, "org/Some-1M-chat", "", "/home/me/x", "plain"]),
    st.sampled_from(PARTS[:-5]),
    TOTALS,
)
def test_a_folder_says_what_gguf_py_says(
    tmp_path_factory: pytest.TempPathFactory,
    found: dict[str, Any],
    numbers: dict[str, Any],
    path: str | None,
    name: str,
    total: int,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "cards" / f"model-{name}-13K"
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "README.md": f"---\n{yaml.safe_dump(found, allow_unicode=True)}---\n# Text\n",
        "generation_config.json": json.dumps(numbers),
        "config.json": json.dumps({} if path is None else {"_name_or_path": path}),
    }
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
    checkpoint = Checkpoint(lambda file: files[file].encode() if file in files else None, list(files), folder.name)
    ours = card.general(checkpoint, card.ParameterCounts(total, total, 0, 0))
    expected = gguf_py(folder, total)
    assert ours == expected
    assert list(ours) == list(expected)


def test_generation_config_that_cannot_be_parsed_says_nothing() -> None:
    for data in (b"{", b"", b"nonsense"):
        assert card.sampling(Checkpoint({"generation_config.json": data}.get)) == {}
    assert card.sampling(Checkpoint({}.get)) == {}


def what(act: Any, *args: Any) -> str:
    with pytest.raises(Error) as caught:
        act(*args)
    return caught.value.what


def general(text: str) -> dict[str, bytes]:
    files = {"README.md": f"---\n{text}\n---\n".encode(), "config.json": b"{}"}
    return card.general(Checkpoint(files.get), card.ParameterCounts(0, 0, 0, 0))


def test_a_text_that_a_card_repeats_counts_each_time() -> None:
    long = f"a: &a {'x' * 20_000}"
    assert len(general(f"{long}\ntags: [{', '.join(['*a'] * 10)}]")["general.tags"]) > 200_000
    for key in ("tags", "license", "base_model"):
        assert "characters of text, expected at most" in what(general, f"{long}\n{key}: [{', '.join(['*a'] * 900)}]")
    assert what(general, f"tags: [{', '.join(['a'] * 10_001)}]") == "'tags' has 10,001 items, expected at most 10,000"
