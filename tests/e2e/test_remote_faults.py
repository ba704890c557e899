"""A remote cache that fails at any moment, beside real builds: never a wrong byte, no failed build, and no long wait."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from modelbuild import remotes
from modelbuild.digest import canonical
from modelbuild.registry.patience import Patience
from modelbuild.remotes import http, s3
from modelbuild.sharing import line
from tests.e2e import warm
from tests.e2e.test_remote_cache import TOML, Machine
from tests.remotes.buckets import bucket
from tests.remotes.nginx import Nginx
from tests.remotes.webdav import Server, serving
from tests.remotes.wire import Wire, wire

SEED = 20261
"""Of all random points here; printed with each try."""

SECONDS = 20.0
"""That a build may take with the patience of these tests, on a machine that does other things too."""

FEW, MANY = 3, 50

FAULTS = ["dies", "restarts", "stalls", "cuts", "flips", "busy"]

AT_REST = ["blobless", "recordless", "flipped", "cut", "exchanged"]

peer = pytest.mark.peer


class Place(NamedTuple):
    """A store as the project names it, the wire to it, and a way to empty it and fill it with some of the files of a whole one."""

    url: str
    wire: Wire
    fill: Callable[[dict[str, bytes]], None]
    taken: Callable[[], dict[str, bytes]]


@pytest.fixture(autouse=True)
def impatient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "patient" not in request.keywords:
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


def new(folder: Path, url: str) -> Machine:
    folder.mkdir(parents=True, exist_ok=True)
    machine = Machine(folder, url)
    machine.checkpoint()
    for path in (folder / "weights").iterdir():
        os.utime(path, (1e9, 1e9))
    return machine


@contextmanager
def place(store: str, folder: Path) -> Iterator[Place]:
    """A store behind a wire."""
    with ExitStack() as stack:
        if store == "http":
            server = stack.enter_context(serving())
            between = stack.enter_context(wire(server.server_address[1]))

            def fill(files: dict[str, bytes]) -> None:
                server.files = {f"/cache/{name}": data for name, data in files.items()}

            def taken() -> dict[str, bytes]:
                return {path.removeprefix("/cache/"): data for path, data in server.files.items()}

            yield Place(f"http://127.0.0.1:{between.port}/cache", between, fill, taken)
        elif store == "nginx":
            nginx = Nginx(folder / "nginx")
            stack.callback(nginx.kill)
            between = stack.enter_context(wire(nginx.port))
            yield Place(f"http://127.0.0.1:{between.port}", between, *of_folder(nginx.files))
        else:
            url = stack.enter_context(bucket())
            between = stack.enter_context(wire(int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2])))
            fill_bucket, taken_bucket = of_bucket(url)
            os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{between.port}"
            yield Place(url, between, fill_bucket, taken_bucket)


def of_folder(root: Path) -> tuple[Callable[[dict[str, bytes]], None], Callable[[], dict[str, bytes]]]:
    def fill(files: dict[str, bytes]) -> None:
        for each in root.iterdir():
            shutil.rmtree(each)
        for name, data in files.items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(data)

    def taken() -> dict[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("*/*")}

    return fill, taken


def of_bucket(url: str) -> tuple[Callable[[dict[str, bytes]], None], Callable[[], dict[str, bytes]]]:
    import boto3

    name, _, prefix = url.removeprefix("s3://").partition("/")
    client = boto3.resource("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).Bucket(name)

    def fill(files: dict[str, bytes]) -> None:
        client.objects.all().delete()
        for file, data in files.items():
            client.put_object(Key=f"{prefix}/{file}", Body=data)

    def taken() -> dict[str, bytes]:
        return {each.key.removeprefix(f"{prefix}/"): each.get()["Body"].read() for each in client.objects.all()}

    return fill, taken


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
        self._count = count
        self.hits = 0

    def __iter__(self) -> Iterator[tuple[random.Random, Path, str]]:
        for number in range(self._count):
            told = f"seed {SEED}, {self._what}, try {number}"
            folder = self._folder / f"try{number}"
            yield random.Random(told), folder, told
            shutil.rmtree(folder, ignore_errors=True)
        print(f"{self._what}: {self.hits} of {self._count} tries hit, seed {SEED}")


def on_the_way(
    tries: Tries, at: Place, fault: str, whole: dict[str, bytes], expected: dict[str, bytes], lock: str
) -> None:
    """Fail while a build asks and sends, be well again, and have another machine build from what is there now."""
    for number, (chosen, folder, told) in enumerate(tries):
        files = some(whole, chosen)
        at.wire.clear()
        at.fill(files)
        pieces = 2 * len(whole) if len(files) < len(whole) else 20
        at.wire.fail(fault, chosen.randrange(pieces), chosen.randrange(1 << 30))
        built(new(folder / "first", at.url), expected, told, lock if number % 5 == 4 else None)
        tries.hits += at.wire.hit
        at.wire.clear()
        built(new(folder / "second", at.url), expected, told)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("store", "count"),
    [
        ("http", FEW),
        pytest.param("http", MANY, marks=peer),
        pytest.param("nginx", MANY, marks=peer),
        pytest.param("s3", MANY, marks=peer),
    ],
)
def test_a_fault_on_the_way_costs_time_alone(
    tmp_path: Path, store: str, count: int, fault: str, whole: dict[str, bytes], expected: dict[str, bytes], lock: str
) -> None:
    tries = Tries(tmp_path, f"{fault} {store}", count)
    with place(store, tmp_path) as at:
        on_the_way(tries, at, fault, whole, expected, lock)
    assert tries.hits >= count // 2
