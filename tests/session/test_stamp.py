"""A stamp: what it holds on to, and what is too young for one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from modelbuild.engine.kept import Kept
from modelbuild.engine.parts import Parts
from modelbuild.engine.store import Store
from modelbuild.files import signature
from modelbuild.session import stamp as stamps
from modelbuild.session.stamp import Stamp, signed, take


def test_stamp_is_not_taken_for_what_is_younger_than_a_tick(tmp_path: Path) -> None:
    (tmp_path / "young").write_text("x")
    assert take(1, 1, [], [str(tmp_path / "young")], {}) is None
    os.utime(tmp_path / "young", ns=(1, 1))
    assert take(1, 1, [], [str(tmp_path / "young")], {}) is None
    time.sleep(0.05)
    stamp = take(1, 1, [("env", "SOME_VARIABLE", "")], [str(tmp_path / "young"), str(tmp_path / "absent")], {})
    assert stamp is not None
    assert stamp.holds()
    (tmp_path / "absent").write_text("x")
    assert not stamp.holds()


def test_kept_stamp_is_the_same_stamp(tmp_path: Path) -> None:
    for name in ("look", "shared", "one", "two\n"):
        (tmp_path / name).write_text("x")
    paths = {name: str(tmp_path / name) for name in ("look", "shared", "one", "two\n")}
    time.sleep(0.05)
    stats = {name: os.stat(path) for name, path in paths.items()}
    outputs = {label: {paths[name]: stats[name] for name in (label, "shared")} for label in ("one", "two\n")}
    made = take(2, 9, [("env", "SOME_VARIABLE", "")], [paths["look"]], outputs, "p")
    assert made is not None
    store = Store(str(tmp_path / "cache"))
    kept, parts = Kept(store.database), Parts(store.database, "stamp")
    made.keep("stamp", kept, parts)
    stamp = Stamp.read("stamp", kept, parts)
    assert stamp is not None and (stamp.models, stamp.steps, stamp.plan) == (2, 9, "p")
    assert stamp.changes() == ([], [])
    (tmp_path / "look").write_text("y")
    (tmp_path / "two\n").unlink()
    assert stamp.changes() == ([paths["look"]], ["two\n"])
    (tmp_path / "new").write_text("x")
    time.sleep(0.05)
    changed = signed([paths["look"], str(tmp_path / "new")])
    assert changed is not None
    new = str(tmp_path / "new")
    stamp.change(parts, {paths["look"]: changed[paths["look"]]}, {"two\n": {new: changed[new]}})
    for again in (stamp, Stamp.read("stamp", kept, parts)):
        assert again is not None and again.changes() == ([], [])
    (tmp_path / "shared").unlink()
    assert again.changes() == ([], ["one"])
    store.close()


def test_a_stamp_hangs_on_files_folders_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("SOME_VARIABLE", "x")
    time.sleep(0.05)
    looks = [("env", "SOME_VARIABLE", "=x"), ("entries", str(tmp_path / "folder"), "")]
    stamp = take(1, 1, looks, [], {})
    assert stamp is not None and stamp.holds()
    monkeypatch.setenv("SOME_VARIABLE", "y")
    assert not stamp.holds()
    monkeypatch.setenv("SOME_VARIABLE", "x")
    (tmp_path / "folder/new").touch()
    assert not stamp.holds()


@pytest.mark.parametrize("is_native", [False, True])
def test_each_file_that_is_not_as_it_was_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_native: bool
) -> None:
    if not is_native:
        monkeypatch.setattr(stamps, "_stats", None)
    elif stamps._stats is None:
        pytest.skip("not built here")
    names = [b"same", b"new\n", b"odd \xff", b"gone", b"none", b"came", b"link"]
    paths = [os.fsencode(tmp_path) + b"/" + name for name in names]
    for path in paths[:4]:
        with open(path, "wb") as file:
            file.write(b"x")
    seen = [signature(os.stat(path)).encode() if os.path.exists(path) else b"" for path in paths]
    files = b"\0".join(part for pair in zip(paths, seen, strict=True) for part in pair)
    assert stamps.changed(files) == [] == stamps.changed(b"")
    with open(paths[1], "wb") as file:
        file.write(b"other")
    os.unlink(paths[2])
    os.unlink(paths[3])
    with open(paths[2], "wb") as file:
        file.write(b"x")
    with open(paths[5], "wb") as file:
        file.write(b"x")
    os.symlink(b"nowhere", paths[6])
    os.utime(paths[2], ns=(-1, -1_500_000_001))
    assert stamps.changed(files) == [1, 2, 3, 5, 6]
    odd = os.fsencode(paths[2]) + b"\0" + signature(os.stat(paths[2])).encode()
    assert stamps.changed(odd) == []


@pytest.mark.parametrize("hands", [1, 4])
def test_many_files_are_looked_at_by_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hands: int) -> None:
    monkeypatch.setattr(stamps, "CHUNK", 2)
    monkeypatch.setattr(stamps, "cores", lambda: hands)
    paths = [str(tmp_path / str(number)) for number in range(100)]
    for path in paths:
        Path(path).touch()
    time.sleep(0.05)
    stamp = take(1, 1, [], paths, {})
    assert stamp is not None and stamp.holds()
    for number in (0, 63, 99):
        os.unlink(paths[number])
    found = stamp.changes()
    assert found is not None and sorted(found.paths) == sorted(paths[number] for number in (0, 63, 99))
    assert not stamp.holds()


def test_an_output_that_is_too_young_after_an_edit_counts_as_changed_until_it_is_older(tmp_path: Path) -> None:
    paths = {name: str(tmp_path / name) for name in ("source", "one", "two")}
    for path in paths.values():
        Path(path).touch()
    time.sleep(0.05)
    outputs = {name: {paths[name]: os.stat(paths[name])} for name in ("one", "two")}
    stamp = take(2, 2, [], [paths["source"]], outputs)
    assert stamp is not None
    store = Store(str(tmp_path / "cache"))
    kept, parts = Kept(store.database), Parts(store.database, "stamp")
    stamp.keep("stamp", kept, parts)
    Path(paths["source"]).write_text("x")
    time.sleep(0.05)
    Path(paths["one"]).write_text("x")
    changes = stamp.changes()
    assert changes == ([paths["source"]], ["one"])
    for expected in (["one"], []):
        outputs = {"one": {paths["one"]: os.stat(paths["one"])}}
        changed = stamps.again(stamp, changes, [], [paths["source"]], outputs)
        assert changed is not None
        stamp.change(parts, *changed)
        assert stamp.changes() == ([], expected)
        time.sleep(0.05)
    store.close()


@pytest.mark.parametrize("many", [False, True])
def test_outputs_that_were_built_are_found_by_their_whole_labels(many: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many are not searched for one by one: a model may have thousands of variants."""
    built = ["a", "a:b", 'q"\\', "ü\udc80", "last"]
    more = [f"m:{number}" for number in range(1000)] if many else []
    found = take(1, 1, (), (), {label: {} for label in [*built, *more]})
    assert found is not None
    if many:
        monkeypatch.setattr("modelbuild.session.stamp.json.dumps", None)
    assert found.built([*built, *more[::2], "a:", ":b", "las"]) == {*built, *more[::2]}
