"""Repositories of Hugging Face in its cache: whole ones alone, each as it is pinned."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.checkpoint import hf_cache, shards
from modelbuild.checkpoint.hf_repository import Repository, parse
from modelbuild.observed import Observed
from modelbuild.plan.hub import Downloaded, Hub
from modelbuild.plan.pulled import NotPulled
from modelbuild.plan.weights import WeightsReader
from tests.projects import load

COMMIT = "c" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache, with a whole snapshot of org/tiny."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    folder = tmp_path / "hf/hub/models--org--tiny"
    files = {
        f"snapshots/{COMMIT}/config.json": "{}",
        f"snapshots/{COMMIT}/model.safetensors": "x",
        "refs/main": COMMIT,
        "refs/v1": "d" * 40,
    }
    files |= {f".no_exist/{COMMIT}/{name}": "" for name in (*shards.FILES[1:], hf_cache.TEMPLATES, "modules.json")}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def find(root: Path, text: str = "hf.co/org/tiny", pins: dict[str, str] | None = None) -> Downloaded | None:
    observed = Observed()
    line = load(root, f'[model.a]\nfrom = "{text}"\n').variants[0].froms[0]
    repository = parse(text)
    assert isinstance(repository, Repository)
    return Hub(observed, WeightsReader(observed), pins or {}).find(line, repository)


def test_a_whole_snapshot_is_a_checkpoint_by_the_name_of_its_repository(tmp_path: Path, cache: Path) -> None:
    found = find(tmp_path)
    assert found is not None and found.outside == ("hf.co/org/tiny", COMMIT)
    assert found.checkpoint.name == "tiny" and found.checkpoint.path == str(cache / "snapshots" / COMMIT)


def test_what_is_pinned_counts_and_not_what_was_downloaded_last(tmp_path: Path, cache: Path) -> None:
    (cache / "refs/main").write_text("e" * 40)
    found = find(tmp_path, pins={"hf.co/org/tiny": COMMIT})
    assert found is not None and found.outside.pin == COMMIT
    with pytest.raises(NotPulled) as caught:
        find(tmp_path, "hf://org/tiny@v1")
    assert caught.value.wanted == ("hf.co/org/tiny@v1", "d" * 40)


def test_a_commit_that_is_named_needs_no_pin(tmp_path: Path, cache: Path) -> None:
    assert find(tmp_path, f"hf://org/tiny@{COMMIT}") is not None


@pytest.mark.parametrize("lost", ["model.safetensors", "config.json", "README.md"])
def test_a_part_of_a_snapshot_is_none(tmp_path: Path, cache: Path, lost: str) -> None:
    for folder in ("snapshots", ".no_exist"):
        (cache / folder / COMMIT / lost).unlink(missing_ok=True)
    with pytest.raises(NotPulled):
        find(tmp_path, pins={"hf.co/org/tiny": COMMIT})


def test_numbered_weights_without_an_index_are_all_there_or_none(tmp_path: Path, cache: Path) -> None:
    snapshot = cache / "snapshots" / COMMIT
    (snapshot / "model.safetensors").rename(snapshot / "model-00001-of-00002.safetensors")
    with pytest.raises(NotPulled):
        find(tmp_path)
    (snapshot / "model-00002-of-00002.safetensors").write_text("x")
    assert find(tmp_path) is not None


def test_nobody_knows_what_is_not_there(tmp_path: Path, cache: Path) -> None:
    assert find(tmp_path, "hf.co/org/other") is None
    (cache / "refs/main").write_text("not a commit")
    assert find(tmp_path) is None
