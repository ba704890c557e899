"""Whether the runtime would load a GGUF file: what it asks for, one thing after the other taken away. The runtime itself: tests/parity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from math import nan
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from modelbuild.checkpoint import architectures, loadable
from modelbuild.errors import Error
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.tensor import Shape, byte_count
from tests import recipes, zoo
from tests.e2e.project import Project

FIRST = {
    "llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "qwen3moe": "qwen3_moe", "gemma": "gemma", "gemma2": "gemma2",
    "gemma3": "gemma3_text", "phi3": "phi3", "olmo2": "olmo2", "granite": "granite", "granitemoe": "granitemoe", "gpt-oss": "gpt_oss",
    "qwen35": "qwen3_5", "qwen35moe": "qwen3_5_moe", "qwen3next": "qwen3_next",
    "gemma4": "gemma4_text", "gemma4-assistant": "gemma4_assistant", "gemma-embedding": "gemma_embedding",
    "mistral3": "mistral3", "qwen2vl": "qwen2_vl", "qwen3vl": "qwen3_vl", "qwen3vlmoe": "qwen3_vl_moe", "lfm2": "lfm2",
    "lfm2moe": "lfm2_moe", "granitehybrid": "granitemoehybrid", "nemotron_h": "nemotron_h", "nemotron_h_moe": "nemotron_h_moe",
    "smollm3": "smollm3", "arcee": "arcee", "seed_oss": "seed_oss", "starcoder2": "starcoder2",
    "bert": "bert", "nomic-bert": "nomic_bert", "modern-bert": "modernbert", "jina-bert-v2": "jina_bert",
    "nomic-bert-moe": "nomic_bert_moe", "jina-bert-v3": "jina_bert_v3",
    "qwen2moe": "qwen2_moe", "command-r": "cohere", "cohere2": "cohere2", "olmoe": "olmoe", "olmo": "olmo",
    "minimax-m2": "minimax_m2", "exaone4": "exaone4", "phi2": "phi", "glm4": "glm4",
    "glm4moe": "glm4_moe", "deepseek2": "deepseek2", "glm-dsa": "glm_dsa",
    "apertus": "apertus", "exaone": "exaone", "exaone-moe": "exaone_moe", "cohere2moe": "cohere2_moe", "minimax-m3": "minimax_m3",
}  # fmt: skip
"""Architecture -> a file of the zoo with a checkpoint of it."""


@cache
def model(model_type: str) -> tuple[dict[str, bytes], dict[str, Shape]]:
    """Metadata and shapes of a converted checkpoint."""
    case = next(iter(zoo.cases(model_type).values()))
    with TemporaryDirectory() as folder:
        recipe = recipes.converted(zoo.write(Path(folder) / "model", case), "f16", case.pre)
    return dict(recipe.metadata), {entry.name: entry.shape for entry in recipe.tensors}


def told(metadata: Mapping[str, bytes], shapes: Mapping[str, Shape]) -> str:
    return "\n".join(map(str, loadable.faults(metadata, shapes)))


def first(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The tensors of the first block, and of none."""
    return {name: shape for name, shape in shapes.items() if not name.startswith("blk.") or name.startswith("blk.0.")}


def test_every_architecture_has_a_table() -> None:
    assert {kind.NAME for kind in architectures.known()} == set(FIRST)
    assert all(loadable.is_known({"general.architecture": encode_value("str", name)}) for name in FIRST)


@pytest.mark.parametrize("name", FIRST)
def test_what_is_converted_is_loaded(name: str) -> None:
    assert told(*model(FIRST[name])) == ""


@pytest.mark.parametrize("name", FIRST)
def test_each_tensor_is_missed_unless_the_runtime_does_without(name: str) -> None:
    metadata, shapes = model(FIRST[name])
    # A file without gates of linear attention is loaded, and runs into nothing.
    optional = (
        "bias",
        "attn_gate.weight",
        *(("token_types.weight",) if name != "jina-bert-v2" else ()),
        "rope_freqs.weight",
        "rope_factors_long.weight",
        "rope_factors_short.weight",
    )
    for tensor in first(shapes):
        found = told(metadata, {key: shape for key, shape in shapes.items() if key != tensor})
        if tensor == "output.weight" or tensor.endswith(optional):
            continue
        if name == "gemma4" and tensor.endswith(("attn_v.weight", "layer_output_scale.weight")):
            continue
        if ".indexer." in tensor or name == "glm4moe" and tensor.endswith(("attn_q_norm.weight", "attn_k_norm.weight")):
            continue
        if ".ffn_gate_exps." in tensor and name in ("llama", "granitemoe", "granite", "granitehybrid"):
            continue
        assert "lacks 1 tensor " in found and tensor in found or "attn_qkv" in tensor, (tensor, found)


@pytest.mark.parametrize("name", FIRST)
def test_each_shape_is_looked_at(name: str) -> None:
    metadata, shapes = model(FIRST[name])
    for tensor, shape in first(shapes).items():
        found = told(metadata, {**shapes, tensor: (*shape[:-1], shape[-1] + 1)})
        assert "not have the shape" in found and tensor in found, tensor


def test_ones_at_the_outside_of_a_shape_may_be_written_or_not() -> None:
    metadata, shapes = model("llama")
    assert told(metadata, {key: (1, *shape) for key, shape in shapes.items()}) == ""


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("llama.context_length", None, "lacks a key"),
        ("llama.embedding_length", None, "lacks a key"),
        ("llama.block_count", None, "lacks a key"),
        ("llama.attention.head_count", None, "lacks a key"),
        ("llama.attention.layer_norm_rms_epsilon", None, "lacks a key"),
        ("llama.block_count", encode_value("u64", 2), "expects a u32, got u64"),
        ("llama.block_count", encode_value("u32", 0), "expects a number from 1"),
        ("llama.block_count", encode_value("u32", 100_000), "expects a number from 1"),
        ("llama.expert_count", encode_value("u32", 5000), "expects at most 1024"),
        ("llama.expert_count", encode_value("u32", 4), "expert_used_count"),
        ("llama.attention.layer_norm_rms_epsilon", encode_value("str", "1e-5"), "expects a f32, got str"),
        ("llama.rope.dimension_count", encode_value("u32", 2), "size of a head"),
        ("tokenizer.ggml.model", None, "no vocabulary"),
        ("tokenizer.ggml.model", encode_value("str", "zzz"), "expects one of llama, gpt2"),
        ("llama.block_count", encode_value("u32", 1), "of blocks beyond the 1 that it declares"),
        ("tokenizer.ggml.tokens", None, "no vocabulary"),
        ("tokenizer.ggml.tokens", encode_value("str", "a"), "no vocabulary"),
        ("tokenizer.ggml.tokens", encode_value("[str]", ["a", "b", "a"]), "the token 'a' more than once"),
        ("tokenizer.ggml.scores", encode_value("[f32]", [1.0]), "not as many scores: got 1 of them"),
        ("tokenizer.ggml.token_type", encode_value("[str]", ["x"]), "not as many types: got [str]"),
    ],
)
def test_metadata_that_the_runtime_ends_at(key: str, value: bytes | None, text: str) -> None:
    metadata, shapes = model("llama")
    changed = {name: data for name, data in metadata.items() if name != key} | ({key: value} if value else {})
    if "tokens" in key and value is not None:
        changed.pop("tokenizer.ggml.scores", None)
        changed.pop("tokenizer.ggml.token_type", None)
    assert text in told(changed, shapes)


@pytest.mark.parametrize(("name", "told_of"), [("glm4_moe", ""), ("glm_dsa", ""), ("qwen3_5", "lacks")])
def test_blocks_for_further_tokens_that_are_declared_and_absent(name: str, told_of: str) -> None:
    """The runtime does without GLM's (load_arch_tensors, trunk_only)."""
    metadata, shapes = model(name)
    last = f"blk.{max(int(key.split('.')[1]) for key in shapes if key.startswith('blk.'))}."
    found = told(metadata, {key: shape for key, shape in shapes.items() if not key.startswith(last)})
    assert told_of in found and bool(found) is bool(told_of)


def test_metadata_of_a_name_of_its_own_is_asked_for() -> None:
    metadata, shapes = model("apertus")
    found = told({key: data for key, data in metadata.items() if key != "xielu.beta"}, shapes)
    assert "lacks a key" in found and "xielu.beta" in found


def test_byte_pairs_need_merges() -> None:
    metadata, shapes = model("qwen2")
    assert told(metadata, shapes) == ""
    metadata = {key: data for key, data in metadata.items() if key != "tokenizer.ggml.merges"}
    assert "merges" in told(metadata, shapes)


def test_what_cannot_be_judged_passes() -> None:
    metadata, shapes = model("llama")
    assert told({**metadata, "general.architecture": encode_value("str", "mpt")}, {}) == ""
    assert "lacks 'general.architecture'" in told({}, {})
    assert told(metadata, {**shapes, "v.blk.0.attn_q.weight": (3, 3), "mm.0.weight": (2,)}) == ""
    empty = encode_value("[str]", ["", "", *map(str, range(298))])
    count = gguf.decode_value(metadata["tokenizer.ggml.tokens"])
    if len(count) == 300:
        assert told({**metadata, "tokenizer.ggml.tokens": empty}, shapes) == ""


@pytest.mark.parametrize(
    ("model_type", "key", "value"),
    [
        ("llama", "llama.attention.sliding_window", encode_value("i32", 64)),
        ("granite", "granite.vocab_size", encode_value("i32", 320)),
        ("llama", "tokenizer.ggml.bos_token_id", encode_value("u32", 1 << 30)),
        ("llama", "llama.attention.head_count", encode_value("[i32]", [4, 4])),
        ("qwen2", "tokenizer.ggml.pre", encode_value("str", "one of next year")),
        ("llama", "something.else", encode_value("f64", 1.0)),
    ],
)
def test_what_the_runtime_does_not_read_or_mind_passes(model_type: str, key: str, value: bytes) -> None:
    metadata, shapes = model(model_type)
    assert told({**metadata, key: value}, shapes) == ""


def test_tokens_differ_by_their_bytes() -> None:
    metadata, shapes = model("llama")
    tokens = [token.encode() for token in gguf.decode_value(metadata["tokenizer.ggml.tokens"])]

    def last(*texts: bytes) -> str:
        found = encode_value("[str]", [*tokens[: -len(texts)], *texts])
        return told({**metadata, "tokenizer.ggml.tokens": found}, shapes)

    assert last(b"\xff", b"\xfe") == ""
    assert last(b"", b"") == ""
    assert "the token 'twice' more than once" in last(b"twice", b"twice")


# By the command


def write(path: Path, metadata: Mapping[str, bytes], shapes: Mapping[str, Shape]) -> None:
    head = gguf.header(metadata, [(name, "f32", shape) for name, shape in shapes.items()])
    path.write_bytes(head + b"".join(bytes(gguf.padded(byte_count("f32", shape))) for shape in shapes.values()))


@pytest.mark.parametrize("quantize", ["", 'quantize = "q8_0"\n', 'metadata = { "general.name" = "x" }\n'])
def test_file_that_cannot_be_loaded_gets_no_name(tmp_path: Path, quantize: str) -> None:
    project = Project(tmp_path)
    metadata, shapes = model("llama")
    write(tmp_path / "good.gguf", metadata, shapes)
    write(tmp_path / "bad.gguf", metadata, {**shapes, "token_embd.weight": (7, shapes["token_embd.weight"][1])})
    other = {key.replace("llama.", "mpt."): data for key, data in metadata.items()}
    other["general.architecture"] = encode_value("str", "mpt")
    write(tmp_path / "other.gguf", other, shapes)
    models = "".join(f'[model.{name}]\nfrom = "./{name}.gguf"\n{quantize}' for name in ("good", "bad", "other"))
    project.write("ModelBuild.toml", models)
    for words, code in ((("check",), 1), (("-n",), 1), ((), 1), (("-k",), 1)):
        project.run(*words, code=code)
        assert "bad.gguf: 1 tensor does not have the shape" in project.errors
        assert "token_embd.weight  expected [" in project.errors
    names = {path.name for path in (tmp_path / "models/manifests/registry.ollama.ai/library").iterdir()}
    assert names == {"good", "other"}
    project.run("-v", "check", "other")
    assert "not checked: " in project.errors and "'mpt'" in project.errors
    assert "not checked" not in project.run("check", "other") + project.errors


def test_blobs_that_a_server_has_are_not_judged(tmp_path: Path) -> None:
    project = Project(tmp_path)
    metadata, shapes = model("llama")
    write(tmp_path / "good.gguf", metadata, shapes)
    project.write("ModelBuild.toml", '[model.good]\nfrom = "./good.gguf"\n[model.on]\nfrom = "good"\nsystem = "x"\n')
    project.build()


def test_codes_without_scales_are_an_error(tmp_path: Path) -> None:
    project = Project(tmp_path)
    whole = zoo.cases("fp8")["whole numbers"]
    zoo.write(tmp_path / "weights", whole)
    project.write("ModelBuild.toml", '[model.chat]\nfrom = "./weights"\n')
    said = "float" in str(whole.config.get("torch_dtype") or whole.config.get("dtype"))
    project.run("check", code=1 if said else 0)
    config = dict(whole.config) | {"torch_dtype": "float16"}
    zoo.write(tmp_path / "weights", replace(whole, config=config))
    project.run("check", code=1)
    assert "matrices of whole numbers, but config.json says float16" in project.errors
    assert "quantized values without their scales" in project.errors
    project.run(code=1)
    assert not (tmp_path / "models/manifests").exists()


def test_a_name_like_phi3s_wants_the_tokens_of_phi3() -> None:
    def of(name: str, *tokens: str) -> list[Error]:
        values = {"general.name": ("str", name), "tokenizer.ggml.tokens": ("[str]", tokens)}
        return loadable.named_phi3({key: encode_value(*value) for key, value in values.items()})

    (error,) = of("My Phi-3.5 Mini", "<s>", "</s>", "<unk>")
    assert dict(error.facts) == {"missing": "'<|endoftext|>'"}
    assert not of("phi3", *loadable.PHI3_TOKENS)
    assert not of("phi 3", "a")
    assert not loadable.named_phi3({})


def test_a_number_that_is_none_is_an_error() -> None:
    metadata, shapes = model("llama")
    key = "llama.attention.layer_norm_rms_epsilon"
    assert f"'{key}' expects a finite number, got nan" in told({**metadata, key: encode_value("f32", nan)}, shapes)
    assert told({**metadata, "other.key": encode_value("f32", nan)}, shapes) == ""


def test_whole_numbers_are_no_weights() -> None:
    metadata, shapes = model("llama")
    dtypes = {name: "f16" for name, shape in shapes.items() if len(shape) > 1}
    assert loadable.codes(metadata, dtypes) == []
    (found,) = loadable.codes(metadata, {**dtypes, "output.weight": "i8"})
    assert found.what == "the file contains 1 matrix of i8, which no runtime computes with"
    assert loadable.codes({"general.architecture": encode_value("str", "other")}, {"a.weight": "i8"}) == []
