"""Checkpoints written back: their own names and bytes, and adapters where the file of the runtime has them, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelbuild.checkpoint import restored
from modelbuild.checkpoint.adapters import reading
from modelbuild.errors import Error
from modelbuild.steps import merge
from modelbuild.tensors.recipe import Recipe
from tests import adapters, checkpoints, recipes, zoo

MODELS = {
    "llama": ("bf16", adapters.ALL),
    "mistral": ("untied", adapters.ALL),
    "gemma2": ("bf16", adapters.ALL),
    "qwen2": ("tied", adapters.ALL),
    "phi3": ("4k", adapters.ALL),
    "mixtral": ("eight experts", r".*(q_proj|w1|w2|w3)"),
    "olmo2": ("untied", adapters.ALL),
    "qwen3_5": ("text", r"model.*(q_proj|in_proj_.*|out_proj|up_proj)"),
    "qwen3_next": ("blocks for further tokens", r"model.*(k_proj|in_proj_ba|out_proj|shared_expert.up_proj)"),
}


def write(folder: Path, recipe: Recipe, leaves: dict[str, bytes]) -> Path:
    """Write the folder that a recipe describes."""
    folder.mkdir()
    for name, data in recipe.metadata.items():
        (folder / name).write_bytes(data)
    tensors = {
        entry.name: (entry.expression.dtype.upper(), entry.shape, recipes.evaluate(entry.expression, leaves))
        for entry in recipe.tensors
    }
    checkpoints.save(folder / "model.safetensors", tensors, {"format": "pt"})
    return folder


def bytes_of(recipe: Recipe, leaves: dict[str, bytes]) -> dict[str, bytes]:
    return {entry.name: recipes.evaluate(entry.expression, {**leaves, **recipe.constants}) for entry in recipe.tensors}


def test_a_folder_as_it_is_has_its_own_names_types_and_small_files(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m", shards=2)
    (folder / "README.md").write_text("# card")
    files = recipes.Folder(folder)
    made = restored.gathered(files)
    theirs = {name: each for _, table in files.tables() for name, each in table.tensors.items()}
    assert {each.name: (each.expression.dtype, each.shape) for each in made.tensors} == {
        name: (each.dtype, each.shape) for name, each in theirs.items()
    }
    assert bytes_of(made, files.leaves()) == {name: files.leaves()[each.digest] for name, each in theirs.items()}
    assert set(made.metadata) == {"config.json", "tokenizer.model"}
    assert made.metadata["config.json"] == (folder / "config.json").read_bytes()


def test_a_quantized_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m", quantization_config={"quant_method": "fp8"})
    with pytest.raises(Error, match="quantized already \\(fp8\\)") as caught:
        restored.gathered(recipes.Folder(folder))
    assert caught.value.path == "config.json" and caught.value.hint


@pytest.mark.parametrize("model", MODELS)
def test_the_runtimes_file_of_what_is_written_back_is_that_with_the_adapter_in_it(model: str, tmp_path: Path) -> None:
    name, targets = MODELS[model]
    case = zoo.cases(model)[name]
    folder = zoo.write(tmp_path / "model", case)
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors(case.shapes, targets))
    files = adapters.Files(lora, recipes.converted(folder, pre=case.pre))
    leaves = {**recipes.Folder(folder).leaves(), **files.leaves()}
    expected = Recipe.decode(merge.run({"scale": 0.5}, files))
    made = restored.grafted(restored.gathered(recipes.Folder(folder)), reading.read(files), files, scale=0.5)
    assert [each.name for each in made.tensors] == [
        each.name for each in restored.gathered(recipes.Folder(folder)).tensors
    ]
    back = write(tmp_path / "back", made, {**leaves, **made.constants})
    again = recipes.converted(back, pre=case.pre)
    found, wanted = bytes_of(again, recipes.Folder(back).leaves()), bytes_of(expected, leaves)
    assert found.keys() == wanted.keys()
    assert [each for each in found if found[each] != wanted[each]] == []


def test_two_adapters_are_rounded_once(tmp_path: Path) -> None:
    case = zoo.cases("llama")["bf16"]
    folder = zoo.write(tmp_path / "model", case)
    loras = [
        adapters.write_peft(tmp_path / each, adapters.factors(case.shapes, targets))
        for each, targets in (("one", r".*q_proj"), ("two", r".*(q|v)_proj"))
    ]
    base = restored.gathered(recipes.Folder(folder))
    recipe, leaves = recipes.converted(folder), recipes.Folder(folder).leaves()
    for lora in loras:
        files = adapters.Files(lora, recipe)
        recipe = Recipe.decode(merge.run({"scale": 1.0}, files))
        base = restored.grafted(base, reading.read(files), files, scale=1.0)
        leaves |= files.leaves()
    back = write(tmp_path / "back", base, {**leaves, **base.constants})
    assert bytes_of(recipes.converted(back), recipes.Folder(back).leaves()) == bytes_of(recipe, leaves)


def test_an_output_of_its_own_is_said_in_the_configuration(tmp_path: Path) -> None:
    case = zoo.cases("qwen2")["tied"]
    folder = zoo.write(tmp_path / "model", case)
    shape = next(shape for name, shape in case.shapes.items() if name.endswith("embed_tokens.weight"))
    pairs = {"lm_head": {"A": adapters.matrix("a", 4, shape[1]), "B": adapters.matrix("b", shape[0], 4)}}
    lora = adapters.write_peft(tmp_path / "lora", pairs)
    files = adapters.Files(lora, recipes.converted(folder, pre=case.pre))
    base = restored.gathered(recipes.Folder(folder))
    made = restored.grafted(base, reading.read(files), files, scale=1.0)
    assert "lm_head.weight" in {each.name for each in made.tensors} - {each.name for each in base.tensors}
    assert json.loads(made.metadata["config.json"])["tie_word_embeddings"] is False
    assert json.loads(base.metadata["config.json"]).get("tie_word_embeddings") is not False


def test_the_tokenizer_of_an_adapter_stands_over_the_checkpoints(tmp_path: Path) -> None:
    case = zoo.cases("llama")["bf16"]
    folder = zoo.write(tmp_path / "model", case)
    base = restored.gathered(recipes.Folder(folder))
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors(case.shapes, r".*q_proj"))
    (lora / "chat_template.jinja").write_text("{{ mine }}")
    files = adapters.Files(lora, recipes.converted(folder))
    made = restored.grafted(base, reading.read(files), files, scale=1.0)
    assert made.metadata["chat_template.jinja"] == b"{{ mine }}"
    assert {**made.metadata, "chat_template.jinja": b""} == {**base.metadata, "chat_template.jinja": b""}
    (lora / "tokenizer.json").write_text("{}")
    files = adapters.Files(lora, recipes.converted(folder))
    small = restored.grafted(base, reading.read(files), files, scale=1.0).metadata
    assert small["tokenizer.json"] == b"{}" and "tokenizer.model" not in small and "config.json" in small


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    case = zoo.cases("llama")["bf16"]
    folder = zoo.write(tmp_path / "model", case)
    base, recipe = restored.gathered(recipes.Folder(folder)), recipes.converted(folder)
    pairs = {"model.layers.99.self_attn.q_proj": {"A": adapters.matrix("a", 4, 64), "B": adapters.matrix("b", 64, 4)}}
    files = adapters.Files(adapters.write_peft(tmp_path / "lora", pairs), recipe)
    with pytest.raises(Error, match="the model does not have"):
        restored.grafted(base, reading.read(files), files, scale=1.0)
