"""What models and the cache take is counted once, and each byte belongs somewhere."""

from __future__ import annotations

from pathlib import Path

from modelbuild.engine.store import Store
from modelbuild.ollama.library import Library
from modelbuild.session.usage import usage
from tests.e2e.in_process import InProcess
from tests.ollama.test_survey import install


def test_own_and_shared_bytes_of_models(tmp_path: Path) -> None:
    models = tmp_path / "models"
    install(models, "h/n/one/latest", "weights", "text of one")
    install(models, "h/n/two/latest", "weights", "2")
    (models / "blobs/sha256-lost").write_text("of nobody")
    store = Store(str(tmp_path / "cache"))
    found = usage(store, Library(str(models)))
    config = len('{"file_type": "Q8_0"}')
    assert {each.name.model: (each.size, each.own, each.shared) for each in found.models} == {
        "one": (config + 7 + 11, 11, config + 7),
        "two": (config + 7 + 1, 1, config + 7),
    }
    assert found.unused == 9
    assert found.blobs == config + 7 + 11 + 1 + 9
    assert found.total == found.blobs + found.database
    assert found.kinds == []


def test_an_empty_place_takes_nothing(tmp_path: Path) -> None:
    found = usage(Store(str(tmp_path / "cache")), Library(str(tmp_path / "models")))
    assert (found.models, found.blobs, found.unused, found.free) == ([], 0, 0, 0)


def test_what_nothing_needs_can_be_freed(tmp_path: Path) -> None:
    project = InProcess(tmp_path)
    project.checkpoint()
    project.write("ModelBuild.toml", '[model.m]\nfrom = "./weights"\n[model.n]\nfrom = "m"\nsystem = "S"\n')
    project.build()

    def look() -> tuple[int, dict[str, int]]:
        store = Store(str(project.cache))
        found = usage(store, Library(str(project.models)))
        store.close()
        return found.free, {each.kind: each.files for each in found.kinds}

    assert look() == (0, {"weights": 1, "recipe": 1, "config": 1, "manifest": 2, "text": 1})
    project.write("ModelBuild.toml", '[model.m]\nfrom = "./weights"\n[model.n]\nfrom = "m"\nsystem = "T"\n')
    project.build()
    free, kinds = look()
    assert free > 0 and kinds["manifest"] == 3 and kinds["text"] == 2
