"""Two machines and one remote: what one has built, the other takes, and the bytes are the same."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.in_process import InProcess
from tests.e2e.project import flip, old, tensor_offset
from tests.remotes.webdav import serving

TOML = """\
[cache]
remote = "{remote}"
[model.chat]
from = "./weights"
system = "Hello."
[model.chat.matrix]
quantize = ["q8_0", "q4_0"]
"""


class Machine(InProcess):
    """A clone of the project in a folder of its own, with a store of its own."""

    def __init__(self, folder: Path, remote: str) -> None:
        super().__init__(folder)
        self.write("ModelBuild.toml", TOML.format(remote=remote))

    @property
    def computed(self) -> int:
        return int(self.summary["tensors_computed"])

    def told(self, name: str) -> list[dict[str, object]]:
        return [event for event in self.events if event["event"] == name]

    @property
    def brought(self) -> list[object]:
        return [event["step"] for event in self.told("brought")]


@pytest.fixture(params=["folder", "http"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        (tmp_path / "share").mkdir()
        yield f"file://{tmp_path}/share"
        return
    with serving() as server:
        yield server.url


def pair(tmp_path: Path, remote: str) -> tuple[Machine, Machine]:
    machines = Machine(tmp_path / "first", remote), Machine(tmp_path / "other" / "place", remote)
    for each in machines:
        for path in each.checkpoint().iterdir():
            old(path)
    return machines


def test_what_one_machine_built_another_takes(tmp_path: Path, remote: str) -> None:
    first, second = pair(tmp_path, remote)
    first.build()
    assert first.computed > 0
    assert first.told("shared")[0]["left"] == 0
    second.build()
    assert second.computed == 0
    assert sorted(map(str, second.brought)) == ["chat:q4_0/model", "chat:q8_0/model"]
    assert second.tree() == first.tree()
    # What was fetched is known from now on, without the remote.
    again = second.build("--remote-cache", "off")
    assert again == {}


def test_other_weights_have_other_keys(tmp_path: Path, remote: str) -> None:
    first, second = pair(tmp_path, remote)
    first.build()
    weights = second.folder / "weights" / "model.safetensors"
    flip(weights, tensor_offset(weights, "model.norm.weight"))
    old(weights)
    second.build()
    assert second.computed > 0
    assert not second.brought
    assert second.tree() != first.tree()


@pytest.mark.parametrize(
    ("mode", "sends", "takes"), [("read", False, True), ("write", True, False), ("off", False, False)]
)
def test_the_mode_says_what_is_exchanged(tmp_path: Path, mode: str, sends: bool, takes: bool) -> None:
    with serving() as server:
        first, second = pair(tmp_path, server.url)
        first.build("--remote-cache", mode)
        assert bool(server.files) == sends
        first.build("--remote-cache", "write", "--force")
        second.build("--remote-cache", mode)
        assert bool(second.brought) == takes


def pointer(oid: str) -> str:
    return f"version https://git-lfs.github.com/spec/v1\noid {oid}\nsize 1000\n"


@pytest.mark.parametrize("left", ["nothing", "pointer"])
def test_a_machine_without_the_weights_installs_what_was_made_of_them(tmp_path: Path, remote: str, left: str) -> None:
    """Where Git LFS has not fetched the weights, a pointer lies in their place."""
    first, second = pair(tmp_path, remote)
    first.build()
    lock = (first.folder / "ModelBuild.lock").read_text()
    assert '"weights/model.safetensors" = "sha256:' in lock
    second.write("ModelBuild.lock", lock)
    weights = second.folder / "weights" / "model.safetensors"
    oid = f"sha256:{hashlib.sha256(weights.read_bytes()).hexdigest()}"
    weights.unlink()
    if left == "pointer":
        weights.write_text(pointer(oid))
    second.build()
    assert second.computed == 0
    assert sorted(map(str, second.brought)) == ["chat:q4_0/model", "chat:q8_0/model"]
    assert second.tree() == first.tree()
    assert second.build("--remote-cache", "off") == {}
    # Another variant is not there.
    second.write("ModelBuild.toml", TOML.format(remote=remote).replace("q4_0", "q4_1"))
    second.build(code=1)
    assert "weights/model.safetensors" in second.errors
    assert ("git lfs pull" in second.errors) == (left == "pointer")
    second.write("ModelBuild.toml", TOML.format(remote=remote))
    # Once they come, they are read as any others.
    weights.unlink(missing_ok=True)
    old(shutil.copy(first.folder / "weights" / "model.safetensors", weights))
    assert second.build("--remote-cache", "off") == {"chat/convert": "ran"}, (
        "what the lock said of them was not believed"
    )
    assert second.computed == 0


def test_a_lock_that_lies_reaches_no_other_project(tmp_path: Path) -> None:
    """It gives other weights the digest that the engine knows those of another project by, which shares this machine's cache."""
    (tmp_path / "share").mkdir()
    first, second = pair(tmp_path, f"file://{tmp_path}/share")
    weights = second.folder / "weights" / "model.safetensors"
    flip(weights, tensor_offset(weights, "model.norm.weight"))
    old(weights)
    for each in (first, second):
        each.build()
    mine, others = ((each.folder / "ModelBuild.lock").read_text().split(" xxh3:") for each in (first, second))
    second.write("ModelBuild.lock", f"{others[0]} xxh3:{mine[1]}")
    weights.unlink()
    cache = tmp_path / "cache"
    second.build(cache=cache)
    assert second.computed == 0 and len(second.brought) == 2
    first.build("--remote-cache", "off", cache=cache, models=tmp_path / "again")
    assert first.tree(tmp_path / "again") == first.tree()


def test_a_pointer_to_other_weights_than_the_lock_pins_stands_for_none_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    first, second = pair(tmp_path, f"file://{tmp_path}/share")
    first.build()
    second.write("ModelBuild.lock", (first.folder / "ModelBuild.lock").read_text())
    (second.folder / "weights" / "model.safetensors").write_text(pointer(f"sha256:{'0' * 64}"))
    second.build(code=2)
    assert "is a Git LFS pointer" in second.errors
    assert "sha256:0000" in second.errors


def test_a_file_with_other_bytes_is_mended_by_the_next_build_that_makes_it(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    first, second = pair(tmp_path, f"file://{tmp_path}/share")
    first.build()
    (blob,) = [
        path for path in (tmp_path / "share" / "cas").rglob("*") if path.is_file() and path.stat().st_size > 900_000
    ]
    whole = blob.read_bytes()
    flip(blob, 1000)
    second.build()
    assert second.computed > 0
    assert second.tree() == first.tree()
    assert blob.read_bytes() == whole


def test_a_cluster_is_a_network(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    first, _ = pair(tmp_path, f"file://{tmp_path}/share")
    first.build("--offline", "build", "--executor", "dask://127.0.0.1:1", code=1)
    assert "--executor needs the network, and --offline is given" in first.errors


def test_results_are_exchanged_by_hand(tmp_path: Path) -> None:
    """`modelbuild cache`: what was built without a remote is sent later, and fetched without a build."""
    with serving() as server:
        first, second = pair(tmp_path, server.url)
        first.build("--remote-cache", "off")
        assert not server.files
        assert "7 results sent" in first.run("cache", "push") + first.errors
        assert "0 results sent" in first.run("cache", "push") + first.errors
        table = first.run("cache", "stat")
        assert [line.split() for line in table.splitlines()] == [
            ["model", "results", "here", "remote", "to", "fetch"],
            ["chat:q8_0", "4", "4", "4", "-"],
            ["chat:q4_0", "4", "4", "4", "-"],
        ]
        asked = json.loads(second.run("--json", "cache", "pull", "chat:q8_0"))
        assert asked["missing"] == [] and asked["moved"] == 1
        assert not second.models.exists() or not list(second.models.rglob("manifests/*"))
        second.build("--remote-cache", "off", "chat:q8_0")
        assert second.computed == 0
        server.files.clear()
        second.run("cache", "pull", "chat:q4_0", code=1)
        key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
        second.write(
            "ModelBuild.toml", TOML.format(remote=server.url).replace("[model.", f'trust = ["{key}"]\n[model.', 1)
        )
        second.run("cache", "push", code=2)
        assert "has no key to sign with" in second.errors and not server.files
        second.write("ModelBuild.toml", "[model.chat]\nfrom = './weights'\n")
        second.run("cache", "push", code=2)
        assert "this project has no remote cache" in second.errors


def test_what_a_fine_tune_has_in_common_with_its_base_is_fetched(tmp_path: Path) -> None:
    """Other weights, of which one tensor differs: the others come as ranges of the base's file, and that one is computed."""
    with serving() as server:
        first, second, alone = (Machine(tmp_path / name, server.url) for name in ("first", "second", "alone"))
        for each in (first, second, alone):
            each.checkpoint(layers=3, hidden=512, intermediate=512)
            weights = each.folder / "weights" / "model.safetensors"
            if each is not first:
                flip(weights, tensor_offset(weights, "model.layers.1.mlp.up_proj.weight"), 64)
            for path in (each.folder / "weights").iterdir():
                old(path)
        first.build("chat:q8_0")
        server.asked.clear()
        second.build("chat:q8_0")
        (gathered,) = second.told("gathered")
        alone.build("chat:q8_0", "--remote-cache", "off")
        assert alone.summary["tensors_computed"] - second.computed == gathered["tensors"] >= 20
        assert second.tree() == alone.tree()
        ranges = [each for each in server.asked if each[2]]
        assert ranges and len(ranges) < 4
        # Nothing of it is left in the store, but what was made.
        assert not second.build("chat:q8_0")
        kept = [path.stat().st_size for path in (second.cache / "blobs").glob("sha256-*")]
        assert sum(size > 1 << 20 for size in kept) == 1


def test_without_a_remote_nothing_of_it_is_imported(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "")
    machine.write("ModelBuild.toml", '[model.chat]\nfrom = "./weights"\n')
    machine.checkpoint()
    code = (
        "import sys\nfrom modelbuild.cli.main import main\n"
        f"assert main({machine.command()[3:]!r}) == 0\n"
        "print([name for name in sys.modules if name.startswith(('modelbuild.sharing', 'modelbuild.remotes', 'urllib3', 'obstore'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
