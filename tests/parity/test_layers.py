"""A layer says in llama.cpp's runtime what the merged model says, and what PEFT's merge of the same checkpoint says in transformers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from modelbuild.steps import adapt, merge
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.recipe import Recipe
from tests import adapters, recipes, zoo

from .peers import Process
from .test_logits import text
from .test_merges import MODELS as MERGED
from .test_merges import PLAIN

MODELS = {name: MERGED[name] for name in ("llama", "mistral", "gemma2", "qwen2", "qwen3", "phi3")}
LIMITS = {"gemma2": 0.05}
"""Nats. ggml takes GELU from a table of halves."""
CONFIGS = {
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


@pytest.mark.peer
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("model_type", MODELS)
def test_layer_and_merge_agree(
    model_type: str, config: str, processes: tuple[Process, Process], tmp_path: Path
) -> None:
    peft, runtime = processes
    name, targets = MODELS[model_type]
    # In f32, so that nothing but the order of sums may differ.
    case = replace(zoo.cases(model_type)[name], dtype="f32")
    base = zoo.write(tmp_path / "base", case)
    paths = {name: str(tmp_path / name) for name in ("adapter", "merged")}
    said = {**PLAIN, "target_modules": targets, **CONFIGS[config]}
    assert peft.ask(base=str(base), dtype="float32", config=said, **paths)["error"] is None
    model = recipes.converted(base, "f32", case.pre)
    files = adapters.Files(tmp_path / "adapter", model)
    leaves = {**recipes.Folder(base).leaves(), **files.leaves()}
    made = {
        "base": model,
        "layer": Recipe.decode(adapt.run({"folder": "x", "outtype": "f32", "scale": 1.0}, files)),
        "ours": Recipe.decode(merge.run({"scale": 1.0}, files)),
    }
    for part, recipe in made.items():
        (tmp_path / f"{part}.gguf").write_bytes(recipes.file_of(recipe, leaves))
    tokens = decode_value(model.metadata["tokenizer.ggml.tokens"])
    letter = next(number for number, token in enumerate(tokens) if token in ("\u2581a", "a"))
    asked = {"tokens": text(len(tokens)), "letter": letter}
    layered = {"model": str(tmp_path / "base.gguf"), "adapters": [str(tmp_path / "layer.gguf")]}
    merged = {"model": str(tmp_path / "ours.gguf"), "adapters": []}
    found = runtime.ask(do="agree", sides=[layered, merged], **asked)
    assert found["error"] is None
    assert found["same"] >= 0.99 * found["positions"]
    assert found["difference"] < LIMITS.get(model_type, 0.01)
    beside = runtime.ask(do="logits", folder=paths["merged"], model=merged["model"], **asked)
    assert beside["error"] is None and beside["same"] >= 0.99 * beside["positions"]
    assert beside["difference"] < LIMITS.get(model_type, 0.01)
