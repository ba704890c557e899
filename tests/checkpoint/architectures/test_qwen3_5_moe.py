"""Qwen3.5 with experts: stacked ones and those apart become one file, and the shared one's gate is a row."""

from __future__ import annotations

from pathlib import Path

from tests import checkpoints, recipes, zoo
from tests.zoo import qwen3_5_moe
from tests.zoo.qwen3_next import experts

TEXT = zoo.cases("qwen3_5_moe")["text"]


def test_both_forms_of_experts_become_one_file(tmp_path: Path) -> None:
    """The model's are stacked, those of the blocks for further tokens are apart; here these are stacked too."""
    config = qwen3_5_moe.CONFIG
    apart, together = (zoo.write(tmp_path / name / "m", TEXT) for name in ("apart", "together"))
    found = {name: zoo.tensor(name, TEXT.dtype, shape) for name, shape in TEXT.shapes.items()}
    for name, shape in experts(config, "mtp.layers.0", stacked=True).items():
        if ".experts." in name:
            stem, _, part = name.rpartition(".")
            parts = ("gate_proj", "up_proj") if part == "gate_up_proj" else ("down_proj",)
            pieces = [
                found.pop(f"{stem}.{index}.{each}.weight")[2]
                for index in range(config["num_experts"])
                for each in parts
            ]
            found[name] = ("BF16", shape, b"".join(pieces))
    checkpoints.save(together / "model.safetensors", found)
    files = [
        recipes.file_of(recipes.converted(folder, "q8_0", TEXT.pre), recipes.Folder(folder).leaves())
        for folder in (apart, together)
    ]
    assert files[0] == files[1]


def test_the_gate_of_the_shared_expert_is_a_row_in_f32(tmp_path: Path) -> None:
    recipe = recipes.converted(zoo.write(tmp_path / "m", TEXT), "f16", TEXT.pre)
    entry = next(each for each in recipe.tensors if each.name == "blk.0.ffn_gate_inp_shexp.weight")
    assert (entry.shape, entry.expression.dtype) == ((1, 64), "f32")
