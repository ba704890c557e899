"""Where checkpoints come from, beside the converter: folders of the Hugging Face cache, pickles turned into safetensors."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from modelbuild.checkpoint import shards
from tests.checkpoint.test_hf_cache import cached

from .. import checkpoints, recipes
from .peers import Peers, same


@pytest.mark.peer
@pytest.mark.parametrize("revision", ["8f7e2c0d" * 5, "0123456789abcdef" * 2 + "01234567", "main", "v1.0"])
def test_a_snapshot_is_named_as_the_converter_names_it(peers: Peers, revision: str, tmp_path: Path) -> None:
    folder = cached(tmp_path, revision) / "snapshots" / revision
    recipe = recipes.converted(folder, "auto")
    same(recipes.file_of(recipe, recipes.Folder(folder).leaves()), peers.convert(folder, "auto"), tmp_path)


@pytest.mark.peer
def test_the_command_for_pickles_makes_what_the_converter_makes_of_them(peers: Peers, tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "it's a model")
    script = (
        "import sys, torch; from safetensors.torch import load_file; f = sys.argv[1]; t = load_file(f + '/model.safetensors'); "
        "n = sorted(t); t['model.norm.weight'] = t['model.norm.weight'].T; "
        "[torch.save({k: t[k] for k in n[i::2]}, f'{f}/pytorch_model-0000{i + 1}-of-00002.bin') for i in (0, 1)]"
    )
    python = os.environ["MODELBUILD_PEERS_PYTHON"]
    subprocess.run([python, "-c", script, str(folder)], check=True)
    os.unlink(folder / "model.safetensors")
    theirs = peers.convert(folder, "f32")
    command = shards.unpickling(str(folder)).replace("python3", python)
    subprocess.run(command, shell=True, check=True)
    for path in folder.glob("*.bin"):
        path.unlink()
    assert sorted(path.name for path in folder.glob("*.safetensors")) == [
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
    ]  # fmt: skip
    recipe = recipes.converted(folder, "f32")
    leaves = recipes.Folder(folder).leaves()
    same(recipes.file_of(recipe, leaves), peers.convert(folder, "f32"), tmp_path)
    assert len(theirs) == len(recipes.file_of(recipe, leaves))
    shutil.rmtree(folder)
