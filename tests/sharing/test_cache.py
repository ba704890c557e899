"""The cache joined with a remote: what is asked, what is taken, and that a bad remote costs time alone."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelbuild import interrupt
from modelbuild.errors import Error
from modelbuild.remotes import BLOBS, RECORDS
from modelbuild.sharing import cache, line
from modelbuild.sharing.line import FAULTS, Line, Lost, _Ledger
from modelbuild.sharing.record import Record
from tests.sharing.shared_toy import TEXT, Machine, Memory, at_random, chain

ALL = ["m/first", "m/second", "m/layer"]
MADE = ("321" + TEXT).encode()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "PAUSE", 0.01)


@pytest.fixture
def remote() -> Memory:
    return Memory()


def test_only_the_final_layer_is_fetched(tmp_path: Path, remote: Memory) -> None:
    first, second = Machine(tmp_path / "a", remote), Machine(tmp_path / "b", remote)
    assert first.built() == ALL
    remote.asked.clear()
    assert second.built() == []
    assert second.brought == ["m/layer"]
    assert second.layer() == first.layer() == MADE
    assert remote.asked.count(("get", BLOBS)) == 1
    assert remote.asked.count(("get", RECORDS)) == 3
    # What is known here is not asked for again.
    remote.asked.clear()
    assert second.built() == [] and remote.asked == []


def test_a_result_is_made_and_sent_where_the_remote_has_only_what_is_before_it(tmp_path: Path, remote: Memory) -> None:
    first, second, third = (Machine(tmp_path / name, remote) for name in "abc")
    first.built()
    layer = max(remote.names(RECORDS), key=lambda name: b'"size":60003' in remote.kept[RECORDS, name])
    del remote.kept[RECORDS, layer]
    assert second.built() == ["m/layer"]
    assert second.layer() == MADE
    assert third.built() == []


def test_a_record_without_its_blob_is_made_again_and_mended(tmp_path: Path, remote: Memory) -> None:
    first, second, third = (Machine(tmp_path / name, remote) for name in "abc")
    first.built()
    for name in remote.names(BLOBS):
        del remote.kept[BLOBS, name]
    assert second.built() == ALL
    assert second.layer() == MADE
    assert third.built() == []


def test_a_remote_that_fails_is_given_up_with_a_notice(tmp_path: Path, remote: Memory) -> None:
    def fault(verb: str, kind: str) -> None:
        raise Error("the store is dead")

    remote.fault = fault
    machine = Machine(tmp_path, remote)
    assert machine.built() == ALL
    lost = [event for event in machine.told if event["event"] == "remote-lost"]
    assert sorted(event["direction"] for event in lost) == ["read", "write"]
    assert len(remote.asked) <= 4 * FAULTS
    assert machine.told[-1]["left"] == 3


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), OSError("x"), RuntimeError("x")], ids=repr)
def test_no_build_fails_for_what_nobody_foresaw_of_a_remote(tmp_path: Path, remote: Memory, error: Exception) -> None:
    def fault(verb: str, kind: str) -> None:
        raise error

    remote.fault = fault
    machine = Machine(tmp_path, remote)
    assert machine.built() == ALL
    assert machine.told[-1]["left"] == 3


def test_a_remote_whose_every_file_is_wrong_is_given_up(remote: Memory) -> None:
    told: list[dict[str, Any]] = []
    way = Line(remote, told.append)
    for _ in range(FAULTS):
        assert not told
        assert way.small(RECORDS, "a" * 64, 10) is None
        way.wrong(BLOBS, "sent other bytes")
        way.right(RECORDS)
    assert [event["error"] for event in told] == ["error: 'memory' sent other bytes"]
    with pytest.raises(Lost):
        way.small(RECORDS, "a" * 64, 10)


def test_requests_that_fail_together_are_one_fault_and_long_waits_count() -> None:
    ledger = _Ledger()
    assert not any(ledger.fault(begun, 1.0 + begun) for begun in (0.0, 0.1, 0.2, 0.9))
    assert not ledger.fault(2.0, 3.0)
    ledger.success(3.0, 4.0)
    assert not ledger.fault(4.0, 5.0)
    # Good answers between them do not hide what is waited for in vain.
    assert not ledger.fault(5.0, 15.0)
    ledger.success(15.0, 15.1)
    assert ledger.fault(15.1, 26.0)


def test_ctrl_c_ends_what_is_asked_together(remote: Memory) -> None:
    ended = threading.Event()
    way = Line(remote, lambda event: None)
    remote.stop = ended.set  # type: ignore[method-assign]

    def ask(name: str) -> str:
        if name == "first":
            os.kill(os.getpid(), signal.SIGINT)
        assert ended.wait(10)
        return name

    with pytest.raises(KeyboardInterrupt):
        list(way.together(ask, ["first", "second"], 2))
    assert ended.is_set() and not way.serves("read")


def test_a_record_with_a_wrong_size_drops_nothing_that_is_here(tmp_path: Path, remote: Memory) -> None:
    machine, key = Machine(tmp_path, remote), "a" * 64
    here = machine.store.put(TEXT.encode())
    for size, is_one in ((here.size, True), (here.size + 1, False)):
        record = Record(key, here._replace(size=size))
        remote.kept[RECORDS, key] = record.encode()
        assert list(machine.shared.records([key])) == [record if is_one else None]
    assert machine.store.has(here)
    machine.store.close()


def test_an_interrupt_ends_what_is_fetched(remote: Memory) -> None:
    remote.kept[BLOBS, "a" * 64] = b"abcd"
    way, pieces = Line(remote, lambda event: None), []
    with pytest.raises(KeyboardInterrupt), interrupt.deferred(lambda: None):
        for piece in way.large(BLOBS, "a" * 64):
            pieces.append(piece)
            signal.raise_signal(signal.SIGINT)
    assert pieces == [b"ab"]


def test_a_cache_that_only_writes_offers_nothing(tmp_path: Path, remote: Memory) -> None:
    machine = Machine(tmp_path, remote, reads=False)
    machine.built()
    machine.open()
    machine.build(chain(machine.write("a.txt", TEXT)))
    actions = [action for (action,) in machine.store.database.rows("select digest from action")]
    assert [machine.shared.offer(action) for action in actions] == [None] * len(actions)
    machine.store.close()


@pytest.mark.parametrize(
    "spoil",
    ["cut", "flip", "break", Error("stopped answering"), "blobless", "recordless", "garbage"],
    ids=lambda spoil: str(spoil).replace(" ", "-"),
)
@pytest.mark.parametrize("seed", range(2))
def test_a_bad_remote_costs_time_alone(tmp_path: Path, remote: Memory, spoil: Any, seed: int) -> None:
    spoiled(tmp_path, remote, spoil, seed)


@pytest.mark.peer
@pytest.mark.parametrize(
    "spoil", ["cut", "flip", "break", Error("stopped answering"), "blobless", "recordless"], ids=str
)
def test_a_bad_remote_costs_time_alone_fifty_times(tmp_path: Path, spoil: Any) -> None:
    for seed in range(50):
        spoiled(tmp_path / str(seed), Memory(), spoil, seed)


def spoiled(folder: Path, remote: Memory, spoil: Any, seed: int) -> None:
    """Build on three machines while the remote fails at random: every one has the right bytes, and none an error."""
    if spoil not in ("blobless", "recordless", "garbage"):
        remote.fault = at_random(seed, spoil)
    for number in range(3):
        machine = Machine(folder / str(number), remote)
        machine.built()
        assert machine.errors == []
        assert machine.layer() == MADE
        kind = BLOBS if spoil == "blobless" else RECORDS
        for place, name in enumerate(sorted(remote.names(kind))):
            if (place + seed) % 2 and spoil in ("blobless", "recordless"):
                del remote.kept[kind, name]
            if (place + seed) % 2 and spoil == "garbage":
                remote.kept[kind, name] = remote.kept[kind, name][:-1] + b"]"


def test_a_record_that_names_other_bytes_makes_no_failed_build(tmp_path: Path, remote: Memory) -> None:
    first = Machine(tmp_path / "a", remote)
    first.built()
    first.built(TEXT + "!")
    # The results of two actions are exchanged, as a writer might do who means harm or is broken.
    names = remote.names(RECORDS)
    for name in names:
        data = remote.kept[RECORDS, name]
        remote.kept[RECORDS, name] = data.replace(name.encode(), b"0" * 64)
    second = Machine(tmp_path / "b", remote)
    assert second.built() == ALL
    assert second.layer() == MADE


def test_a_fault_that_comes_while_another_is_told_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first = {"read": Error("it is slow")}

    def told(error: Error) -> str:
        first["write"] = Error("it is full")
        return error.what

    monkeypatch.setattr(cache, "told", told)
    shared: Any = SimpleNamespace(line=SimpleNamespace(first=first), _is_told=False)
    assert cache.SharedCache.hindrances(shared) == [("the remote cache", "it is slow")]
