"""The file of an adapter is that of llama.cpp's convert_lora_to_gguf.py, for every architecture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from modelbuild.checkpoint.tensor_names import is_wanted
from modelbuild.steps import adapt
from modelbuild.tensors.recipe import Recipe
from tests import adapters, recipes, zoo

from .peers import Peers, same

NONE = ("gemma4_assistant", "jina_bert_v3", "nomic_bert_moe", "packed", "mistral3")
"""A draft; two that take no adapters; checkpoints whose tensors have other shapes than their matrices; and one of whose adapters that
script writes the base once more (Mistral3Model hands all to a model of its own)."""
MODELS = {model_type: next(iter(zoo.cases(model_type))) for model_type in zoo.model_types() if model_type not in NONE}
"""One checkpoint of each other `model_type`."""
OTHERS = "query|key|value|dense|Wqkv|Wo|Wi|out_proj|in_proj|in_proj_[abz]|fc1|fc2|fc11|fc12|[qkv]_lin|out_lin|lin1|lin2"
TARGETS = adapters.ALL.replace("w1|", f"{OTHERS}|w1|")
"""Also the projections of encoders, of short convolutions and of linear attention."""


@pytest.mark.peer
@pytest.mark.parametrize("model_type", MODELS)
def test_an_adapter_becomes_llama_cpps_file(model_type: str, peers: Peers, tmp_path: Path) -> None:
    case = zoo.cases(model_type)[MODELS[model_type]]
    base = zoo.write(tmp_path / "model", case)
    model = recipes.converted(base, "source", case.pre)
    shapes = {tensor: shape for tensor, shape in case.shapes.items() if is_wanted(tensor)}
    for dtype, name, outtype in (
        ("f32", "Tiny-Tales-1B-lora", "f32"),
        ("f32", "plain", "q8_0"),
        ("bf16", "org-7b-instruct-v2", "bf16"),
        ("f16", "tales", "f16"),
    ):
        folder = adapters.write_peft(tmp_path / name, adapters.factors(shapes, TARGETS), dtype=dtype, lora_alpha=20)
        (folder / "README.md").write_text("---\nlicense: mit\nbase_model: org/Tiny-1B\ntags: [lora]\n---\nhello\n")
        files = adapters.Files(folder, model)
        theirs = peers.convert_adapter(folder, base, outtype, case.pre)
        made = Recipe.decode(adapt.run({"folder": name, "outtype": outtype, "scale": 1.0}, files))
        same(recipes.file_of(made, files.leaves()), theirs, tmp_path)


@pytest.mark.peer
@pytest.mark.parametrize("text", ["<|im_start|>the other check_requirement<|im_end|>", "ab\n  c"])
def test_the_text_that_switches_one_on_becomes_the_same_tokens(text: str, peers: Peers, tmp_path: Path) -> None:
    case = zoo.cases("qwen2")["tied"]
    base = zoo.write(tmp_path / "model", case)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "_name_or_path": str(base)}))
    model = recipes.converted(base, "source", case.pre)
    pairs = adapters.factors(case.shapes, r".*q_proj")
    folder = adapters.write_peft(tmp_path / "tales", pairs, invocation_string=text)
    theirs = peers.convert_adapter(folder, base, "f32")
    shutil.copy(base / "tokenizer.json", folder)
    files = adapters.Files(folder, model)
    made = Recipe.decode(adapt.run({"folder": "tales", "outtype": "f32", "scale": 1.0}, files))
    same(recipes.file_of(made, files.leaves()), theirs, tmp_path)
