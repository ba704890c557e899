"""Checkpoint folders that are broken, unfinished or of another kind: one error for each, found from the headers alone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbuild.checkpoint import shards
from modelbuild.errors import Error, render
from modelbuild.steps import convert
from modelbuild.tensors.formats import safetensors
from modelbuild.tensors.recipe import Recipe
from modelbuild.tensors.tensor import TensorTable
from tests.at_length import examples
from tests.tensors.formats import golden

from .. import checkpoints, recipes

Change = Callable[[Path], None]


class Preflight(recipes.Folder):
    """A folder whose weights have not been read: tables without digests."""

    def tables(self) -> list[tuple[str, TensorTable]]:
        return [(name, safetensors.table(str(self.path / name))) for name in self.weights]


def convert_folder(folder: Path, outtype: str = "source") -> bytes:
    return convert.run({"outtype": outtype, "folder": "m"}, Preflight(folder))


def write(name: str, content: str | bytes) -> Change:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data) and None


def config(**changes: Any) -> Change:
    return lambda folder: rewrite(folder / "config.json", lambda found: {**found, **changes})


def rewrite(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    found = {key: value for key, value in change(json.loads(path.read_text())).items() if value is not ...}
    path.write_text(json.dumps(found))


def remove(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def weights(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    def act(folder: Path) -> None:
        checkpoints.save(folder / "model.safetensors", change(checkpoints.tensors(checkpoints.CONFIG, "bf16")))

    return act


def index(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    def act(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        checkpoints.write(folder, shards=3)
        rewrite(folder / shards.INDEX, lambda found: {"weight_map": change(found["weight_map"])})

    return act


def tokenizer_json(**changes: Any) -> Change:
    def act(folder: Path) -> None:
        (folder / "tokenizer.model").unlink()
        data = {
            "added_tokens": [],
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
            **changes,
        }
        (folder / "tokenizer.json").write_text(json.dumps(data))
        write("tokenizer_config.json", '{"tokenizer_class": "PreTrainedTokenizerFast"}')(folder)

    return act


def both(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes] and None


FIRST = "model.layers.0.self_attn.q_proj.weight"
BF16_4 = ("BF16", (2, 2), bytes(8))

LIES: dict[str, Change] = {
    # files
    "config-missing": remove("config.json"),
    "config-not-json": write("config.json", '{\n  "model_type": "llama",\n  "hidden_size": 256,,\n}'),
    "config-not-utf8": write("config.json", b'{"a": "\xff"}'),
    "config-not-an-object": write("config.json", "[]"),
    "config-deep": write("config.json", '{"a":' + "[" * 100_000),
    "architectures-missing": config(architectures=...),
    "architectures-empty": config(architectures=[]),
    "architectures-text": config(architectures="LlamaForCausalLM"),
    "architectures-unknown": config(architectures=["FalconForCausalLM"]),
    "quantized": config(quantization_config={"quant_method": "gptq", "bits": 4}),
    "quantized-modelopt": write("hf_quant_config.json", "{}"),
    "draft": config(draft_vocab_size=100),
    "nothing": remove("model.safetensors"),
    "pickle": both(remove("model.safetensors"), write("pytorch_model.bin", b"PK\3\4")),
    "adapter": both(remove("model.safetensors"), write("adapter_config.json", "{}"), write("adapter_model.safetensors", b"x")),
    "other-names": both(remove("model.safetensors"), write("consolidated.safetensors", b"x")),
    # shards
    "shard-missing": both(index(lambda found: found), remove("model-00002-of-00003.safetensors")),
    "index-not-json": both(index(lambda found: found), write(shards.INDEX, "{")),
    "index-no-map": both(index(lambda found: found), write(shards.INDEX, "{}")),
    "index-outside": index(lambda found: {**found, FIRST: "../model.safetensors"}),
    "index-lacks-tensors": index(lambda found: {k: v for k, v in found.items() if "mlp" not in k}),
    "index-names-more": index(lambda found: {**found, "model.layers.9.x.weight": "model-00001-of-00003.safetensors"}),
    "tensor-in-two-files": lambda folder: checkpoints.save(folder / "model-2.safetensors", {FIRST: BF16_4}),
    # tensors
    "tensor-unknown": weights(lambda found: {**found, "v_head.summary.weight": BF16_4}),
    "tensor-of-no-block": weights(lambda found: {**found, "model.layers.2.mlp.up_proj.weight": BF16_4}),
    "tensor-of-an-adapter": weights(lambda found: {**found, "model.layers.0.self_attn.q_proj.lora_A.weight": BF16_4}),
    "tensor-twice": weights(lambda found: {**found, "norm.weight": BF16_4}),
    "blocks-missing": config(num_hidden_layers=4),
    "embedding-missing": weights(lambda found: {k: v for k, v in found.items() if "embed" not in k}),
    "heads-wrong": config(num_attention_heads=7, head_dim=32),
    "dtype-u32": weights(lambda found: {**found, FIRST: ("U32", (256, 256), bytes(4 * 65536))}),
    "dtype-complex": weights(lambda found: {**found, FIRST: ("C64", (256, 256), bytes(8 * 65536))}),
    # hyper-parameters
    "heads-missing": config(num_attention_heads=None),
    "heads-no-number": config(num_attention_heads="8"),
    "heads-zero": config(num_attention_heads=0),
    "layers-absurd": config(num_hidden_layers=1 << 40),
    "context-negative": config(max_position_embeddings=-1),
    "eps-text": config(rms_norm_eps="small"),
    "vocab-missing": config(vocab_size=None),
    "vocab-absurd": config(vocab_size=10**12),
    "vocab-fraction": config(vocab_size=288.0),
    "vocab-other": config(vocab_size=287),
    "rope-no-object": config(rope_scaling=[1]),
    "rope-yarn-lacks-context": config(rope_scaling={"rope_type": "yarn", "factor": 2.0}),
    "rope-factor-text": config(rope_scaling={"rope_type": "linear", "factor": "2"}),
    "rope-llama3-zero": config(
        rope_scaling={
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
        }
    ),
    "eos-negative": config(eos_token_id=-1),
    # tokenizer
    "tokenizer-missing": remove("tokenizer.model"),
    "tokenizer-model-empty": write("tokenizer.model", b""),
    "tokenizer-model-cut": lambda folder: write("tokenizer.model", checkpoints.pieces()[:1000])(folder),
    "tokenizer-model-garbage": write("tokenizer.model", b"\xff" * 50),
    "tokenizer-json-garbage": both(remove("tokenizer.model"), write("tokenizer.json", "nonsense")),
    "tokenizer-json-no-model": tokenizer_json(model=None),
    "tokenizer-json-merges": tokenizer_json(model={"type": "BPE", "vocab": {"a": 0}, "merges": [1]}),
    "tokenizer-json-ids": tokenizer_json(model={"type": "BPE", "vocab": {"a": 0, "b": 500}, "merges": []}),
    "tokenizer-json-added": tokenizer_json(added_tokens=[{"id": 3}]),
    "pre-tokenizer-unknown": tokenizer_json(),
    "tokenizer-class-unknown": both(tokenizer_json(), write("tokenizer_config.json", '{"tokenizer_class": "XLMTokenizer"}')),
    "added-tokens-no-id": write("added_tokens.json", '{"<x>": "one"}'),
    "added-tokens-decoder": write("tokenizer_config.json", '{"added_tokens_decoder": {"0": "x"}}'),
    "chat-template": write("tokenizer_config.json", '{"chat_template": [1]}'),
    # what a model says of itself
    "card-no-yaml": write("README.md", "---\nname: x\ntags: [a\n---\ntext\n"),
    "card-number": write("README.md", "---\nversion: 1.0\n---\n"),
    "no-number": config(rms_norm_eps=math.nan),
    "infinite-theta": config(rope_theta=math.inf),
    "sampling-no-number": write("generation_config.json", '{"temperature": NaN}'),
    "sampling": write("generation_config.json", '{"top_k": 0.5}'),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_complaint_is_the_golden_one(lie: str, tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    LIES[lie](folder)
    golden.check(f"checkpoint-{lie}", golden.complaint(lambda: convert_folder(folder)))


def test_every_golden_has_its_case() -> None:
    assert golden.unused("checkpoint-", {f"checkpoint-{lie}" for lie in LIES}) == set()


def test_headers_alone_give_the_recipe_but_for_its_digests(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    early = Recipe.decode(convert_folder(folder))
    late = recipes.converted(folder)
    assert early.metadata == late.metadata
    assert [(e.name, e.shape, e.expression.size) for e in early.tensors] == [
        (e.name, e.shape, e.expression.size) for e in late.tensors
    ]


def test_what_the_tokenizers_library_refuses_is_an_error(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    tokenizer_json(pre_tokenizer={"type": "X"})(folder)
    # What it says differs between its versions.
    assert "tokenizer.json: the tokenizers library cannot read it" in golden.complaint(lambda: convert_folder(folder))


def test_an_unknown_architecture_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    config(architectures=["MambaForCausalLM"], model_type="mamba")(folder)
    said = golden.complaint(lambda: convert_folder(folder))
    assert said.startswith("error: config.json: architecture 'MambaForCausalLM' is not supported yet\n  known  ")
    assert "LlamaForCausalLM" in said


def converts_or_complains(folder: Path) -> None:
    try:
        convert_folder(folder)
    except Error as error:
        assert render(error)


NAMES = [
    "rope_type",
    "factor",
    "type",
    "content",
    "special",
    "id",
    "single",
    "pair",
    "processors",
    "cls",
    "normalizers",
    "SpecialToken",
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 400)
    | st.floats()
    | st.sampled_from(["", "a", "<s>", "A", "TemplateProcessing", "Sequence"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=8,
)
KEYS = [
    *checkpoints.CONFIG,
    "rope_scaling",
    "rope_parameters",
    "head_dim",
    "_name_or_path",
    "quantization_config",
    "is_causal",
    "n_group",
]
SETTINGS = [
    "bos_token",
    "eos_token",
    "chat_template",
    "added_tokens_decoder",
    "add_bos_token",
    "add_prefix_space",
    "tokenizer_class",
]
SETTINGS += ["additional_special_tokens", "extra_special_tokens"]
CARD = ["name", "tags", "base_model", "license", "datasets", "language"]
TOKENIZER = ["post_processor", "normalizer", "added_tokens", "decoder", "model", "padding"]


def some(keys: list[str], count: int = 3) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(keys), VALUES, max_size=count)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.write(
        tmp_path_factory.mktemp("fuzz") / "m", hidden_size=64, intermediate_size=64, num_hidden_layers=1
    )


SMALL = {**checkpoints.CONFIG, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}


@settings(max_examples=examples(150), deadline=None)
@given(some(KEYS), some(SETTINGS), some(CARD), some(["top_k", "sequence", "temperature"]))
def test_any_configuration_gives_a_recipe_or_an_error(
    small: Path, changes: dict[str, Any], settings: dict[str, Any], card: dict[str, Any], sampling: dict[str, Any]
) -> None:
    (small / "config.json").write_text(json.dumps({**SMALL, **changes}))
    (small / "tokenizer_config.json").write_text(json.dumps(settings))
    (small / "README.md").write_text(f"---\n{json.dumps(card)}\n---\n")
    (small / "generation_config.json").write_text(json.dumps(sampling))
    converts_or_complains(small)
    (small / "config.json").write_text(json.dumps(SMALL))
    for name in ("README.md", "generation_config.json", "tokenizer_config.json"):
        (small / name).unlink()


PART = st.sampled_from(["A", "B", "<s>", "</s>"]).map(
    lambda word: {"Sequence": {"id": word}} if word in "AB" else {"SpecialToken": {"id": word}}
)
TEMPLATE = st.fixed_dictionaries(
    {"type": st.just("TemplateProcessing"), "single": st.lists(PART | VALUES), "pair": st.lists(PART | VALUES)}
)


@settings(max_examples=examples(200), deadline=None)
@given(
    some(TOKENIZER),
    st.none() | TEMPLATE,
    some(SETTINGS),
    some(["bos_token", "additional_special_tokens", "x"]),
    st.booleans(),
)
def test_any_tokenizer_gives_a_recipe_or_an_error(
    small: Path,
    tokenizer: dict[str, Any],
    template: Any,
    settings: dict[str, Any],
    special: dict[str, Any],
    pieces: bool,
) -> None:
    data = {
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": [], "byte_fallback": True},
        "decoder": {"type": "Sequence"},
    }
    data |= tokenizer | ({"post_processor": template} if template else {})
    (small / "tokenizer.json").write_text(json.dumps(data))
    (small / "tokenizer_config.json").write_text(json.dumps(settings))
    (small / "special_tokens_map.json").write_text(json.dumps(special))
    (small / "tokenizer.model").write_bytes(checkpoints.pieces())
    if not pieces:
        (small / "tokenizer.model").unlink()
    converts_or_complains(small)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (small / name).unlink()


@settings(max_examples=examples(100), deadline=None)
@given(st.data())
def test_damaged_pieces_give_a_recipe_or_an_error(small: Path, data: st.DataObject) -> None:
    content = bytearray(checkpoints.pieces())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=6))
    (small / "tokenizer.model").write_bytes(content)
    converts_or_complains(small)
