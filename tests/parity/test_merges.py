"""What we merge is what PEFT's merge_and_unload makes, up to the last place of few values: its sums depend on the machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from modelbuild.steps import merge
from modelbuild.tensors.recipe import Recipe
from tests import adapters, recipes, zoo

from .peers import Process

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
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
    "mistral": ("untied", PROJECTIONS),
    "gemma2": ("bf16", PROJECTIONS),
    "qwen2": ("tied", PROJECTIONS),
    "qwen3": ("tied", PROJECTIONS),
    "phi3": ("4k", FUSED),
    "mixtral": ("eight experts", ["q_proj", "w1", "w2", "w3", "gate"]),
    "qwen3_moe": ("eight experts", PROJECTIONS),
    "granitemoe": ("four experts", ["q_proj", "k_proj"]),
    "olmo2": ("untied", PROJECTIONS),
}


@pytest.fixture(scope="module")
def peft(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("peft"), "merges.py")
    yield process
    process.close()


def values(recipe: Recipe, leaves: dict[str, bytes]) -> dict[str, tuple[str, NDArray[Any]]]:
    """Each tensor's dtype and its bits."""
    known = {**leaves, **recipe.constants}
    found = {}
    for entry in recipe.tensors:
        form = {"f32": "<f4", "f16": "<f2", "bf16": "<u2"}[entry.expression.dtype]
        found[entry.name] = (entry.expression.dtype, np.frombuffer(recipes.evaluate(entry.expression, known), form))
    return found


def ordered(bits: NDArray[Any]) -> NDArray[np.int64]:
    """16-bit floats as whole numbers, neighbours one apart."""
    whole = bits.view("<u2").astype(np.int64)
    return np.where(whole & 0x8000, -(whole & 0x7FFF), whole)


def wide(dtype: str, bits: NDArray[Any]) -> NDArray[np.float32]:
    return (bits.astype("<u4") << 16).view("<f4") if dtype == "bf16" else bits.astype(np.float32)


def check(base: Path, adapter: Path, merged: Path, pre: str | None, dora: bool) -> None:
    model = recipes.converted(base, "source", pre)
    files = adapters.Files(adapter, model)
    ours = values(Recipe.decode(merge.run({"scale": 1.0}, files)), {**recipes.Folder(base).leaves(), **files.leaves()})
    for name in ("tokenizer.model", "tokenizer.json", "tokenizer_config.json"):
        if (base / name).is_file():
            shutil.copy(base / name, merged / name)
    theirs = values(recipes.converted(merged, "source", pre), recipes.Folder(merged).leaves())
    assert sorted(ours) == sorted(theirs)
    changed = 0
    for name, (dtype, expected) in theirs.items():
        kind, got = ours[name]
        assert (kind, got.shape) == (dtype, expected.shape), name
        changed += (got != expected).sum()
        if dtype == "f32":
            np.testing.assert_allclose(got, expected, rtol=1e-5 if dora else 1e-6, atol=1e-6, err_msg=name)
        else:
            apart = np.abs(ordered(got) - ordered(expected))
            # Where the sum is next to nothing, its last place is less than the error of any order of adding.
            near = np.abs(wide(dtype, got) - wide(dtype, expected)) <= 2**-20 * np.abs(wide(dtype, expected)).max()
            assert ((apart <= 1) | near).all(), f"{name}: {apart.max()}"
            assert (apart > 0).mean() <= 0.001 or (apart > 0).sum() <= 2, f"{name}: {(apart > 0).mean()}"


def job(peft: Process, base: Path, folder: Path, dtype: str, config: dict[str, Any]) -> tuple[Path, Path]:
    adapter, merged = folder / "lora", folder / "merged"
    answer = peft.ask(base=str(base), adapter=str(adapter), merged=str(merged), dtype=dtype, config=config)
    assert answer["error"] is None
    return adapter, merged


@pytest.mark.peer
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("feature", FEATURES)
def test_features(feature: str, dtype: str, peft: Process, tmp_path: Path) -> None:
    short = {"bfloat16": "bf16", "float16": "f16", "float32": "f32"}[dtype]
    case = zoo.cases("llama")["bf16"]
    changes = {"attention_bias": True, "mlp_bias": True} if feature == "bias" else {}
    from tests.zoo import llama

    case = llama.case(changes, dtype=short) if changes or short != "bf16" else case
    base = zoo.write(tmp_path / "base", case)
    adapter, merged = job(peft, base, tmp_path, dtype, {**PLAIN, **FEATURES[feature]})
    check(base, adapter, merged, case.pre, "dora" in feature)


@pytest.mark.peer
@pytest.mark.parametrize("model_type", MODELS)
def test_models(model_type: str, peft: Process, tmp_path: Path) -> None:
    name, targets = MODELS[model_type]
    case = zoo.cases(model_type)[name]
    base = zoo.write(tmp_path / "base", case)
    adapter, merged = job(peft, base, tmp_path, "bfloat16", {**PLAIN, "target_modules": targets})
    assert json.loads((adapter / "adapter_config.json").read_text())["peft_type"] == "LORA"
    check(base, adapter, merged, case.pre, dora=False)


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
def test_experts_one_by_one(model_type: str, feature: str, peft: Process, tmp_path: Path) -> None:
    name, targets = MODELS[model_type]
    case = zoo.cases(model_type)[name]
    base = zoo.write(tmp_path / "base", case)
    targets = [target for target in targets if target != "gate"]
    config = {**PLAIN, "target_modules": targets, **EACH[feature]}
    adapter, merged = job(peft, base, tmp_path, "bfloat16", config)
    check(base, adapter, merged, case.pre, dora="dora" in feature)


EXPERTS = {
    "gpt_oss": ("bf16", ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]),
    "granitemoe": ("four experts", ["input_linear.weight", "output_linear.weight"]),
}


@pytest.mark.peer
@pytest.mark.parametrize("model_type", EXPERTS)
def test_parameters_of_all_experts(model_type: str, peft: Process, tmp_path: Path) -> None:
    name, targets = EXPERTS[model_type]
    case = zoo.cases(model_type)[name]
    base = zoo.write(tmp_path / "base", case)
    config = {"r": 4, "lora_alpha": 8, "target_modules": [], "target_parameters": targets}
    adapter, merged = job(peft, base, tmp_path, "bfloat16", config)
    check(base, adapter, merged, case.pre, dora=False)
