"""An adapter's own file: what the runtime makes of it is what the adapter adds to the model's tensors, as their file holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from modelbuild.checkpoint.adapters.files import GGUF
from modelbuild.errors import Error
from modelbuild.steps import adapt, merge
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.recipe import Recipe
from tests import adapters, recipes, zoo

Deltas = dict[str, NDArray[np.float64]]


def base(folder: Path, model_type: str = "llama", name: str = "bf16") -> tuple[Recipe, zoo.Case]:
    case = zoo.cases(model_type)[name]
    zoo.write(folder, case)
    return recipes.converted(folder, "source", case.pre), case


def layer(adapter: Path, model: Recipe, outtype: str = "source", scale: float = 1.0) -> tuple[Recipe, adapters.Files]:
    files = adapters.Files(adapter, model)
    return Recipe.decode(adapt.run({"folder": adapter.name, "outtype": outtype, "scale": scale}, files)), files


def values(recipe: Recipe, files: adapters.Files) -> dict[str, NDArray[np.float64]]:
    found = {}
    leaves = {**files.leaves(), **recipe.constants}
    for entry in recipe.tensors:
        data = recipes.evaluate(entry.expression, leaves)
        if entry.expression.dtype == "bf16":
            data = (np.frombuffer(data, "<u2").astype("<u4") << 16).tobytes()
        wide = np.frombuffer(data, "<f2" if entry.expression.dtype == "f16" else "<f4")
        found[entry.name] = wide.astype(np.float64).reshape(entry.shape)
    return found


def applied(recipe: Recipe, files: adapters.Files) -> Deltas:
    """What the runtime adds to each tensor (llama-adapter.h, get_scale)."""
    found = values(recipe, files)
    alpha = float(decode_value(recipe.metadata["adapter.lora.alpha"]))
    deltas = {}
    for name in found:
        if name.endswith(".lora_a"):
            stem = name.removesuffix(".lora_a")
            a, b = found[name], found[f"{stem}.lora_b"]
            if stem == "token_embd.weight":
                a, b = b.T, a
            deltas[stem] = alpha / b.shape[-1] * (b @ a)
    return deltas


def test_rows_are_where_the_models_are(tmp_path: Path) -> None:
    model, case = base(tmp_path / "model")
    pairs = adapters.factors(case.shapes)
    deltas = applied(*layer(adapters.write_peft(tmp_path / "lora", pairs), model))
    assert len(deltas) == len(pairs) == 14
    q = pairs["model.layers.1.self_attn.q_proj"]
    expected = (8 / 4 * q["B"].astype(np.float64) @ q["A"]).reshape(4, 2, 8, 64).swapaxes(1, 2).reshape(64, 64)
    np.testing.assert_allclose(deltas["blk.1.attn_q.weight"], expected, rtol=1e-5, atol=1e-6)
    v = pairs["model.layers.1.self_attn.v_proj"]
    np.testing.assert_allclose(
        deltas["blk.1.attn_v.weight"], 2.0 * v["B"].astype(np.float64) @ v["A"], rtol=1e-5, atol=1e-6
    )


CONFIGS: dict[str, tuple[dict[str, Any], float, float]] = {
    "plain": ({"lora_alpha": 16}, 4.0, 4.0),
    "rslora": ({"lora_alpha": 16, "use_rslora": True}, 8.0, 8.0),
    "alpha of some": ({"lora_alpha": 16, "alpha_pattern": {"q_proj": 6}}, 1.5, 4.0),
    "alpha of one block": ({"lora_alpha": 16, "alpha_pattern": {r"layers\.1\.self_attn\.q_proj": 6}}, 1.5, 4.0),
    "the first pattern counts": ({"lora_alpha": 2, "alpha_pattern": {".*_proj": 4, "q_proj": 8}}, 1.0, 1.0),
    "a float": ({"lora_alpha": 0.5}, 0.125, 0.125),
    "less than nothing": ({"lora_alpha": -4}, -1.0, -1.0),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_alpha_is_what_the_configuration_comes_to(name: str, tmp_path: Path) -> None:
    config, of_q, of_v = CONFIGS[name]
    model, case = base(tmp_path / "model")
    pairs = adapters.factors(case.shapes, r".*(q_proj|v_proj|o_proj)")
    deltas = applied(*layer(adapters.write_peft(tmp_path / "lora", pairs, **config), model, scale=3.0))
    q, v = (pairs[f"model.layers.1.self_attn.{part}"] for part in ("q_proj", "v_proj"))
    rows = (q["B"].astype(np.float64) @ q["A"]).reshape(4, 2, 8, 64).swapaxes(1, 2).reshape(64, 64)
    np.testing.assert_allclose(deltas["blk.1.attn_q.weight"], 3 * of_q * rows, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        deltas["blk.1.attn_v.weight"], 3 * of_v * v["B"].astype(np.float64) @ v["A"], rtol=1e-5, atol=1e-6
    )


def test_ranks_may_differ(tmp_path: Path) -> None:
    model, case = base(tmp_path / "model")
    pairs = adapters.factors(case.shapes, r".*v_proj") | adapters.factors(case.shapes, r".*o_proj", rank=2)
    deltas = applied(*layer(adapters.write_peft(tmp_path / "lora", pairs, rank_pattern={"o_proj": 2}), model))
    for module, name, factor in (("v_proj", "attn_v", 2.0), ("o_proj", "attn_output", 4.0)):
        pair = pairs[f"model.layers.0.self_attn.{module}"]
        np.testing.assert_allclose(
            deltas[f"blk.0.{name}.weight"], factor * pair["B"].astype(np.float64) @ pair["A"], rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(("scale", "old"), [(2.0, False), (2.0, True), (0.3, False)])
def test_mlx_says_the_same_as_peft(scale: float, old: bool, tmp_path: Path) -> None:
    model, case = base(tmp_path / "model")
    pairs = adapters.factors(case.shapes)
    of_peft = adapters.write_peft(tmp_path / "one" / "lora", pairs, lora_alpha=4 * scale)
    of_mlx = adapters.write_mlx(tmp_path / "two" / "lora", pairs, scale=scale, old=old)
    made = [layer(each, model, outtype="f16") for each in (of_peft, of_mlx)]
    assert made[0][0].metadata == made[1][0].metadata
    ours, theirs = (values(*each) for each in made)
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)


@pytest.mark.parametrize(
    ("model_type", "name", "module", "tensors"),
    [
        ("phi3", "4k", "model.layers.0.self_attn.qkv_proj", ["blk.0.attn_qkv"]),
        ("phi3", "4k", "model.layers.0.mlp.gate_up_proj", ["blk.0.ffn_up"]),
        ("granitemoe", "four experts", "model.layers.0.block_sparse_moe.router.layer", ["blk.0.ffn_gate_inp"]),
        ("qwen3_moe", "eight experts", "model.layers.0.mlp.gate", ["blk.0.ffn_gate_inp"]),
    ],
)
def test_tensors_are_called_as_the_models_are(
    model_type: str, name: str, module: str, tensors: list[str], tmp_path: Path
) -> None:
    model, case = base(tmp_path / "model", model_type, name)
    pairs = adapters.factors(case.shapes, module.replace(".", r"\."))
    deltas = applied(*layer(adapters.write_peft(tmp_path / "lora", pairs), model))
    assert list(deltas) == [f"{name}.weight" for name in tensors]


def test_some_experts_leave_the_others_as_they_are(tmp_path: Path) -> None:
    model, case = base(tmp_path / "model", "mixtral", "eight experts")
    pairs = adapters.factors(case.shapes, r".*layers\.0.*experts\.[25]\.w3")
    deltas = applied(*layer(adapters.write_peft(tmp_path / "lora", pairs), model))
    assert list(deltas) == ["blk.0.ffn_up_exps.weight"]
    pair = pairs["model.layers.0.block_sparse_moe.experts.5.w3"]
    np.testing.assert_allclose(
        deltas["blk.0.ffn_up_exps.weight"][5], 2.0 * pair["B"].astype(float) @ pair["A"], rtol=1e-5, atol=1e-6
    )
    assert not deltas["blk.0.ffn_up_exps.weight"][[0, 1, 3, 4, 6, 7]].any()


def test_an_embeddings_factors_are_exchanged(tmp_path: Path) -> None:
    model, case = base(tmp_path / "model")
    a, b = adapters.matrix("a", 4, 320), adapters.matrix("b", 64, 4)
    more = {
        "base_model.model.model.embed_tokens.lora_embedding_A": a,
        "base_model.model.model.embed_tokens.lora_embedding_B": b,
        "base_model.model.model.embed_tokens.base_layer.weight": adapters.matrix("w", 320, 64),
    }
    recipe, files = layer(adapters.write_peft(tmp_path / "lora", {}, more=more), model)
    found = values(recipe, files)
    assert {name: x.shape for name, x in found.items()} == {
        "token_embd.weight.lora_a": (320, 4), "token_embd.weight.lora_b": (64, 4),
    }  # fmt: skip
    np.testing.assert_allclose(
        applied(recipe, files)["token_embd.weight"], 2 * (b.astype(float) @ a).T, rtol=1e-5, atol=1e-6
    )


def test_a_gguf_adapter_is_scaled(tmp_path: Path) -> None:
    model, case = base(tmp_path / "model")
    recipe, files = layer(adapters.write_peft(tmp_path / "lora", adapters.factors(case.shapes)), model)
    (tmp_path / "x.gguf").write_bytes(recipes.file_of(recipe, files.leaves()))
    again, from_file = layer(tmp_path / "x.gguf", model, scale=0.5)
    assert from_file.roles()[1] == GGUF
    assert decode_value(again.metadata["adapter.lora.alpha"]) == 4.0
    before, after = applied(recipe, files), applied(again, from_file)
    assert before.keys() == after.keys()
    assert all((after[name] == before[name] / 2).all() for name in before)


def test_an_activated_lora_keeps_its_tokens(tmp_path: Path) -> None:
    model, case = base(tmp_path / "model")
    folder = adapters.write_peft(tmp_path / "lora", adapters.factors(case.shapes), alora_invocation_tokens=[5, 300])
    recipe, _ = layer(folder, model)
    assert decode_value(recipe.metadata["adapter.alora.invocation_tokens"]) == [5, 300]


@pytest.mark.parametrize(
    ("outtype", "dtype", "types"),
    [
        ("source", "bf16", {"bf16"}),
        ("source", "f32", {"f32"}),
        ("auto", "f32", {"f16"}),
        ("auto", "bf16", {"bf16"}),
        ("f32", "f16", {"f32"}),
        ("q8_0", "f32", {"q8_0", "f16"}),
    ],
)
def test_the_outtype_is_the_adapters_too(outtype: str, dtype: str, types: set[str], tmp_path: Path) -> None:
    model, case = base(tmp_path / "model")
    folder = adapters.write_peft(tmp_path / "lora", adapters.factors(case.shapes), dtype=dtype)
    recipe, _ = layer(folder, model, outtype)
    assert {entry.expression.dtype for entry in recipe.tensors} == types


@pytest.mark.parametrize(("projection", "tensor"), [("q_proj", None), ("up_proj", "ffn_up"), ("down_proj", "ffn_down")])
def test_a_feed_forward_in_nvfp4_is_doubtful(projection: str, tensor: str | None, tmp_path: Path) -> None:
    """llama-graph.cpp, build_ffn: GGML_ASSERT(!up_s || !up || up->type != GGML_TYPE_NVFP4 || !has_lora(up))."""
    model, case = base(tmp_path / "model", "packed", "Llama, modelopt NVFP4")
    shapes = {"q_proj": (128, 128), "up_proj": (192, 128), "down_proj": (128, 192)}
    found = {
        name: shapes[projection] for name in case.shapes if name.endswith(f"layers.0.{_holder(projection)}.weight")
    }
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors(found))
    said = adapt.look({"folder": "x", "outtype": "f32", "scale": 1.0}, adapters.Files(lora, model)).warnings
    facts = [fact for warning in said for fact in warning.facts]
    assert facts == ([("tensors", f"blk.0.{tensor}")] if tensor else [])


def _holder(projection: str) -> str:
    return f"{'self_attn' if projection == 'q_proj' else 'mlp'}.{projection}"


@pytest.mark.parametrize("model_type", ["qwen3_vl", "mistral3", "gemma4"])
def test_the_tower_of_a_model_that_sees_is_not_for_a_layer(model_type: str, tmp_path: Path) -> None:
    model, _ = base(tmp_path / "model", model_type, next(iter(zoo.cases(model_type))))
    module = {
        "qwen3_vl": "model.visual.blocks.0.attn.qkv",
        "mistral3": "model.multi_modal_projector.linear_1",
        "gemma4": "model.vision_tower.encoder.layers.0.mlp.up_proj.linear",
    }[model_type]
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors({f"{module}.weight": (32, 32)}, ".*"))
    for step in (layer, lambda path, recipe: merge.run({"scale": 1.0}, adapters.Files(path, recipe))):
        with pytest.raises(
            Error, match="of a vision or audio part, and an adapter can only go into the text model"
        ) as caught:
            step(lora, model)
        assert list(caught.value.facts) == [("tensors", f"{module}.weight")]


def test_what_the_runtime_applies_no_adapter_to_is_for_a_merge(tmp_path: Path) -> None:
    """src/models/gemma4.cpp has ggml_mul_mat(ctx0, model.per_layer_model_proj, …), where others have build_lora_mm."""
    model, case = base(tmp_path / "model", "gemma4_text", "an embedding for each block, shared keys")
    pairs = adapters.factors(case.shapes, r".*(per_layer_model_projection|per_layer_input_gate)")
    lora = adapters.write_peft(tmp_path / "lora", pairs)
    with pytest.raises(Error, match="changes 1 tensor to which the runtime applies no layer") as caught:
        layer(lora, model)
    assert list(caught.value.facts) == [("tensors", "per_layer_model_proj.weight")]
    made = Recipe.decode(merge.run({"scale": 1.0}, adapters.Files(lora, model)))
    old = {entry.name: entry.expression for entry in model.tensors}
    changed = [entry.name for entry in made.tensors if entry.expression != old[entry.name]]
    assert len(changed) == len(pairs) and "per_layer_model_proj.weight" in changed
