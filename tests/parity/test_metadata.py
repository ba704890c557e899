"""A whole file with metadata of one's own, beside the one that `convert_hf_to_gguf.py --metadata` makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelbuild.checkpoint.described import describe
from modelbuild.tensors.recipe import Recipe

from .. import checkpoints, recipes
from .peers import Peers, same

CARD = (
    "---\nname: Card\nlicense: mit\ntags: [a, b]\nbase_model: [org/base-7B, other/base]\nlanguage: [en]\n---\n# Text\n"
)

GIVEN = {
    "named": {"general.name": "My own", "general.author": "Me", "general.quantized_by": "Me", "general.url": "https://example.com"},
    "sampling": {"general.sampling.temp": 0.25, "general.sampling.top_k": 12, "general.sampling.sequence": "top_k;temp"},
    "lists": {"general.tags": ["x"], "general.languages": ["de", "fr"], "general.base_models": [{"name": "Base", "repo_url": "https://example.com/b"}],
              "general.datasets": [{"name": "Data", "organization": "Org"}, {"name": "More", "version": ""}]},
    "taken away": {"general.name": "", "general.size_label": "", "general.tags": [], "general.base_models": []},
    "sources": {"general.license.name": "odd", "general.source.url": "https://example.com/s", "general.uuid": "u",
                "general.basename": "own", "general.finetune": "chat", "general.version": "9", "general.description": "\u00fcber alles"},
}  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize("case", GIVEN)
@pytest.mark.parametrize("card", [None, CARD])
def test_file_is_the_converters(peers: Peers, tmp_path: Path, case: str, card: str | None) -> None:
    folder = checkpoints.write(tmp_path / "Model-1M-chat")
    (folder / "generation_config.json").write_text('{"temperature": 0.7, "top_p": 0.9}')
    if card:
        (folder / "README.md").write_text(card)
    override = tmp_path / "metadata.json"
    override.write_text(json.dumps(GIVEN[case]))
    recipe = recipes.converted(folder, "f16")
    ours = Recipe(describe(recipe.metadata, GIVEN[case]), recipe.tensors, recipe.constants)
    error = peers.ask(
        do="convert", folder=str(folder), outtype="f16", out=str(peers.out), options=["--metadata", str(override)]
    )
    assert error is None, error
    same(recipes.file_of(ours, recipes.Folder(folder).leaves()), peers.out.read_bytes(), tmp_path)
