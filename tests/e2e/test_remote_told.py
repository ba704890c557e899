"""What is told of a remote cache that cannot be used, is not believed, or is not to be used."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from modelbuild.registry.patience import Patience
from modelbuild.remotes import http
from tests.e2e.project import old
from tests.e2e.test_remote_cache import TOML, Machine, pair
from tests.remotes.webdav import serving

FAULTS = {
    "down": "cannot connect to",
    "folder": "no such file or directory",
    "password": "does not let us in (status 401)",
    "full": "has no room left (status 507)",
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        http, "PATIENCE", Patience(tries=1, unheard=1, pause=0.01, longest=3.0, connect=3.0, silence=3.0)
    )


@pytest.fixture(params=["down", "folder", "password"])
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The URL of a remote that cannot be used, and what is said of it."""
    said = FAULTS[request.param]
    if request.param == "folder":
        yield f"file://{tmp_path}/not-mounted", said
    elif request.param == "down":
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            yield f"http://127.0.0.1:{taken.getsockname()[1]}", said
    else:
        with serving() as server:
            server.fault = lambda handler: handler.answer(401) or True
            yield server.url, said


def key(path: Path) -> str:
    """Write a key; returns its line for `trust`."""
    made = Ed25519PrivateKey.generate()
    path.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return made.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def single(remote: str, keys: str = "") -> str:
    """A project of one model, for which few requests are made."""
    return f'[cache]\nremote = "{remote}"\n{keys}[model.chat]\nfrom = "./weights"\n'


def built(folder: Path, remote: str) -> Machine:
    machine = Machine(folder, remote)
    for path in machine.checkpoint().iterdir():
        old(path)
    machine.write("ModelBuild.toml", single(remote))
    machine.build("--remote-cache", "off")
    return machine


def test_an_exchange_by_hand_names_the_fault(tmp_path: Path, broken: tuple[str, str]) -> None:
    remote, said = broken
    machine = built(tmp_path / "a", remote)
    machine.run("cache", "push", code=1)
    assert "0 results sent (0 B)\n" in machine.errors and "not sent: " in machine.errors
    assert said in machine.errors and "not built yet" not in machine.errors and "\\n" not in machine.errors
    told = json.loads(machine.run("--json", "cache", "push", code=1))
    assert told["moved"] == 0 and told["failed"] and not told["missing"] and said in told["error"]
    table = machine.run("cache", "stat", code=1)
    assert table.splitlines()[1].split()[3:] == ["?", "?"]
    assert said in machine.errors and "\\n" not in machine.errors
    assert json.loads(machine.run("--json", "cache", "stat", code=1))[0]["there"] is None
    other = Machine(tmp_path / "b", remote)
    other.checkpoint()
    other.write("ModelBuild.toml", single(remote))
    other.run("cache", "pull", code=1)
    assert said in other.errors and "not there" not in other.errors and "not fetched" in other.errors


def test_a_single_upload_that_fails_is_an_error_of_push(tmp_path: Path) -> None:
    with serving() as server:
        machine = built(tmp_path, server.url)
        machine.run("cache", "push")
        name = next(each for each in server.files if "/ac/" in each)
        del server.files[name]
        server.fault = lambda handler: handler.command == "PUT" and (handler.answer(507) or True)
        machine.run("cache", "push", code=1)
    assert FAULTS["full"] in machine.errors and "has room on its disk" in machine.errors
    assert "there already" in machine.errors


def test_without_the_weights_a_build_names_the_fault_of_the_remote(tmp_path: Path, broken: tuple[str, str]) -> None:
    remote, said = broken
    (tmp_path / "share").mkdir()
    first, second = pair(tmp_path, f"file://{tmp_path}/share")
    for each in (first, second):
        each.write("ModelBuild.toml", single(f"file://{tmp_path}/share"))
    first.build()
    second.write("ModelBuild.lock", (first.folder / "ModelBuild.lock").read_text())
    second.write("ModelBuild.toml", single(remote))
    (second.folder / "weights" / "model.safetensors").unlink()
    second.build(code=1)
    assert "the remote cache  " in second.errors and said in second.errors
    told = [*second.told("remote-fault"), *second.told("remote-lost")]
    assert any(said in str(event["error"]) for event in told)
    second.run("-n", code=None)
    assert said in second.errors


def test_a_build_tells_of_a_single_fault(tmp_path: Path) -> None:
    """An upload that succeeded at its second try is none."""
    with serving() as server:
        fails: list[str] = []

        def once(handler: Any) -> bool:
            if handler.command not in fails:
                return False
            fails.clear()
            handler.answer(500)
            return True

        server.fault = once
        for name, verb in (("a", "PUT"), ("b", "GET"), ("c", "")):
            machine = Machine(tmp_path / name, server.url)
            for path in machine.checkpoint().iterdir():
                old(path)
            machine.write("ModelBuild.toml", single(server.url))
            fails[:] = [verb]
            machine.build()
            assert not verb or not fails
            told = [str(event["error"]) for event in machine.told("remote-fault")]
            assert len(told) == (name == "b") and all("failed (status 500)" in each for each in told)


@pytest.mark.parametrize(
    ("mode", "refused"), [("read", ["push"]), ("write", ["pull"]), ("off", ["push", "pull", "stat"])]
)
def test_the_mode_holds_for_exchanges_by_hand(tmp_path: Path, mode: str, refused: list[str]) -> None:
    with serving() as server:
        machine = built(tmp_path, server.url)
        for how in ("option", "key"):
            options = ("--remote-cache", mode) if how == "option" else ()
            if how == "key":
                machine.write("ModelBuild.toml", single(server.url, f'mode = "{mode}"\n'))
            named = f"--remote-cache {mode}" if how == "option" else f'mode = "{mode}"'
            for what in ("push", "pull", "stat"):
                machine.run(*options, "cache", what, code=2 if what in refused else None)
                assert (f"{named} does not allow `modelbuild cache {what}`" in machine.errors) == (what in refused)
            # Something is due.
            keys = f'mode = "{mode}"\n' if how == "key" else ""
            machine.write("ModelBuild.toml", single(server.url, keys) + f'system = "{how}"\n')
            machine.run(*options, "--executor", "dask://127.0.0.1:1", code=1)
            assert f"{named} does not allow --executor" in machine.errors


def test_what_nobody_trusted_signed_is_not_there(tmp_path: Path) -> None:
    with serving() as server:
        machine = built(tmp_path, server.url)
        machine.run("cache", "push")
        line = key(tmp_path / "key")
        machine.write("ModelBuild.toml", single(server.url, f'sign = "{tmp_path}/key"\ntrust = ["{line}"]\n'))
        table = machine.run("cache", "stat")
        assert table.splitlines()[1].split()[3] == "0"
        assert "no key of [cache] trust signed" in machine.errors
        # What nobody believes is sent again, signed.
        machine.run("cache", "push")
        assert " 0 results sent" not in machine.errors
        table = machine.run("cache", "stat")
        assert table.splitlines()[1].split()[3] != "0" and "trust" not in machine.errors
        lock = (machine.folder / "ModelBuild.lock").read_text()
        other = Machine(tmp_path / "other", server.url)
        other.checkpoint()
        other.write("ModelBuild.lock", lock)
        other.write("ModelBuild.toml", single(server.url, f'trust = ["{key(tmp_path / "stranger")}"]\n'))
        (other.folder / "weights" / "model.safetensors").unlink()
        other.build(code=1)
        assert "has results that no key of [cache] trust signed" in other.errors


def test_a_machine_whose_own_key_nobody_trusts_is_warned(tmp_path: Path) -> None:
    with serving() as server:
        machine = built(tmp_path, server.url)
        line, own = key(tmp_path / "stranger"), key(tmp_path / "key")
        machine.write("ModelBuild.toml", single(server.url, f'sign = "{tmp_path}/key"\ntrust = ["{line}"]\n'))
        for words in (("build", "--force"), ("cache", "push")):
            machine.run(*words)
            assert "the key of [cache] sign is not in trust" in machine.errors and own in machine.errors


def test_a_key_is_below_the_home_folder_and_must_be_there_if_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as server:
        machine = built(tmp_path / "a", server.url)
        machine.write("ModelBuild.toml", single(server.url, 'sign = "~/key"\n'))
        monkeypatch.setenv("HOME", str(tmp_path / "none"))
        machine.build("--force")
        assert not server.files
        for mode in ("both", "write"):
            machine.run("--remote-cache", mode, "build", "--force", code=2)
            assert f"{tmp_path}/none/key: cannot be read" in machine.errors
        monkeypatch.setenv("HOME", str(tmp_path))
        key(tmp_path / "key")
        machine.build("--force")
        assert server.files
        os.truncate(tmp_path / "key", 10)
        machine.run("build", "--force", code=2)
        assert "is not a private key" in machine.errors


def test_a_password_in_the_url_is_an_error_at_its_line(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "https://user:secret@host/path")
    machine.checkpoint()
    machine.run("build", code=2)
    assert "ModelBuild.toml:2:" in machine.errors and "contains a user or password" in machine.errors
    assert "secret" not in machine.errors
    assert "secret" in TOML.format(remote="secret")
