"""A blob that no model uses is kept for a revert only where nothing else has its tensors."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from modelbuild.digest import file_name
from modelbuild.engine.action import Made, Range
from modelbuild.engine.cache import LocalCache
from modelbuild.engine.store import Store
from modelbuild.ollama.library import Library
from modelbuild.publish.scratch import Scratch
from modelbuild.publish.spares import Spares
from tests.engine.test_store import ACTION

KEY = "xxh3:" + "b" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "cache"))


@pytest.fixture
def spares(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Spares:
    monkeypatch.setattr(Spares, "_is_far", lambda self: True)
    library = Library(str(tmp_path / "models"))
    Path(library.blobs).mkdir(parents=True)
    return Spares(library, store, Scratch(library, store))


def away(tmp_path: Path, store: Store, *, noted: bool = True, stored: bool = False) -> tuple[str, Path]:
    """A blob of the models folder that was moved away; with tensors in it if `noted`, also in the store if `stored`."""
    made = store.put(b"tensors")
    if noted:
        LocalCache(store).record(ACTION, Made(made, ((KEY, Range(made.artifact, 0, 7, KEY)),)))
    blob, path = tmp_path / "models/blobs" / file_name(made.artifact), tmp_path / "away"
    own = Path(store.scratch) / file_name(made.artifact)
    blob.write_bytes(own.read_bytes())
    if not stored:
        own.unlink()
    store.note_location(made.artifact, str(blob))
    blob.rename(path)
    return made.artifact, path


def test_tensors_that_lie_nowhere_else_stay_findable(tmp_path: Path, store: Store, spares: Spares) -> None:
    blob, path = away(tmp_path, store)
    assert spares.take(blob, str(path)) and not path.exists()
    kept = store.path(blob)
    assert kept is not None and spares.holds(kept) and Path(kept).read_bytes() == b"tensors"
    assert spares.folders()[0] == str(Path(kept).parent)
    spares.clear()
    assert store.path(blob) is None and not Path(kept).parent.exists()


def test_on_one_file_system_the_cache_has_them(tmp_path: Path, store: Store) -> None:
    library = Library(str(tmp_path / "models"))
    Path(library.blobs).mkdir(parents=True)
    blob, path = away(tmp_path, store)
    assert not Spares(library, store, Scratch(library, store)).take(blob, str(path)) and path.exists()


@pytest.mark.parametrize("case", ["without tensors", "in the store"])
def test_what_a_revert_does_not_need_is_not_kept(tmp_path: Path, store: Store, spares: Spares, case: str) -> None:
    blob, path = away(tmp_path, store, noted=case != "without tensors", stored=case == "in the store")
    assert not spares.take(blob, str(path)) and path.exists()


def test_nothing_is_kept_for_a_cache_that_is_gone(tmp_path: Path, store: Store) -> None:
    library = Library(str(tmp_path / "models"))
    shutil.rmtree(tmp_path / "cache")
    assert not Spares(library, store, Scratch(library, store)).take("sha256:" + "0" * 64, str(tmp_path / "x"))
