"""Which of a folder's files are an adapter, and what a folder without any is."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from modelbuild.checkpoint.adapters.files import MLX, PEFT, hint_to_rewrite, weights
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
        (["adapter_model.bin", "adapter_config.json"], [], "expected safetensors", "pickles can run code"),
        (["adapters.npz"], [], "expected safetensors", "archives of NumPy are not read"),
        (["model.safetensors", "config.json"], [], "a model, not an adapter", "name it in FROM"),
        ([PEFT, MLX], [], "two adapters", f"x/{PEFT}"),
        (["a.gguf", "b.gguf"], [], "several GGUF files", "name one of them"),
        (["lora.safetensors", "adapter_config.json"], [], "'lora.safetensors'", "x/lora.safetensors"),
        (["adapter_model-00001-of-00002.safetensors", "adapter_config.json"], [], "in several files", "save it in one"),
        (["notes.txt"], [], "no adapter", ""),
        ([], [], "no adapter", ""),
    ],
)  # fmt: skip
def test_other_folders(names: list[str], folders: list[str], what: str, hint: str) -> None:
    with pytest.raises(Error) as caught:
        weights(names, folders, "x")
    assert what in caught.value.what
    assert hint in (caught.value.hint or "")


def test_the_command_that_rewrites_an_archive_works_whatever_it_is_called(tmp_path: Path) -> None:
    name = 'it\'s $(false) "b".npz'
    np.savez(tmp_path / name, **{"layers.0.lora_a": np.ones((2, 3), np.float32)})
    hint = hint_to_rewrite(str(tmp_path), name)
    assert hint is not None and hint_to_rewrite("x", "notes.txt") is None
    command = hint.splitlines()[-1].replace("python3", shlex.quote(sys.executable), 1)
    subprocess.run(["sh", "-c", command], check=True, timeout=60)
    assert safetensors.numpy.load_file(tmp_path / "adapters.safetensors")["layers.0.lora_a"].shape == (2, 3)
