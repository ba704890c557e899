"""A remote cache that fails at any moment, beside real builds: never a wrong byte, no failed build, and no long wait."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from modelbuild.digest import canonical
from modelbuild.registry.patience import Patience
from modelbuild.remotes import http, s3
from modelbuild.remotes.folder import Folder
from modelbuild.sharing import line
from tests.e2e.test_remote_cache import TOML, Machine
from tests.remotes.nginx import Nginx
from tests.remotes.stores import Place, place
from tests.remotes.webdav import serving
from tests.remotes.wire import Wire, wire

SEED = 20261
"""Of all random points here; printed with each try."""

SECONDS = 20.0
"""That a build may take with the patience of these tests, on a machine that does other things too."""

FEW, SOME, MANY = 1, 10, 50
"""Tries: in all tests, with a server of S3's protocol that takes a second for each, and with peers."""

FAULTS = ["dies", "restarts", "stalls", "cuts", "flips", "busy"]

peer = pytest.mark.peer


def patient(test: Any) -> Any:
    """Has a test wait as long as users do."""
    test.patient = True
    return test


@pytest.fixture(autouse=True)
def impatient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(request.function, "patient"):
        short = Patience(tries=2, unheard=1, pause=0.02, longest=1.5, connect=0.5, silence=0.5)
        monkeypatch.setattr(http, "PATIENCE", short)
        monkeypatch.setattr(line, "PATIENCE", 1.0)
        monkeypatch.setattr(s3, "SILENCE", 1.0)
        monkeypatch.setattr(s3, "FLOOR", 1e9)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a build sends to an empty store, by kind and digest."""
    with serving() as server:
        machine = new(tmp_path_factory.mktemp("sender"), server.url)
        machine.build()
        return {path.removeprefix("/cache/"): data for path, data in server.files.items()}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The models folder of a build without a remote."""
    machine = new(tmp_path_factory.mktemp("alone"), "file:///nowhere")
    machine.build("--remote-cache", "off")
    return machine.tree()


@pytest.fixture(scope="module")
def lock(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("locked")
    (folder / "share").mkdir()
    machine = new(folder / "project", f"file://{folder}/share")
    machine.build()
    return (machine.folder / "ModelBuild.lock").read_text()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The file of a key that signs, and the public one."""
    key = Ed25519PrivateKey.generate()
    path = tmp_path_factory.mktemp("keys") / "key"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def new(folder: Path, url: str) -> Machine:
    folder.mkdir(parents=True, exist_ok=True)
    machine = Machine(folder, url)
    machine.write("ModelBuild.toml", TOML.format(remote=url).replace('"q8_0", "q4_0"', '"q8_0"'))
    machine.checkpoint()
    for path in (folder / "weights").iterdir():
        os.utime(path, (1e9, 1e9))
    return machine


def some(files: dict[str, bytes], chosen: random.Random) -> dict[str, bytes]:
    """A store that is full, empty, or has one half of what a full one has."""
    share = chosen.choice([0.0, 0.5, 1.0, 1.0])
    return {name: data for name, data in files.items() if chosen.random() < share or share == 1.0}


def built(machine: Machine, expected: dict[str, bytes], told: object, lock: str | None = None) -> None:
    """Build. With a lock the weights are absent: then it may fail, and says of which file."""
    if lock is not None:
        machine.write("ModelBuild.lock", lock)
        (machine.folder / "weights" / "model.safetensors").unlink()
    begun = time.monotonic()
    machine.build(code=None)
    seconds = time.monotonic() - begun
    assert seconds < SECONDS, (told, seconds)
    assert "Traceback" not in machine.errors, (told, machine.errors)
    if lock is not None and machine.code:
        assert "weights/model.safetensors" in machine.errors, (told, machine.errors)
        assert machine.tree().items() <= expected.items(), told
        return
    assert machine.code == 0, (told, machine.errors)
    assert machine.tree() == expected, told


class Tries:
    """Tries of one fault with random numbers of their own; at the end it says how often the fault happened."""

    def __init__(self, folder: Path, what: str, count: int) -> None:
        self._folder = folder
        self._what = what
        self.count = count
        self.hits = 0

    def __iter__(self) -> Iterator[tuple[random.Random, Path, str]]:
        for number in range(self.count):
            told = f"seed {SEED}, {self._what}, try {number}"
            folder = self._folder / f"try{number}"
            yield random.Random(told), folder, told
            shutil.rmtree(folder, ignore_errors=True)
        print(f"{self._what}: {self.hits} of {self.count} tries hit, seed {SEED}")


def on_the_way(
    tries: Tries, at: Place, fault: str, whole: dict[str, bytes], expected: dict[str, bytes], lock: str
) -> None:
    """Fail while a build asks and sends, be well again, and have another machine build from what is there now."""
    for number, (chosen, folder, told) in enumerate(tries):
        files = some(whole, chosen)
        at.wire.clear()
        at.fill(files)
        pieces = 2 * len(whole) if len(files) < len(whole) else 10
        at.wire.fail(fault, chosen.randrange(pieces), chosen.randrange(1 << 30))
        built(new(folder / "first", at.url), expected, told, lock if number % 5 == 4 else None)
        tries.hits += at.wire.hit
        at.wire.clear()
        if tries.count > FEW or number == FEW - 1:
            built(new(folder / "second", at.url), expected, told)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("store", "count"),
    [
        ("http", FEW),
        pytest.param("nginx", MANY, marks=peer),
        pytest.param("s3", SOME, marks=peer),
    ],
)
def test_a_fault_on_the_way_costs_time_alone(
    tmp_path: Path, store: str, count: int, fault: str, whole: dict[str, bytes], expected: dict[str, bytes], lock: str
) -> None:
    if (store, fault) == ("s3", "flips"):
        pytest.skip("moto's server, in this process, prints what it does not understand among our output")
    tries = Tries(tmp_path, f"{fault} {store}", count)
    with place(store, tmp_path) as at:
        on_the_way(tries, at, fault, whole, expected, lock)
    assert tries.hits >= count // 2


def damaged(files: dict[str, bytes], how: str, chosen: random.Random) -> dict[str, bytes]:
    """What is left of a store's files after an accident, or after a hand that means harm."""
    found = dict(files)
    records, blobs = (sorted(name for name in files if name.startswith(kind)) for kind in ("ac/", "cas/"))
    of = {"blobless": blobs, "recordless": records, "exchanged": records, "forged": records}.get(
        how, [*records, *blobs]
    )
    hurt = chosen.sample(of, chosen.randint(1, len(of)))
    others = chosen.sample(hurt, len(hurt))
    for name, other in zip(hurt, others, strict=True):
        place, data = chosen.randrange(len(files[name])), files[name]
        if how in ("blobless", "recordless"):
            del found[name]
        elif how == "flipped":
            found[name] = data[:place] + bytes([data[place] ^ 1 << chosen.randrange(8)]) + data[place + 1 :]
        elif how == "cut":
            found[name] = data[:place]
        else:
            found[name] = forged(name, files[other], how == "forged")
    return found


def forged(name: str, record: bytes, rewritten: bool) -> bytes:
    """The record of another action: as it is, or rewritten to be of this one."""
    value = json.loads(record)
    if rewritten:
        value["key"] = name.removeprefix("ac/")
    return canonical(value)


@pytest.mark.parametrize("how", ["blobless", "recordless", "flipped", "cut", "exchanged"])
@pytest.mark.parametrize(
    ("store", "count"),
    [
        ("folder", FEW),
        pytest.param("folder", MANY, marks=peer),
        pytest.param("s3", SOME, marks=peer),
    ],
)
def test_a_store_with_damaged_files_costs_time_alone(
    tmp_path: Path, store: str, count: int, how: str, whole: dict[str, bytes], expected: dict[str, bytes], lock: str
) -> None:
    tries = Tries(tmp_path, f"{how} {store}", count)
    with place(store, tmp_path) as at:
        for number, (chosen, folder, told) in enumerate(tries):
            files = damaged(whole, how, chosen)
            tries.hits += files != whole
            at.fill(files)
            built(new(folder / "first", at.url), expected, told, lock if number % 5 == 4 else None)
            if count > FEW or number == FEW - 1:
                built(new(folder / "second", at.url), expected, told)
    assert tries.hits >= count // 2


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=peer)])
def test_a_tampered_record_is_not_believed_where_records_are_signed(
    tmp_path: Path, count: int, keys: tuple[Path, str], expected: dict[str, bytes]
) -> None:
    """Forged and damaged records: none is taken, each is sent anew by who signs, and the remote is not given up for the forged."""
    tries = Tries(tmp_path, "forged folder", count)
    with place("folder", tmp_path) as at:
        signed(new(tmp_path / "sender", at.url), keys).build()
        whole = at.kept()
        for chosen, folder, told in tries:
            how = chosen.choice(["forged", "forged", "exchanged", "flipped"])
            at.fill(damaged(whole, how, chosen))
            first = signed(new(folder / "first", at.url), keys)
            built(first, expected, told)
            changed = [name for name in whole if at.kept().get(name) != whole[name]]
            tries.hits += bool(first.told("unsigned"))
            assert len(first.told("unsigned")) <= 1, told
            if how == "forged":
                assert not first.told("remote-lost"), told
                assert not changed or not any(name.startswith("cas/") for name in changed), told
            built(signed(new(folder / "second", at.url), keys), expected, told)
    assert tries.hits >= count // 3


def signed(machine: Machine, keys: tuple[Path, str]) -> Machine:
    text = f'sign = "{keys[0]}"\ntrust = ["{keys[1]}"]\n[model.'
    machine.write("ModelBuild.toml", (machine.folder / "ModelBuild.toml").read_text().replace("[model.", text, 1))
    return machine


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=peer)])
def test_a_folder_that_goes_away_costs_time_alone(
    tmp_path: Path, count: int, whole: dict[str, bytes], expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a share that is no longer mounted, at any request."""
    tries, share, path = Tries(tmp_path, "dies folder", count), tmp_path / "share", Folder._path
    left = 0

    def counted(self: Folder, kind: str, digest: str) -> str:
        nonlocal left
        left -= 1
        if left == 0:
            share.rename(tmp_path / "gone")
        return path(self, kind, digest)

    monkeypatch.setattr(Folder, "_path", counted)
    with place("folder", tmp_path) as at:
        for chosen, folder, told in tries:
            at.fill(some(whole, chosen))
            left = chosen.randint(1, 8)
            built(new(folder / "first", at.url), expected, told)
            tries.hits += not share.exists()
            if not share.exists():
                (tmp_path / "gone").rename(share)
            left = 0
            built(new(folder / "second", at.url), expected, told)
    assert tries.hits >= count // 2


@pytest.mark.parametrize("count", [1, pytest.param(MANY, marks=peer)])
def test_a_client_that_is_killed_leaves_a_store_that_others_build_from(
    tmp_path: Path, count: int, whole: dict[str, bytes], expected: dict[str, bytes]
) -> None:
    """At any request that it makes."""
    tries = Tries(tmp_path, "killed http", count)
    with serving() as server:
        for chosen, folder, told in tries:
            server.files = {f"/cache/{name}": data for name, data in some(whole, chosen).items()}
            first = new(folder / "first", server.url)
            left, killed = chosen.randint(1, 24 if len(server.files) < len(whole) else 6), threading.Event()

            def kill(handler: Any, killed: threading.Event = killed) -> bool:
                nonlocal left
                left -= 1
                if left <= 0:
                    killed.set()
                return False

            server.fault = kill
            with subprocess.Popen(first.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                while process.poll() is None and not killed.wait(0.002):
                    pass
                process.kill()
            tries.hits += process.returncode == -signal.SIGKILL
            server.fault = lambda handler: False
            built(first, expected, told)
            built(new(folder / "second", server.url), expected, told)
    assert tries.hits >= count // 2


@pytest.mark.parametrize("count", [1, pytest.param(MANY, marks=peer)])
def test_two_clients_that_send_at_once_send_the_same(
    tmp_path: Path, count: int, whole: dict[str, bytes], expected: dict[str, bytes]
) -> None:
    """In processes of their own, the second begun a random moment after the first."""
    tries = Tries(tmp_path, "two at once folder", count)
    with place("folder", tmp_path) as at:
        for chosen, folder, told in tries:
            at.fill(some(whole, chosen))
            machines = [new(folder / name, at.url) for name in ("first", "second")]
            processes = []
            for machine, moment in zip(machines, (0.0, chosen.uniform(0, 0.4)), strict=True):
                time.sleep(moment)
                processes.append(subprocess.Popen(machine.command("-q"), stderr=subprocess.PIPE, text=True))
            for machine, process in zip(machines, processes, strict=True):
                _, errors = process.communicate(timeout=60)
                assert process.returncode == 0 and machine.tree() == expected, (told, errors)
            tries.hits += 1
            kept = at.kept()
            assert {name: data for name, data in kept.items() if name.startswith("cas/")}.items() <= whole.items(), told
            built(new(folder / "third", at.url), expected, told)


@peer
@patient
def test_a_server_that_stops_in_the_middle_is_given_up_in_time(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """With the patience that users have: nginx gets SIGSTOP, and says nothing on connections that stand."""
    nginx = Nginx(tmp_path / "nginx")
    try:
        with wire(nginx.port) as between:
            machine = new(tmp_path / "machine", f"http://127.0.0.1:{between.port}")
            watch = threading.Thread(
                target=at_piece, args=(between, 20, lambda: nginx.signal(signal.SIGSTOP)), daemon=True
            )
            watch.start()
            begun = time.monotonic()
            machine.build()
            seconds = time.monotonic() - begun
    finally:
        nginx.kill()
    print(f"with nginx stopped, the build took {seconds:.1f} s")
    assert machine.tree() == expected
    assert seconds < 75
    assert machine.told("remote-lost")
    (shared,) = machine.told("shared")
    assert shared["left"]


@peer
@patient
def test_uploads_go_on_once_a_server_is_started_again(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """nginx is killed in the middle of the uploads, and started again half a second later."""
    nginx = Nginx(tmp_path / "nginx")

    def restart() -> None:
        nginx.kill()
        time.sleep(0.5)
        nginx.start()

    try:
        with wire(nginx.port) as between:
            machine = new(tmp_path / "machine", f"http://127.0.0.1:{between.port}")
            watch = threading.Thread(target=at_piece, args=(between, 24, restart), daemon=True)
            watch.start()
            machine.build()
            watch.join(20)
            assert machine.tree() == expected
            assert machine.told("shared")[0]["left"] == 0
            assert not machine.told("remote-lost")
    finally:
        nginx.kill()


def at_piece(between: Wire, number: int, act: Callable[[], None]) -> None:
    while between.passed < number:
        time.sleep(0.001)
    act()


def test_uploads_wait_as_long_as_a_busy_server_asks(tmp_path: Path) -> None:
    """429 with Retry-After to all that is sent in one second: all is there in the end, and the remote is not given up."""
    with serving() as server:
        end = 0.0

        def busy(handler: Any) -> bool:
            nonlocal end
            end = end or time.monotonic() + 0.7
            if handler.command != "PUT" or time.monotonic() > end:
                return False
            handler.answer(429, Retry_After="1")
            return True

        server.fault = busy
        machine = new(tmp_path, server.url)
        machine.build("chat:q8_0")
        assert not machine.told("remote-lost")
        assert machine.told("shared")[0]["left"] == 0


@pytest.mark.parametrize("scheme", ["http", pytest.param("s3", marks=peer)])
@patient
def test_ctrl_c_does_not_wait_for_a_server_that_says_nothing(
    tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        host = f"http://127.0.0.1:{silent.getsockname()[1]}"
        if scheme == "s3":
            pytest.importorskip("obstore")
            for name, value in {
                "ENDPOINT_URL": host,
                "ACCESS_KEY_ID": "a",
                "SECRET_ACCESS_KEY": "b",
                "REGION": "c",
            }.items():
                monkeypatch.setenv(f"AWS_{name}", value)
        machine = new(tmp_path, host if scheme == "http" else "s3://bucket/prefix")
        with subprocess.Popen(
            machine.command(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            client, _ = silent.accept()
            with client:
                client.recv(1)
                begun = time.monotonic()
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=60)
                seconds = time.monotonic() - begun
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert seconds < 3, seconds
