"""What a new project finds in a folder, and what it says of weights that nothing here reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.cli.beginnings import look


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}")


def test_folders_of_weights_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path, "a/config.json", "a/model.safetensors", "b/adapter_config.json", "b/adapter_model.safetensors")
    write(tmp_path, "c/ModelBuild.toml", "c/d/config.json", "c/d/model.safetensors", "e/config.json", ".f/Modelfile")
    found = look(str(tmp_path))
    assert (found.checkpoints, found.adapters, found.projects) == (["a"], ["b"], ["c/ModelBuild.toml"])
    assert not found.left_out


@pytest.mark.parametrize(
    ("names", "what", "hint"),
    [
        (["config.json", "pytorch_model.bin"], "the weights are pickles ('pytorch_model.bin')", "torch.load"),
        (["pytorch_model-00001-of-00002.bin"], "the weights are pickles", "torch.load"),
        (
            ["params.json", "tekken.json", "consolidated.safetensors"],
            "in Mistral's own format",
            "Hugging Face has them",
        ),
        (["params.json", "consolidated.00.pth"], "in Meta's own format", "in the format of transformers"),
    ],
)
def test_weights_that_nothing_reads_are_left_out_by_name(
    names: list[str], what: str, hint: str, tmp_path: Path
) -> None:
    write(tmp_path / "old", *names)
    (error,) = look(str(tmp_path)).left_out.values()
    assert what in error.what and error.path == "old"
    assert error.hint and hint in error.hint


def test_pickles_beside_safetensors_are_no_news(tmp_path: Path) -> None:
    write(tmp_path / "both", "config.json", "model.safetensors", "pytorch_model.bin", "consolidated.safetensors")
    found = look(str(tmp_path))
    assert (found.checkpoints, found.left_out) == (["both"], {})
