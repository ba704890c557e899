"""A layer says in llama.cpp's runtime what the merged model says, and what PEFT's merge of the same checkpoint says in transformers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelbuild.checkpoint.adapters.files import CONFIG, PEFT
from modelbuild.steps import adapt, merge
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.recipe import Recipe
from tests import adapters, peft, recipes, zoo

from .conftest import LAYERS
from .peers import Process
from .test_logits import text
from .test_merges import MODELS as MERGED
from .test_merges import PLAIN

MODELS = {name: MERGED[name] for name in ("llama", "mistral", "gemma2", "qwen2", "qwen3", "phi3")}
LIMIT = 0.01
GELU = {"gemma2": 0.05}
"""Nats. ggml takes GELU from a table of halves, and transformers does not. Over halves that table tells between layer and merge, too:
a merge in f16 lies 0.05 nats from the same sums in f32."""
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "patterns": {"rank_pattern": {"o_proj": 3}, "alpha_pattern": {"q_proj|qkv_proj": 5}},
}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, Process]]:
    folder = tmp_path_factory.mktemp("processes")
    both = Process(folder, "merges.py"), Process(folder, "runtime.py")
    yield both
    for each in both:
        each.close()


def as_mlx(adapter: Path, folder: Path) -> Path:
    """A PEFT folder as mlx-lm would have written it."""
    halves: dict[str, dict[str, Any]] = {}
    for name, (_, shape, data) in peft.tensors(adapter / PEFT).items():
        module, _, half = name.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".lora_")
        halves.setdefault(module, {})[half] = np.frombuffer(data, "<f4").reshape(shape)
    said = json.loads((adapter / CONFIG).read_text())
    return adapters.write_mlx(folder, halves, scale=said["lora_alpha"] / said["r"])


@pytest.mark.peer
@pytest.mark.parametrize("config", [*CONFIGS, "mlx"])
@pytest.mark.parametrize("model_type", MODELS)
def test_layer_merge_and_peft_agree(
    model_type: str, config: str, processes: tuple[Process, Process], tmp_path: Path
) -> None:
    # In f32, so that nothing but the order of sums may differ.
    found, beside = answers("f32", model_type, config, processes, tmp_path)
    for what, answer, limit in (("our merge", found, LIMIT), ("PEFT's", beside(), GELU.get(model_type, LIMIT))):
        LAYERS.append((f"{model_type}, {config}, f32: layer, {what}", answer))
        check(answer, limit)


@pytest.mark.peer
@pytest.mark.parametrize("model_type", MODELS)
def test_layer_and_merge_of_halves_agree(model_type: str, processes: tuple[Process, Process], tmp_path: Path) -> None:
    found, _ = answers("f16", model_type, "plain", processes, tmp_path)
    LAYERS.append((f"{model_type}, plain, f16: layer, our merge", found))
    check(found, GELU.get(model_type, LIMIT))


def check(answer: dict[str, Any], limit: float) -> None:
    assert answer["positions"] >= 200
    assert answer["same"] >= 0.99 * answer["positions"]
    assert answer["difference"] < limit


def answers(
    dtype: str, model_type: str, config: str, processes: tuple[Process, Process], folder: Path
) -> tuple[dict[str, Any], Callable[[], dict[str, Any]]]:
    """How the runtime with a layer over a base agrees with the merged model; and with PEFT's merge in transformers."""
    process, runtime = processes
    name, targets = MODELS[model_type]
    case = replace(zoo.cases(model_type)[name], dtype=dtype)
    base, adapter, merged = zoo.write(folder / "base", case), folder / "adapter", folder / "merged"
    if dtype == "f16":
        # The likeliest tokens lead by as much as in real models, not by dozens of nats: halves round in proportion to that.
        peft.save(
            base / "model.safetensors",
            {name: quarter(name, x) for name, x in peft.tensors(base / "model.safetensors").items()},
        )
    job = {"base": str(base), "dtype": {"f16": "float16", "f32": "float32"}[dtype], "merged": str(merged)}
    said = {**PLAIN, "target_modules": targets, **CONFIGS.get(config, {})}
    # A product as large as those of real adapters, a tenth of the weights.
    parts = [{"folder": str(adapter), "config": said}]
    assert process.ask(do="merge", **job, adapters=parts, size=0.02)["error"] is None
    model = recipes.converted(base, dtype, case.pre)
    files = adapters.Files(as_mlx(adapter, folder / "mlx") if config == "mlx" else adapter, model)
    leaves = {**recipes.Folder(base).leaves(), **files.leaves()}
    made = {
        "base": model,
        "layer": Recipe.decode(adapt.run({"folder": "x", "outtype": "f32", "scale": 1.0}, files)),
        "ours": Recipe.decode(merge.run({"scale": 1.0}, files)),
    }
    for part, recipe in made.items():
        (folder / f"{part}.gguf").write_bytes(recipes.file_of(recipe, leaves))
    tokens = decode_value(model.metadata["tokenizer.ggml.tokens"])
    letter = next(number for number, token in enumerate(tokens) if token in ("\u2581a", "a"))
    asked: dict[str, Any] = {"tokens": text(len(tokens)), "letter": letter}
    layer = {"model": str(folder / "base.gguf"), "adapters": [str(folder / "layer.gguf")]}
    ours: dict[str, Any] = {"model": str(folder / "ours.gguf"), "adapters": []}

    def asking(**what: Any) -> dict[str, Any]:
        answer = runtime.ask(**what, **asked)
        assert answer["error"] is None, answer
        return answer

    return asking(do="agree", sides=[layer, ours]), lambda: asking(do="logits", folder=str(merged), **layer)


def quarter(name: str, part: tuple[str, tuple[int, ...], bytes]) -> tuple[str, tuple[int, ...], bytes]:
    """A quarter of an embedding or an output in f16; others as they are."""
    dtype, shape, data = part
    if not name.endswith(("embed_tokens.weight", "lm_head.weight")):
        return part
    return dtype, shape, (np.frombuffer(data, "<f2") * np.float16(0.25)).tobytes()
