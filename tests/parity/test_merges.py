"""What we merge is what PEFT's merge_and_unload makes, up to the last place of few values: its sums depend on the machine.

A table of how far they lie apart closes the run.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import peft, recipes, zoo
from tests.checkpoints import pieces
from tests.peft import PROJECTIONS

from .conftest import MERGES
from .peers import Process

FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
PLAIN: dict[str, Any] = {"r": 8, "lora_alpha": 16, "target_modules": PROJECTIONS}

FEATURES: dict[str, dict[str, Any]] = {
    "plain": {},
    "rank 40": {"r": 40},
    "rslora": {"use_rslora": True},
    "patterns": {"rank_pattern": {"q_proj": 3}, "alpha_pattern": {r"layers\.1\..*_proj": 5}},
    "dora": {"use_dora": True},
    "dora and rslora": {"use_dora": True, "use_rslora": True},
    "dora of an embedding": {"use_dora": True, "target_modules": ["q_proj", "embed_tokens"]},
    "embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "modules to save": {"modules_to_save": ["lm_head", "embed_tokens"]},
    "fan in fan out": {"fan_in_fan_out": True},
    "tokens": {"trainable_token_indices": [3, 17, 300]},
    "bias": {"lora_bias": True},
    "output": {"target_modules": ["q_proj", "lm_head"]},
}
MODELS = {
    "llama": ("bf16", PROJECTIONS),
    "gemma": ("bf16", PROJECTIONS),
    "gemma3_text": (next(iter(zoo.cases("gemma3_text"))), PROJECTIONS),
    "granite": (next(iter(zoo.cases("granite"))), PROJECTIONS),
    "gpt_oss": ("bf16", ["q_proj", "k_proj", "v_proj", "o_proj"]),
    "mistral": ("untied", PROJECTIONS),
    "gemma2": ("bf16", PROJECTIONS),
    "qwen2": ("tied", PROJECTIONS),
    "qwen3": ("tied", PROJECTIONS),
    "phi3": ("4k", FUSED),
    "mixtral": ("eight experts", ["q_proj", "w1", "w2", "w3", "gate"]),
    "qwen3_moe": ("eight experts", PROJECTIONS),
    "granitemoe": ("four experts", ["q_proj", "k_proj"]),
    "granitemoehybrid": ("dense", ["q_proj", "k_proj", "in_proj", "out_proj", "input_linear", "output_linear"]),
    "olmo2": ("untied", PROJECTIONS),
    "lfm2": ("bf16", ["q_proj", "out_proj", "in_proj", "w1", "w2", "w3"]),
    "smollm3": ("tied", PROJECTIONS),
    "arcee": ("untied", ["q_proj", "k_proj", "up_proj", "down_proj"]),
    "seed_oss": ("untied", PROJECTIONS),
    "qwen2_moe": ("four experts", [*PROJECTIONS, "shared_expert_gate"]),
    "cohere": ("short", PROJECTIONS),
    "cohere2": ("four blocks", PROJECTIONS),
    "olmoe": ("four experts", PROJECTIONS),
    "olmo": ("untied", PROJECTIONS),
    "exaone4": ("untied", PROJECTIONS),
    "glm4": ("biases", ["q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj"]),
    "phi": ("half of each head", ["q_proj", "k_proj", "dense", "fc1", "fc2"]),
    "starcoder2": ("tied", ["q_proj", "k_proj", "c_fc", "c_proj"]),
}


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("peft"), "merges.py")
    yield process
    process.close()


DTYPES = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}


Configs = Sequence[Mapping[str, Any]]


def compare(
    what: str,
    process: Process,
    case: zoo.Case,
    folder: Path,
    configs: Configs,
    scales: Sequence[float] = (1.0,),
    rows: int = 0,
    of: str = "",
) -> None:
    """Merge adapters that PEFT makes, and assert that PEFT's merge is ours; `rows`: of a vocabulary that has grown before.

    of  the class of transformers, where it is another than AutoModelForCausalLM
    """
    base, parts = zoo.write(folder / "base", case), [folder / f"adapter-{number}" for number in range(len(configs))]
    said = [
        {"folder": str(part), "config": config, "scale": scale}
        for part, config, scale in zip(parts, configs, scales, strict=True)
    ]
    merged = folder / "merged"
    answer = process.ask(
        do="merge", base=str(base), dtype=DTYPES[case.dtype], merged=str(merged), adapters=said, rows=rows, of=of
    )
    assert answer["error"] is None
    assert json.loads((parts[0] / "adapter_config.json").read_text())["peft_type"] == "LORA"
    theirs = peft.over(base, peft.tensors(merged / "model.safetensors"), folder / "theirs")
    if rows:
        shutil.copy(merged / "config.json", theirs)
        for each in (theirs, *parts):
            (each / "tokenizer.model").write_bytes(pieces(rows))
    expected = peft.values(recipes.converted(theirs, "source", case.pre), recipes.Folder(theirs).leaves())
    found = peft.ours(base, parts, case.pre, scales)
    sizes = peft.magnitudes(base, parts, case.pre, scales, folder / "absolute")
    unchanged = peft.values(recipes.converted(base, "source", case.pre), recipes.Folder(base).leaves())
    changed = {
        name
        for name, x in expected.items()
        if name not in unchanged or x.bits.tobytes() != unchanged[name].bits.tobytes()
    }
    assert changed
    for name in expected.keys() - changed:
        assert found[name].bits.tobytes() == expected[name].bits.tobytes(), name
    kept = [{name: each[name] for name in changed} for each in (found, expected)]
    found, expected = (peft.as_stored(each, case.dtype) for each in kept)
    # One unit more or less in what the first adapter has made is one of the second's too, however near to nothing that ends.
    unit = {"f32": peft.SUM, "f16": 2.0**-10, "bf16": 2.0**-7}[case.dtype]
    apart = peft.apart(found, expected, sizes, unit if len(configs) > 1 else peft.SUM)
    MERGES.append((what, apart))
    # Of a few values a whole number of them may differ.
    assert apart.units <= 1 and apart.different <= max(1, 0.001 * apart.count), apart
    dora = any(config.get("use_dora") for config in configs)
    assert apart.error <= (1e-5 if dora else peft.SUM), apart


@pytest.mark.peer
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("feature", FEATURES)
def test_features(feature: str, dtype: str, process: Process, tmp_path: Path) -> None:
    from tests.zoo import llama

    changes = {"attention_bias": True, "mlp_bias": True} if feature == "bias" else {}
    case = llama.case(changes, dtype=dtype)
    compare(f"{feature}, {dtype}", process, case, tmp_path, [{**PLAIN, **FEATURES[feature]}])


@pytest.mark.peer
@pytest.mark.parametrize("dtype", DTYPES)
def test_several_in_order(dtype: str, process: Process, tmp_path: Path) -> None:
    from tests.zoo import llama

    configs = PLAIN, {**PLAIN, "r": 3, "lora_alpha": 5, "target_modules": ["q_proj", "up_proj"]}, {**PLAIN, "r": 2}
    compare(f"several in order, {dtype}", process, llama.case(dtype=dtype), tmp_path, configs, (1.0, 0.5, -0.3))


@pytest.mark.peer
@pytest.mark.parametrize("model_type", MODELS)
def test_models(model_type: str, process: Process, tmp_path: Path) -> None:
    name, targets = MODELS[model_type]
    case = zoo.cases(model_type)[name]
    compare(f"{model_type}, {case.dtype}", process, case, tmp_path, [{**PLAIN, "target_modules": targets}])


GROWN: dict[str, dict[str, Any]] = {
    "as it is": {},
    "saved": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "saved, the embedding": {"modules_to_save": ["embed_tokens"]},
    "saved, tied": {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    "embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "tokens": {"trainable_token_indices": [3, 17, 329]},
    "tokens by name": {"trainable_token_indices": {"embed_tokens": [3, 329]}},
}
UNTIED = ("as it is", "saved", "tokens", "tokens by name")
TIED = ("as it is", "saved, the embedding", "saved, tied", "embedding", "tokens", "tokens by name")
GEMMA = [name for name in TIED if name != "saved, the embedding"]


@pytest.mark.peer
@pytest.mark.parametrize(
    ("model_type", "name", "feature"),
    [
        *(("llama", "bf16", feature) for feature in UNTIED),
        *(("llama", "f16, tied", feature) for feature in TIED),
        *(("gemma2", "bf16", feature) for feature in GEMMA),
    ],
)
def test_a_grown_vocabulary(model_type: str, name: str, feature: str, process: Process, tmp_path: Path) -> None:
    """PEFT then saves embedding and output as well (save_embedding_layers), in all the names that its wrappers give them."""
    config = {**PLAIN, "target_modules": ["q_proj"], **GROWN[feature]}
    what = f"{model_type} with new tokens, {feature}"
    compare(what, process, zoo.cases(model_type)[name], tmp_path, [config], rows=330)


EACH = {
    "dora": {"use_dora": True},
    "ranks": {
        "rank_pattern": {r".*experts\.[01]\..*": 3, r".*experts\.2\..*": 11},
        "alpha_pattern": {r".*experts\.1\..*": 5},
    },
}


@pytest.mark.peer
@pytest.mark.parametrize("feature", EACH)
@pytest.mark.parametrize("model_type", ["mixtral", "qwen3_moe"])
def test_experts_one_by_one(model_type: str, feature: str, process: Process, tmp_path: Path) -> None:
    name, targets = MODELS[model_type]
    targets = [target for target in targets if target != "gate"]
    config = {**PLAIN, "target_modules": targets, **EACH[feature]}
    compare(f"{model_type}, {feature}", process, zoo.cases(model_type)[name], tmp_path, [config])


EXPERTS = {
    "gpt_oss": ("bf16", ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]),
    "granitemoe": ("four experts", ["input_linear.weight", "output_linear.weight"]),
}


@pytest.mark.peer
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model_type", EXPERTS)
def test_parameters_of_all_experts(model_type: str, dtype: str, process: Process, tmp_path: Path) -> None:
    name, targets = EXPERTS[model_type]
    case = replace(zoo.cases(model_type)[name], dtype=dtype)
    config = {"r": 4, "lora_alpha": 8, "target_modules": [], "target_parameters": targets}
    compare(f"{model_type}, all experts, {dtype}", process, case, tmp_path, [config])


SEEN = "AutoModelForImageTextToText"
SPEAKING = rf".*language_model.*\.({'|'.join(PROJECTIONS)})"
"""The text model's projections of a model that sees, and not its tower's."""
NEWER: dict[str, tuple[str, str, Any, str]] = {
    "qwen3_5": ("text", "bf16", "all-linear", ""),
    "qwen3_5_moe": ("text", "f32", "all-linear", ""),
    "qwen3_next": ("as many heads of values as of keys, tied, stacked, f16", "f32", "all-linear", ""),
    "gemma4_text": ("an embedding for each block, shared keys", "bf16", "all-linear", ""),
    "gemma4": ("unified", "bf16", SPEAKING, SEEN),
    "mistral3": ("small", "bf16", SPEAKING, SEEN),
    "qwen2_vl": ("2, tied", "bf16", SPEAKING, SEEN),
    "qwen3_vl": ("tied", "bf16", SPEAKING, SEEN),
    "lfm2_moe": ("four experts", "bf16", "all-linear", ""),
    "nemotron_h": ("dense", "bf16", ["q_proj", "k_proj", "in_proj", "up_proj", "down_proj"], ""),
    "minimax_m2": ("four experts", "f32", "all-linear", ""),
    "mixtral": ("eight experts", "f32", "all-linear", ""),
    "qwen3_moe": ("eight experts", "f32", PROJECTIONS, ""),
    "bert": ("cls", "bf16", ["query", "key", "value", "dense"], "AutoModel"),
    "xlm_roberta": ("pieces of tokenizer.json, cls", "bf16", ["query", "key", "value", "dense"], "AutoModel"),
}
"""model_type -> checkpoint, dtype, targets, class. In f32 where experts are fused: their product is rounded, and then the sum."""


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("newer"), "merges.py", "TRANSFORMERS5_PYTHON")
    yield process
    process.close()


@pytest.mark.peer
@pytest.mark.parametrize("model_type", NEWER)
def test_models_in_transformers_5(model_type: str, newer: Process, tmp_path: Path) -> None:
    """It names the projections of all experts as two parameters, without their module."""
    name, dtype, targets, of = NEWER[model_type]
    case = replace(zoo.cases(model_type)[name], dtype=dtype, shards=1)
    what = f"{model_type}, {dtype}, transformers 5"
    compare(what, newer, case, tmp_path, [{**PLAIN, "target_modules": targets}], of=of)
