"""Which of a folder's files are an adapter, and what a folder without any is."""

from __future__ import annotations

import pytest

from modelbuild.checkpoint.adapters.files import MLX, PEFT, weights
from modelbuild.errors import Error


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([PEFT, "adapter_config.json", "tokenizer.json", "training_args.bin"], PEFT),
        ([MLX, "0000100_adapters.safetensors", "adapter_config.json"], MLX),
        (["lora.gguf", "README.md"], "lora.gguf"),
        ([PEFT, "adapter_model.bin", "optimizer.pt"], PEFT),
    ],
)
def test_a_folder_of_an_adapter(names: list[str], found: str) -> None:
    assert weights(names, ["checkpoint-5"], "x") == found


@pytest.mark.parametrize(
    ("names", "folders", "what", "hint"),
    [
        (["trainer_state.json"], ["checkpoint-9", "checkpoint-100", "runs"], "the checkpoints of a training run", "x/checkpoint-100"),
        (["adapter_model.bin", "adapter_config.json"], [], "is a pickle", "cd x && python3"),
        (["adapters.npz"], [], "is a pickle", "cd x && python3"),
        (["model.safetensors", "config.json"], [], "a model, not an adapter", "name it in FROM"),
        ([PEFT, MLX], [], "two adapters", f"x/{PEFT}"),
        (["a.gguf", "b.gguf"], [], "several GGUF files", "name one of them"),
        (["lora.safetensors", "adapter_config.json"], [], "'lora.safetensors'", "x/lora.safetensors"),
        (["notes.txt"], [], "no adapter", ""),
        ([], [], "no adapter", ""),
    ],
)  # fmt: skip
def test_other_folders(names: list[str], folders: list[str], what: str, hint: str) -> None:
    with pytest.raises(Error) as caught:
        weights(names, folders, "x")
    assert what in caught.value.what
    assert hint in (caught.value.hint or "")
