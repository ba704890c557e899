"""Whole files against llama.cpp's own converter and quantizer, and the recorded digests of them that every machine can check."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelbuild.errors import Error
from modelbuild.tensors import quants
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.ftypes import FTYPES, default_quant
from modelbuild.tensors.recipe import Recipe

from .. import checkpoints, recipes
from .peers import Peers, same

ROOT = Path(__file__).parents[2]
DATA = ROOT / "../shared/data"
GOLDEN = ROOT / "tests/golden/formats/llama.json"

FTYPES_MADE = [name for name in FTYPES if default_quant(name) in quants.names() and name not in ("q2_K_S", "mxfp4_moe")]

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the repository")


def compare(peers: Peers, folder: Path, outtypes: list[str], ftypes: list[str], scratch: Path) -> None:
    leaves = recipes.Folder(folder).leaves()
    for outtype in outtypes:
        recipe = recipes.converted(folder, outtype)
        same(recipes.file_of(recipe, leaves), peers.convert(folder, outtype), scratch)
        for ftype in ftypes:
            same(recipes.file_of(recipes.quantized(recipe, ftype), leaves), peers.quantize(ftype), scratch)


def copy(source: Path, folder: Path, *names: str) -> None:
    for name in names:
        shutil.copyfile(source / name, folder / name)


SPM = ("models/stories260K-hf", "tokenizer.model", "tokenizer.json", "tokenizer_config.json")

RANDOM: dict[str, tuple[dict[str, Any], dict[str, Any], list[str], list[str]]] = {
    # name: configuration, how it is saved, outtypes, ftypes
    "hidden 64, f32": (
        {"hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 3}, {"dtype": "float32"}, ["f32", "auto"], FTYPES_MADE,
    ),
    "hidden 256, bf16": ({}, {}, ["f32", "f16", "bf16", "auto"], FTYPES_MADE),
    "hidden 256, q8_0": ({}, {}, ["q8_0"], ["q8_0"]),
    "hidden 288, f16": (
        {"hidden_size": 288, "intermediate_size": 320, "num_attention_heads": 4, "num_key_value_heads": 2}, {"dtype": "float16"},
        ["f16", "q8_0"], [],
    ),
    "hidden 288, f16, quantized": (
        {"hidden_size": 288, "intermediate_size": 320, "num_attention_heads": 4, "num_key_value_heads": 2}, {"dtype": "float16"},
        ["f16"], FTYPES_MADE,
    ),
    "12 layers in shards": ({"num_hidden_layers": 12, "intermediate_size": 256}, {"shard": "400KB"}, ["bf16"], FTYPES_MADE),
    "tied, 8 layers, f32": ({"num_hidden_layers": 8, "tie_word_embeddings": True}, {"dtype": "float32"}, ["f32"], FTYPES_MADE),
    "biases and a head size": ({"attention_bias": True, "mlp_bias": True, "head_dim": 64}, {}, ["bf16", "f32"], ["q4_K_M"]),
    "one key-value head": ({"num_key_value_heads": 1, "num_hidden_layers": 9}, {}, ["bf16"], FTYPES_MADE),
    "llama3 scaling": ({"rope_scaling": LLAMA3, "rope_theta": 500000.0, "head_dim": 64}, {}, ["bf16"], ["q4_K_M"]),
    "yarn": ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}}, {}, ["bf16"], []),
    "linear scaling": ({"rope_scaling": {"type": "linear", "factor": 2.0}}, {}, ["bf16"], ["q6_K"]),
}  # fmt: skip


@pytest.mark.peer
@needs_data
@pytest.mark.parametrize("case", RANDOM)
def test_random_llama_is_llama_cpps_file(case: str, peers: Peers, tmp_path: Path) -> None:
    config, saving, outtypes, ftypes = RANDOM[case]
    full = {
        "vocab_size": 512, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 8,
        "num_key_value_heads": 4, "max_position_embeddings": 256, **config,
    }  # fmt: skip
    folder = peers.make(tmp_path / "random-llama-3M", config=full, **saving)
    copy(DATA / SPM[0], folder, *SPM[1:])
    compare(peers, folder, outtypes, ftypes, tmp_path)


SMALL = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
}  # fmt: skip

Change = Callable[[Path], None]


def settings(**changes: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / "tokenizer_config.json"
        found = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({key: value for key, value in found.items() if value is not ...}))

    return change


def without(*names: str) -> Change:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def text(name: str, content: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, newline="")

    return change


def token(text: str, **flags: Any) -> dict[str, Any]:
    return {
        "content": text,
        "lstrip": False,
        "rstrip": False,
        "single_word": False,
        "normalized": False,
        "special": False,
    } | flags


def more_added(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    decoder = json.loads(path.read_text())["added_tokens_decoder"]
    decoder |= {
        "128256": token("<new one>", lstrip=True),
        "128257": token("<|neu \u00e9|>"),
        "128258": token("\u2581x y .", normalized=True),
        "128000": {**decoder["128000"], "normalized": True},
    }
    settings(added_tokens_decoder=decoder)(folder)


BPE_CONFIG = {"vocab_size": 128320, "rope_theta": 500000.0, "rope_scaling": LLAMA3, "tie_word_embeddings": True}

BPE: dict[str, Change] = {
    "as published": lambda folder: None,
    "no special_tokens_map": without("special_tokens_map.json"),
    "no added_tokens_decoder": settings(added_tokens_decoder=...),
    "no added_tokens_decoder, no map": lambda f: (
        settings(added_tokens_decoder=...)(f),
        without("special_tokens_map.json")(f),
    )[0],
    "no tokenizer_config": without("tokenizer_config.json"),
    "LlamaTokenizerFast": settings(tokenizer_class="LlamaTokenizerFast"),
    "LlamaTokenizerFast with its own tokens": settings(
        tokenizer_class="LlamaTokenizerFast",
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        unk_token=None,
        add_eos_token=False,
    ),
    "GPT2Tokenizer": settings(tokenizer_class="GPT2Tokenizer"),
    "more added tokens": more_added,
    "more special tokens": settings(
        additional_special_tokens=["<a>", "<b .c>", {"__type": "AddedToken", **token("<c ,>")}]
    ),
    "all kinds of special tokens": settings(
        sep_token="<|eot_id|>",
        cls_token="<|begin_of_text|>",
        mask_token="<|eom_id|>",
        pad_token="<|eom_id|>",
        add_eos_token=True,
    ),
    "a special token with flags": settings(
        bos_token={"__type": "AddedToken", **token("<|begin_of_text|>", special=True)}
    ),
    "add_prefix_space": settings(add_prefix_space=True),
}


@pytest.fixture(scope="module")
def bpe_base(peers: Peers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return peers.make(
        tmp_path_factory.mktemp("bpe") / "base", config={"max_position_embeddings": 128, **SMALL, **BPE_CONFIG}
    )


@pytest.mark.peer
@needs_data
@pytest.mark.parametrize("case", BPE)
def test_byte_level_tokenizer_is_llama_cpps(case: str, peers: Peers, bpe_base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Llama-3.2-1B-Instruct"
    shutil.copytree(bpe_base, folder)
    copy(DATA / "tokenizers/llama-3.2", folder, "tokenizer.json")
    files = ("generation_config.json", "special_tokens_map.json", "tokenizer_config.json")
    copy(DATA / "configs/llama-3.2-1b-ft", folder, *files)
    BPE[case](folder)
    compare(peers, folder, ["bf16"], ["q4_K_M"] if case == "as published" else [], tmp_path)


CARD = """---
license: apache-2.0
license_name: foo
language: [en, "no", de]
tags:
- a
pipeline_tag: text-generation
base_model: meta-llama/Llama-2-7b-hf
datasets:
- org/data-1M
- https://huggingface.co/org/ds-v2
model_creator: Somebody
version: "1.0"
---
# Text
"""
GENERATION = {
    "sequence": "abc", "top_k": 40, "top_p": 0.9, "min_p": 0.05, "xtc_probability": 0.1, "xtc_threshold": 0.2, "temperature": 1,
    "penalty_last_n": 64, "repetition_penalty": 1.1, "mirostat": 2, "mirostat_tau": 5.0, "mirostat_eta": 0.1, "do_sample": True,
}  # fmt: skip


def configured(**changes: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        found = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({key: value for key, value in found.items() if value is not ...}))

    return change


def hf_template(single: list[Any], pair: list[Any]) -> Change:
    def part(word: str) -> dict[str, Any]:
        return (
            {"Sequence": {"id": word, "type_id": 0}} if word in "AB" else {"SpecialToken": {"id": word, "type_id": 0}}
        )

    def change(folder: Path) -> None:
        path = folder / "tokenizer.json"
        data = json.loads(path.read_text())
        data["post_processor"] = {
            "type": "TemplateProcessing", "single": [part(word) for word in single], "pair": [part(word) for word in pair],
            "special_tokens": {},
        }  # fmt: skip
        path.write_text(json.dumps(data))

    return change


SPM_CASES: dict[str, tuple[str, Change]] = {
    # name: the folder's name, what is changed
    "as it is": ("m", lambda folder: None),
    "size in the name": ("TinyLlama-1.1B-Chat-v1.0", lambda folder: None),
    "context in the name": ("llama-3-8b-instruct-262k", lambda folder: None),
    "words in the name": ("my model with spaces", lambda folder: None),
    "strange name": ("x--A3B-30B_7b1-iter3-q8_0-xl", lambda folder: None),
    "name that fits": ("acme-llama-13K-chat-v1.2", lambda folder: None),
    "_name_or_path": ("m", configured(_name_or_path="org/Some-13K-instruct-v2")),
    "_name_or_path, empty": ("m", configured(_name_or_path="")),
    "_name_or_path, a path": ("m", configured(_name_or_path="/home/me/out/x")),
    "card": ("m", text("README.md", CARD)),
    "card with CRLF": ("m", text("README.md", CARD.replace("\n", "\r\n"))),
    "generation_config": ("m", text("generation_config.json", json.dumps(GENERATION))),
    "generation_config that is broken": ("m", text("generation_config.json", "{")),
    "few keys": ("m", configured(rms_norm_eps=..., max_position_embeddings=..., rope_theta=..., head_dim=...)),
    "another model_type": ("m", configured(model_type="foo", head_dim=...)),
    "half a rope_scaling": ("m", configured(rope_scaling={"rope_type": "llama3"}, head_dim=...)),
    "rope_parameters": ("m", configured(rope_parameters={**LLAMA3, "rope_theta": 500000.0}, rope_theta=...)),
    "list of eos": ("m", configured(eos_token_id=[2, 3], pad_token_id=5)),
    "Code Llama": ("m", configured(sep_token_id=4)),
    "no tokenizer.json": ("m", without("tokenizer.json")),
    "no tokenizer_config": ("m", without("tokenizer_config.json")),
    "tokenizer.json alone": ("m", without("tokenizer.model")),
    "added tokens": ("m", text("added_tokens.json", '{"<foo>": 511, "bar\u2581": 510, "big": 999}')),
    "added_tokens_decoder": (
        "m", settings(added_tokens_decoder={"0": token("<unk>", special=True), "300": token("\u2581a b"), "301": token("<|x|>")}),
    ),
    "add_prefix_space": ("m", settings(add_prefix_space=False)),
    "chat template": ("m", settings(chat_template="{{ messages }}")),
    "chat template, named": ("m", settings(chat_template=[{"name": "default", "template": "A"}, {"name": "tool use", "template": "B"}])),
    "chat template, null": ("m", lambda f: (settings(chat_template=None)(f), text("chat_template.jinja", "x")(f))[0]),
    "chat_template.jinja": ("m", text("chat_template.jinja", "hello\r\n{{x}}\n")),
    "chat_template.json": ("m", text("chat_template.json", '{"chat_template": "J"}')),
    "chat templates in files": (
        "m", lambda f: (text("chat_template.jinja", "x")(f), text("additional_chat_templates/a-b.jinja", "y")(f))[0],
    ),
    "eos at the end": ("m", hf_template(["<s>", "A", "</s>"], ["<s>", "A", "</s>", "B", "</s>"])),
    "another end": ("m", hf_template(["<unk>", "A", "<unk>"], ["<unk>", "A", "<unk>", "</s>", "B", "<unk>"])),
    "a separator": ("m", hf_template(["<s>", "A"], ["<s>", "A", "</s>", "B"])),
}  # fmt: skip


@pytest.mark.peer
@needs_data
@pytest.mark.parametrize("case", SPM_CASES)
def test_metadata_are_llama_cpps(case: str, peers: Peers, tmp_path: Path) -> None:
    name, change = SPM_CASES[case]
    folder = checkpoints.write(
        tmp_path / name, hidden_size=32, intermediate_size=32, num_hidden_layers=1, vocab_size=512
    )
    copy(DATA / SPM[0], folder, *SPM[1:])
    change(folder)
    compare(peers, folder, ["bf16"], [], tmp_path)


TOKENIZERS: dict[str, tuple[int, list[tuple[str, str, str]]]] = {
    # name: vocab_size, files (source folder, its name there, its name here)
    "llama-2": (32000, [("tokenizers/llama-2", name, name) for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")]),
    "llama-2 without tokenizer.model": (
        32000, [("tokenizers/llama-2", name, name) for name in ("tokenizer.json", "tokenizer_config.json")]
    ),
    "code llama": (32016, [("tokenizers/llama-2", name, name) for name in ("tokenizer.model", "tokenizer_config.json")]),
    "granite's size": (49152, [("tokenizers/llama-2", "tokenizer.model", "tokenizer.model")]),
    "phi-3's, on a Llama": (32011, [
        ("tokenizers/phi-3", name, name)
        for name in ("tokenizer.json", "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json")
    ]),
    "mistral v3's, on a Llama": (32768, [
        ("configs/mistral-7b-instruct-v0.3", "tokenizer.model.v3", "tokenizer.model"),
        ("configs/mistral-7b-instruct-v0.3", "tokenizer.json", "tokenizer.json"),
        ("configs/mistral-7b-instruct-v0.3", "tokenizer_config.json", "tokenizer_config.json"),
    ]),
    "qwen2.5's, on a Llama": (151936, [
        ("tokenizers/qwen2.5", "tokenizer.json", "tokenizer.json"),
        ("configs/qwen2.5-14b-cogito", "tokenizer_config.json", "tokenizer_config.json"),
    ]),
}  # fmt: skip


@pytest.mark.peer
@needs_data
@pytest.mark.parametrize("case", TOKENIZERS)
def test_real_tokenizer_is_llama_cpps(case: str, peers: Peers, tmp_path: Path) -> None:
    size, files = TOKENIZERS[case]
    folder = checkpoints.write(
        tmp_path / "m", hidden_size=32, intermediate_size=32, num_hidden_layers=1, vocab_size=size
    )
    (folder / "tokenizer.model").unlink()
    for source, name, here in files:
        shutil.copyfile(DATA / source / name, folder / here)
    compare(peers, folder, ["f16"], [], tmp_path)


def digests(recipe: Recipe, leaves: dict[str, bytes]) -> dict[str, Any]:
    """sha256 of the whole file and of its header, and of each tensor's bytes, of those the first 16 digits."""
    header = gguf.header(recipe.metadata, [(e.name, e.expression.dtype, e.shape) for e in recipe.tensors])
    known = {**leaves, **recipe.constants}
    tensors = {e.name: hashlib.sha256(recipes.evaluate(e.expression, known)).hexdigest()[:16] for e in recipe.tensors}
    whole = hashlib.sha256(recipes.file_of(recipe, leaves)).hexdigest()
    return {"file": whole, "header": hashlib.sha256(header).hexdigest()[:16], "tensors": tensors}


RECORDED = [("bf16", None), ("f16", None), ("q8_0", None), *(("bf16", ftype) for ftype in FTYPES_MADE)]


def recorded_folder(name: str, scratch: Path) -> Path:
    if name == "tiny":
        return checkpoints.write(scratch / "tiny-llama")
    folder = DATA / "models" / name
    if not folder.is_dir():
        pytest.skip(f"no ../shared/data/models/{name} beside the repository")
    return folder.resolve()


@pytest.mark.parametrize("name", ["tiny", "stories260K-hf"])
def test_files_are_the_recorded_ones(name: str, tmp_path: Path) -> None:
    folder = recorded_folder(name, tmp_path)
    golden = json.loads(GOLDEN.read_text())[name]
    leaves = recipes.Folder(folder).leaves()
    for outtype, ftype in RECORDED:
        recipe = recipes.converted(folder, outtype)
        found = digests(recipe if ftype is None else recipes.quantized(recipe, ftype), leaves)
        expected = golden[f"{outtype} {ftype}" if ftype else outtype]
        assert found["header"] == expected["header"], (outtype, ftype)
        assert found["tensors"] == expected.get("tensors", found["tensors"]), (outtype, ftype)
        assert found["file"] == expected["file"], (outtype, ftype)


@pytest.mark.peer
@pytest.mark.parametrize("name", ["tiny", "stories260K-hf"])
def test_recorded_files_are_llama_cpps(name: str, peers: Peers, tmp_path: Path) -> None:
    """UPDATE_GOLDEN=1 records what the peers make."""
    folder = recorded_folder(name, tmp_path)
    leaves = recipes.Folder(folder).leaves()
    found: dict[str, Any] = {}
    for outtype, ftype in RECORDED:
        theirs = peers.convert(folder, outtype)
        theirs = peers.quantize(ftype) if ftype else theirs
        recipe = recipes.converted(folder, outtype)
        recipe = recipes.quantized(recipe, ftype) if ftype else recipe
        entry = digests(recipe, leaves)
        assert entry["file"] == hashlib.sha256(theirs).hexdigest(), (outtype, ftype)
        if ftype not in (None, "q4_K_M"):
            del entry["tensors"]
        found[f"{outtype} {ftype}" if ftype else outtype] = entry
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.is_file() else {}
    if os.environ.get("UPDATE_GOLDEN"):
        versions = {"llama.cpp": "of llama-cpp-python 0.3.36", "transformers": "4.57.6"}
        GOLDEN.parent.mkdir(parents=True, exist_ok=True)
        GOLDEN.write_text(json.dumps({**golden, "recorded with": versions, name: found}, indent=1) + "\n")
    else:
        assert golden[name] == found


def test_what_is_quantized_already_is_not_quantized_again(tmp_path: Path) -> None:
    recipe = recipes.converted(checkpoints.write(tmp_path / "m"), "q8_0")
    with pytest.raises(Error, match="cannot make q4_K_M of tensor 'output.weight': it is already q8_0"):
        recipes.quantized(recipe, "q4_K_M")
    assert {e.expression.dtype for e in recipes.quantized(recipe, "q8_0").tensors} == {"q8_0", "f32"}
