"""What we wrote into models folders is known, each folder's by itself, also when the cache was emptied."""

from __future__ import annotations

from pathlib import Path

from modelbuild.engine.store import Store
from modelbuild.publish.written import Owner, Written


def test_names_and_blobs_of_a_folder_are_known_until_they_are_forgotten(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    ours, others = Written(store.database, "/ours"), Written(store.database, "/others")
    ours.note({"h/n/one/latest": "sha256:1"}, Owner("project"))
    ours.note_blobs(["a", "b"])
    others.note_blobs(["c"])
    store.clear()
    assert ours.names() == {"h/n/one/latest": (Owner("project"), "sha256:1")}
    assert (ours.blobs(), others.blobs()) == ({"a", "b"}, {"c"})
    ours.forget(names=["h/n/one/latest"], blobs=["a", "c"])
    assert (ours.names(), ours.blobs(), others.blobs()) == ({}, {"b"}, {"c"})


def test_an_owner_is_a_file_and_what_t_named(tmp_path: Path) -> None:
    file = str(tmp_path / "Modelfile")
    assert Owner.of(file, None) == Owner(file) != Owner.of(file, "mine") == Owner(f"{file} -t mine")
    assert {Owner.of(file, named).file for named in (None, "mine", "host/me/mine:1b")} == {file}
    odd = tmp_path / "one -t two"
    odd.touch()
    assert (Owner.of(str(odd), None).file, Owner.of(str(odd), "mine").file) == (str(odd), str(odd))


def test_loose_blobs_are_ours_only_where_we_put_them(tmp_path: Path) -> None:
    written = Written(Store(str(tmp_path)).database, "/m")
    written.note_loose(["put"], ours=True)
    written.note_loose(iter(["replaced"]))
    assert (written.loose(), written.blobs()) == ({"put", "replaced"}, {"put"})
    written.forget_loose(["put"])
    assert (written.loose(), written.blobs()) == ({"replaced"}, {"put"})
