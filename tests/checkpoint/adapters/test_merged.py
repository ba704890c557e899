"""An adapter in the weights: W + scale * b a, rounded; what it does not name keeps its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from modelbuild.errors import Error
from modelbuild.steps import merge
from modelbuild.tensors.quantization import quantize
from modelbuild.tensors.recipe import Recipe
from tests import adapters, peft, recipes, zoo
from tests.tensors.formats import golden

from .test_layer import base

Q = "model.layers.1.self_attn.q_proj"


def merged(adapter: Path, model: Recipe, scale: float = 1.0, **parameters: Any) -> Recipe:
    return Recipe.decode(merge.run({"scale": scale, **parameters}, adapters.Files(adapter, model)))


def bytes_of(recipe: Recipe, *folders: Path) -> dict[str, bytes]:
    """The bytes of every tensor; the folders hold a model or an adapter each."""
    leaves: dict[str, bytes] = dict(recipe.constants)
    for folder in folders:
        if folder.suffix == ".gguf":
            leaves |= recipes.Folder(folder.parent, [folder.name]).leaves()
        elif (folder / "config.json").is_file():
            leaves |= recipes.Folder(folder).leaves()
        else:
            leaves |= adapters.Files(folder, recipe).leaves()
    return {entry.name: recipes.evaluate(entry.expression, leaves) for entry in recipe.tensors}


def bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def wide(data: bytes, *shape: int) -> NDArray[np.float32]:
    return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)


def test_the_sum_is_rounded_once(tmp_path: Path) -> None:
    model, case = base(tmp_path / "model")
    pairs = adapters.factors(case.shapes, r".*(q_proj|v_proj)")
    lora = adapters.write_peft(tmp_path / "lora", pairs)
    found = bytes_of(merged(lora, model, 0.5), tmp_path / "model", lora)
    old = bytes_of(model, tmp_path / "model")
    pair = pairs["model.layers.1.self_attn.v_proj"]
    total = np.zeros((32, 64), np.float32)
    for k in range(4):
        total = total + pair["B"][:, k, None] * pair["A"][k]
    expected = wide(old["blk.1.attn_v.weight"], 32, 64) + np.float32(0.5 * 8 / 4) * total
    assert found["blk.1.attn_v.weight"] == bf16(expected).tobytes()
    assert {name for name in old if old[name] != found[name]} == {
        f"blk.{block}.attn_{part}.weight" for block in (0, 1) for part in "qv"
    }


def test_what_is_not_named_keeps_its_key(tmp_path: Path) -> None:
    model, case = base(tmp_path / "model")
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors(case.shapes, r".*q_proj"))
    before = {entry.name: entry.expression.key for entry in quantize(model, "q8_0").tensors}
    after = {entry.name: entry.expression.key for entry in quantize(merged(lora, model), "q8_0").tensors}
    assert {name for name in before if before[name] != after[name]} == {"blk.0.attn_q.weight", "blk.1.attn_q.weight"}


@pytest.mark.parametrize(
    "model_type",
    [
        "llama",
        "mistral",
        "gemma",
        "gemma2",
        "gemma3_text",
        "qwen2",
        "qwen3",
        "phi3",
        "olmo2",
        "granite",
        "granitemoe",
        "gpt_oss",
    ],
)
def test_mlx_makes_the_bytes_of_peft(model_type: str, tmp_path: Path) -> None:
    model, case = base(tmp_path / "model", model_type, next(iter(zoo.cases(model_type))))
    pairs = adapters.factors(case.shapes)
    written = (
        adapters.write_peft(tmp_path / "peft", pairs, lora_alpha=12),
        adapters.write_mlx(tmp_path / "mlx", pairs, scale=3.0),
        adapters.write_mlx(tmp_path / "old", pairs, scale=3.0, old=True),
    )
    peft, mlx, old = (bytes_of(merged(each, model), tmp_path / "model", each) for each in written)
    assert mlx == peft != bytes_of(model, tmp_path / "model")
    assert old == peft


@pytest.mark.parametrize(
    "model_type", ["llama", "gemma", "gemma2", "gemma3_text", "phi3", "granitemoe", "mixtral", "qwen3", "olmo2"]
)
def test_a_gguf_base_makes_the_bytes_of_its_checkpoint(model_type: str, tmp_path: Path) -> None:
    model, case = base(tmp_path / "model", model_type, next(iter(zoo.cases(model_type))))
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "x.gguf").write_bytes(recipes.file_of(model, recipes.Folder(tmp_path / "model").leaves()))
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors(case.shapes))
    again = recipes.imported(tmp_path / "g", ["x.gguf"])
    of_gguf = bytes_of(merged(lora, again), tmp_path / "g" / "x.gguf", lora)
    assert of_gguf == bytes_of(merged(lora, model), tmp_path / "model", lora)


@pytest.mark.parametrize(
    "name", ["dora", "embedding", "modules_to_save", "trainable_token_indices", "several in order"]
)
def test_a_gguf_base_makes_the_bytes_of_its_checkpoint_whatever_the_adapter_has(name: str, tmp_path: Path) -> None:
    same_over_a_gguf(name, peft.NEW, tmp_path)


@pytest.mark.parametrize(("version", "name"), [kept for kept in peft.KEPT if kept[1].startswith("fused")])
def test_fused_experts_over_a_gguf_base_too(version: str, name: str, tmp_path: Path) -> None:
    same_over_a_gguf(name, version, tmp_path)


def same_over_a_gguf(name: str, version: str, folder: Path) -> None:
    case = peft.CASES[name]
    model = recipes.converted(zoo.write(folder / "model", case.base), "source", case.base.pre)
    (folder / "g").mkdir()
    (folder / "g" / "x.gguf").write_bytes(recipes.file_of(model, recipes.Folder(folder / "model").leaves()))
    again = recipes.imported(folder / "g", ["x.gguf"])
    parts = peft.adapter_folders(peft.GOLDEN / version / name, case)
    for part, scale in zip(parts, case.scales, strict=False):
        model, again = merged(part, model, scale), merged(part, again, scale)
    assert bytes_of(again, folder / "g" / "x.gguf", *parts) == bytes_of(model, folder / "model", *parts)


def test_a_layer_merged_is_the_adapter_merged(tmp_path: Path) -> None:
    from .test_layer import layer

    model, case = base(tmp_path / "model")
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors(case.shapes), use_rslora=True)
    recipe, files = layer(lora, model)
    (tmp_path / "l.gguf").write_bytes(recipes.file_of(recipe, files.leaves()))
    of_layer = bytes_of(merged(tmp_path / "l.gguf", model), tmp_path / "model", tmp_path / "l.gguf")
    assert of_layer == bytes_of(merged(lora, model), tmp_path / "model", lora)


@pytest.mark.parametrize("outtype", ["source", "f16", "f32"])
def test_two_adapters_are_the_second_merged_into_the_first(outtype: str, tmp_path: Path) -> None:
    case = zoo.cases("llama")["bf16"]
    model = recipes.converted(zoo.write(tmp_path / "model", case), outtype, case.pre)
    one = adapters.write_peft(tmp_path / "one", adapters.factors(case.shapes, r".*q_proj"))
    two = adapters.write_peft(tmp_path / "two", adapters.factors(case.shapes, r".*(q|k)_proj", rank=2))
    both = merged(two, merged(one, model), 2.0)
    x = next(entry.expression for entry in both.tensors if entry.name == "blk.0.attn_q.weight")
    if outtype != "source":
        assert (x.operation, x.dtype) == ("cast", outtype)
        (x,) = x.operands
    for _ in range(2):
        # Rounded to the type of the weights in their own file.
        assert (x.operation, x.dtype, x.operands[0].operation) == ("cast", "bf16", "merge")
        x = x.operands[0].operands[0]
    assert len(bytes_of(both, tmp_path / "model", one, two)) == len(model.tensors)


def test_two_adapters_of_a_model_in_f32_are_rounded_by_its_outtype_alone(tmp_path: Path) -> None:
    case = zoo.cases("llama")["f32"]
    model = recipes.converted(zoo.write(tmp_path / "model", case), "f16", case.pre)
    one = adapters.write_peft(tmp_path / "one", adapters.factors(case.shapes, r".*q_proj"))
    both = merged(one, merged(one, model))
    x = next(entry.expression for entry in both.tensors if entry.name == "blk.0.attn_q.weight")
    assert (x.operation, x.dtype) == ("cast", "f16")
    assert [x.operands[0].operation, x.operands[0].operands[0].operation] == ["merge", "merge"]


def test_a_quantized_model_of_floats_is_quantized_once(tmp_path: Path) -> None:
    model, case = base(tmp_path / "model")
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors(case.shapes))
    late, early = quantize(merged(lora, model), "q8_0"), merged(lora, quantize(model, "q8_0"))
    assert {e.name: e.expression.key for e in late.tensors} == {e.name: e.expression.key for e in early.tensors}


def test_quantized_leaves_are_changed_where_that_is_allowed(tmp_path: Path) -> None:
    model, case = base(tmp_path / "model")
    (tmp_path / "g").mkdir()
    whole = recipes.file_of(quantize(model, "q8_0"), recipes.Folder(tmp_path / "model").leaves())
    (tmp_path / "g" / "x.gguf").write_bytes(whole)
    packed = recipes.imported(tmp_path / "g", ["x.gguf"])
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors(case.shapes, r".*q_proj"))
    golden.check("merge-quantized", golden.complaint(lambda: merged(lora, packed)))
    allowed = merged(lora, packed, requantize=True)
    assert {e.name: e.expression.dtype for e in allowed.tensors} == {e.name: e.expression.dtype for e in packed.tensors}
    found, old = (bytes_of(each, tmp_path / "g" / "x.gguf", lora) for each in (allowed, packed))
    assert [name for name in old if old[name] != found[name]] == ["blk.0.attn_q.weight", "blk.1.attn_q.weight"]


def test_nvfp4_is_not_changed_since_its_scale_stands_beside_it(tmp_path: Path) -> None:
    case = zoo.cases("packed")["Llama, modelopt NVFP4"]
    model = recipes.converted(zoo.write(tmp_path / "model", case), "f16", case.pre)
    plain = {name: (128, 128) for name in case.shapes if name.endswith("q_proj.weight")}
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors(plain, r".*q_proj"))
    for requantize in (False, True):
        with pytest.raises(Error, match="is quantized \\(nvfp4\\), and the adapter changes it") as caught:
            merged(lora, model, requantize=requantize)
        assert caught.value.hint == "merge it into the weights that the model was quantized from"


def test_what_is_quantized_after_the_merge_is_rounded_once(tmp_path: Path) -> None:
    model, case = base(tmp_path / "model")
    (tmp_path / "g").mkdir()
    whole = recipes.file_of(quantize(model, "q8_0"), recipes.Folder(tmp_path / "model").leaves())
    (tmp_path / "g" / "x.gguf").write_bytes(whole)
    packed = recipes.imported(tmp_path / "g", ["x.gguf"])
    one, two = (
        adapters.write_peft(tmp_path / name, adapters.factors(case.shapes, r".*q_proj"), more=more, lora_alpha=alpha)
        for name, alpha, more in (("one", 8, {}), ("two", 3, put(lm_head__weight=adapters.matrix("h", 320, 64))))
    )
    both = packed
    for each in (one, two):
        both = merged(each, both, requantize=True, unpacked=True)
    made = quantize(both, "q4_0", requantize=True)
    operations = {}
    for name in ("blk.0.attn_q.weight", "output.weight", "blk.0.attn_k.weight"):
        x = next(entry.expression for entry in made.tensors if entry.name == name)
        operations[name] = []
        while x.operands:
            operations[name].append(f"{x.operation} {x.dtype}")
            x = x.operands[0]
    assert operations == {
        "blk.0.attn_q.weight": ["quantize q4_0", "merge f32", "merge f32", "dequantize f32"],
        "output.weight": ["quantize q8_0"],
        "blk.0.attn_k.weight": ["quantize q4_0", "dequantize f32"],
    }
    assert bytes_of(made, tmp_path / "g" / "x.gguf", one, two)


def moe(folder: Path) -> tuple[Recipe, dict[str, tuple[int, ...]]]:
    model, case = base(folder, "mixtral", "eight experts")
    return model, {name: shape for name, shape in case.shapes.items() if ".experts." in name and ".w1." in name}


def test_experts_of_different_ranks(tmp_path: Path) -> None:
    model, shapes = moe(tmp_path / "model")
    pairs = adapters.factors(shapes, r".*w1")
    few = [module for module in pairs if ".experts.3." in module]
    for module in few:
        pairs[module] = {"A": pairs[module]["A"][:2], "B": np.ascontiguousarray(pairs[module]["B"][:, :2])}
    lora = adapters.write_peft(tmp_path / "lora", pairs, r=4, rank_pattern={r"experts\.3\.w1": 2})
    found, old = (bytes_of(each, tmp_path / "model", lora) for each in (merged(lora, model), model))
    rows, columns = shapes[f"{few[0]}.weight"]
    for number in (0, 3):
        pair = pairs[few[0].replace("experts.3", f"experts.{number}")]
        before, after = (
            wide(each["blk.0.ffn_gate_exps.weight"], 8, rows, columns)[number].astype(float) for each in (old, found)
        )
        expected = before + 8 / len(pair["A"]) * pair["B"].astype(float) @ pair["A"]
        np.testing.assert_allclose(after, expected, atol=2**-8 * np.abs(expected).max())


def magnitudes(pairs: Any) -> dict[str, NDArray[np.float32]]:
    return {
        f"base_model.model.{module}.lora_magnitude_vector": np.arange(1, len(pair["B"]) + 1).astype("<f4")
        for module, pair in pairs.items()
    }


def test_a_dora_of_experts_gives_their_rows_its_lengths(tmp_path: Path) -> None:
    model, shapes = moe(tmp_path / "model")
    pairs = adapters.factors(shapes, r".*w1")
    lora = adapters.write_peft(tmp_path / "lora", pairs, more=magnitudes(pairs), use_dora=True)
    found = bytes_of(merged(lora, model), tmp_path / "model", lora)
    rows, columns = next(iter(shapes.values()))
    made = wide(found["blk.0.ffn_gate_exps.weight"], 8, rows, columns).astype(float)
    np.testing.assert_allclose(np.linalg.norm(made, axis=-1), [range(1, rows + 1)] * 8, rtol=2**-8)


def test_a_dora_of_an_embedding_gives_its_columns_their_lengths(tmp_path: Path) -> None:
    model, _ = base(tmp_path / "model")
    more = put(
        model__embed_tokens__lora_embedding_A=adapters.matrix("a", 4, 320),
        model__embed_tokens__lora_embedding_B=adapters.matrix("b", 64, 4),
        model__embed_tokens__lora_magnitude_vector=np.arange(1, 65).astype("<f4"),
    )
    lora = adapters.write_peft(tmp_path / "lora", {}, more=more, use_dora=True)
    found = bytes_of(merged(lora, model), tmp_path / "model", lora)
    made = wide(found["token_embd.weight"], 320, 64).astype(float)
    np.testing.assert_allclose(np.linalg.norm(made, axis=0), range(1, 65), rtol=2**-8)


def test_a_dora_of_some_experts_is_refused(tmp_path: Path) -> None:
    model, shapes = moe(tmp_path / "model")
    pairs = adapters.factors(shapes, r".*w1")
    some = {module: pair for module, pair in pairs.items() if ".experts.1." not in module}
    lora = adapters.write_peft(tmp_path / "lora", some, more=magnitudes(some), use_dora=True)
    golden.check("merge-dora-of-some-experts", golden.complaint(lambda: merged(lora, model)))


def test_an_output_of_its_own_for_a_model_that_uses_its_embedding(tmp_path: Path) -> None:
    model, _ = base(tmp_path / "model", "llama", "f16, tied")
    head = {"lm_head": {"A": adapters.matrix("a", 4, 64), "B": adapters.matrix("b", 320, 4)}}
    lora = adapters.write_peft(tmp_path / "lora", head)
    made = merged(lora, model)
    found, old = bytes_of(made, tmp_path / "model", lora), bytes_of(model, tmp_path / "model")
    assert found.keys() - old.keys() == {"output.weight"}
    assert found["token_embd.weight"] == old["token_embd.weight"] != found["output.weight"]


def put(**more: Any) -> Any:
    return {f"base_model.model.{name.replace('__', '.')}": x for name, x in more.items()}


def test_whole_tensors_stand_in_place_of_the_models(tmp_path: Path) -> None:
    model, case = base(tmp_path / "model")
    q, norm = adapters.matrix("q", 64, 64), adapters.matrix("n", 64)
    more = put(**{f"{Q.replace('.', '__')}__weight": q, "model__norm__weight": norm})
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors(case.shapes, r".*v_proj"), more=more)
    found = bytes_of(merged(lora, model), tmp_path / "model", lora)
    assert found["output_norm.weight"] == bf16_as_f32(norm)
    rows = q.reshape(4, 2, 8, 64).swapaxes(1, 2).reshape(64, 64)
    assert found["blk.1.attn_q.weight"] == bf16(rows).tobytes()


def bf16_as_f32(values: NDArray[np.float32]) -> bytes:
    return (bf16(values).astype("<u4") << 16).tobytes()


def test_rows_of_tokens(tmp_path: Path) -> None:
    model, case = base(tmp_path / "model")
    rows = adapters.matrix("r", 2, 64)
    more = put(model__embed_tokens__token_adapter__trainable_tokens_delta=rows)
    lora = adapters.write_peft(
        tmp_path / "lora",
        {},
        more=more,
        trainable_token_indices={"embed_tokens": [319, 7]},
        without=("target_modules",),
    )
    found, old = (bytes_of(each, tmp_path / "model", lora) for each in (merged(lora, model), model))
    expected = wide(old["token_embd.weight"], 320, 64).copy()
    expected[[319, 7]] = rows
    assert found["token_embd.weight"] == bf16(expected).tobytes()


BASES: dict[str, tuple[str, str]] = {
    "llama": ("llama", "bf16"),
    "tied": ("llama", "f16, tied"),
    "gemma": ("gemma", "bf16"),
}
LIES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "saved-shape": ("llama", put(model__norm__weight=adapters.matrix("n", 65)), {}),
    "saved-unknown": ("llama", put(model__norms__weight=adapters.matrix("n", 64)), {}),
    "saved-head": ("llama", put(score__weight=adapters.matrix("n", 2, 64)), {}),
    "saved-rows": ("llama", put(model__embed_tokens__weight=adapters.matrix("n", 321, 64)), {}),
    "saved-output-of-gemma": ("gemma", put(lm_head__weight=adapters.matrix("n", 320, 64)), {}),
    "tokens-beyond": (
        "llama",
        put(model__embed_tokens__token_adapter__trainable_tokens_delta=adapters.matrix("r", 1, 64)),
        {"trainable_token_indices": [320]},
    ),
    "magnitude-shape": (
        "llama",
        put(**{f"{Q.replace('.', '__')}__lora_A__weight": adapters.matrix("a", 4, 64),
               f"{Q.replace('.', '__')}__lora_B__weight": adapters.matrix("b", 64, 4),
               f"{Q.replace('.', '__')}__lora_magnitude_vector": adapters.matrix("m", 65)}),
        {"use_dora": True},
    ),
    "magnitude-of-rows-of-an-embedding": (
        "llama",
        put(model__embed_tokens__lora_embedding_A=adapters.matrix("a", 4, 320),
            model__embed_tokens__lora_embedding_B=adapters.matrix("b", 64, 4),
            model__embed_tokens__lora_magnitude_vector=adapters.matrix("m", 320)),
        {"use_dora": True},
    ),
    "bias-of-none": ("llama", put(**{f"{Q.replace('.', '__')}__lora_A__weight": adapters.matrix("a", 4, 64),
                                     f"{Q.replace('.', '__')}__lora_B__weight": adapters.matrix("b", 64, 4),
                                     f"{Q.replace('.', '__')}__lora_B__bias": adapters.matrix("c", 64)}), {}),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_complaint_is_the_golden_one(lie: str, tmp_path: Path) -> None:
    name, more, config = LIES[lie]
    model, _ = base(tmp_path / "model", *BASES[name])
    lora = adapters.write_peft(tmp_path / "lora", {}, more=more, **config)
    golden.check(f"merge-{lie}", golden.complaint(lambda: merged(lora, model)))


def test_a_scale_of_whole_tensors_is_refused(tmp_path: Path) -> None:
    model, _ = base(tmp_path / "model")
    lora = adapters.write_peft(tmp_path / "lora", {}, more=put(model__norm__weight=adapters.matrix("n", 64)))
    with pytest.raises(Error, match="whole tensors, which no scale makes smaller"):
        merged(lora, model, 0.5)


def test_every_golden_has_its_case() -> None:
    assert golden.unused("merge-", {f"merge-{lie}" for lie in (*LIES, "quantized", "dora-of-some-experts")}) == set()
