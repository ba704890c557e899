"""An adapter in a model and in its draft: together they have what the adapter changes in a model that kept its further blocks."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.checkpoint.adapters import parted, reading
from modelbuild.checkpoint.adapters.merged import changed
from modelbuild.checkpoint.adapters.places import Places
from modelbuild.errors import Error
from modelbuild.steps import adapt, merge
from modelbuild.tensors.recipe import Expression, Recipe
from tests import adapters, recipes, zoo

CASE = zoo.cases("qwen3_5")["text"]
BOTH = r"(model\.layers\.3|mtp\.layers\.0)\.self_attn\.(q|o)_proj|mtp\.fc|lm_head|model\.embed_tokens"
"""In blocks of both files, in what joins them, and in what both have."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo.write(tmp_path_factory.mktemp("zoo") / "model", CASE)


def converted(base: Path, mtp: str) -> Recipe:
    return recipes.converted(base, pre=CASE.pre, mtp=mtp)


def tensors(recipe: Recipe) -> dict[str, Expression]:
    return {entry.name: entry.expression for entry in recipe.tensors}


@pytest.mark.parametrize("as_gguf", [False, True])
def test_the_parts_are_the_whole(base: Path, tmp_path: Path, as_gguf: bool) -> None:
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors(CASE.shapes, BOTH))
    whole = converted(base, "keep")
    files = adapters.Files(lora, whole)
    if as_gguf:
        values = adapt.Parameters(folder="x", outtype="f32", scale=1.0)
        made = Recipe.decode(adapt.run(values, files))
        lora = tmp_path / "adapter.gguf"
        lora.write_bytes(recipes.file_of(made, files.leaves()))
    expected = tensors(Recipe.decode(merge.run({"scale": 1.0}, adapters.Files(lora, whole))))
    found: dict[str, Expression] = {}
    for mtp in ("drop", "only"):
        before = converted(base, mtp)
        after = tensors(Recipe.decode(merge.run({"scale": 1.0, "mtp": mtp}, adapters.Files(lora, before))))
        assert after.keys() == tensors(before).keys()
        assert after != tensors(before)
        assert all(found.get(name, x) == x for name, x in after.items())
        found |= after
    assert found == expected


def test_an_adapter_of_the_text_alone_leaves_the_draft_as_it_is(base: Path, tmp_path: Path) -> None:
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors(CASE.shapes, r"model\.layers\.3\.self_attn\..*"))
    draft = converted(base, "only")
    made = Recipe.decode(merge.run({"scale": 1.0, "mtp": "only"}, adapters.Files(lora, draft)))
    assert tensors(made) == tensors(draft)


def test_what_neither_file_has_is_still_an_error(base: Path, tmp_path: Path) -> None:
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors({"mtp.layers.7.self_attn.q_proj.weight": (256, 64)}))
    draft = converted(base, "only")
    adapter, places = reading.read(adapters.Files(lora, draft)), Places(draft)
    with pytest.raises(Error, match="that the model does not have"):
        changed(draft, parted.of(adapter, "only", places), places, scale=1.0)


@pytest.mark.parametrize("kind", [merge, adapt])
def test_a_model_without_these_blocks_says_how_to_keep_them(base: Path, tmp_path: Path, kind: object) -> None:
    lora = adapters.write_peft(tmp_path / "lora", adapters.factors(CASE.shapes, r"mtp\.layers\.0\.self_attn\.q_proj"))
    values = {"scale": 1.0, "folder": "x", "outtype": "f32"}
    with pytest.raises(Error, match="blocks for the prediction of several tokens") as caught:
        kind.run(values, adapters.Files(lora, converted(base, "drop")))  # type: ignore[attr-defined]
    assert caught.value.hint and 'mtp = "keep"' in caught.value.hint
