"""What the files of Docker and podman say of registries counts for every pull and push, and for builds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.registry import machine
from modelbuild.registry.origin import Origin, origin_of
from tests.registry import certificates
from tests.registry.clients import transport
from tests.registry.standin import Reply, Standin


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CONTAINERS_REGISTRIES_CONF", raising=False)
    monkeypatch.setattr(machine, "CERTS", ("~/certs.d", "~/other/certs.d"))
    monkeypatch.setattr(machine, "CONF", ("~/registries.conf", "~/etc/registries.conf"))
    machine._insecure.cache_clear()
    return tmp_path


def insecure(*hosts: str) -> list[bool]:
    machine._insecure.cache_clear()
    return [machine.is_insecure(origin_of(f"https://{host}")) for host in hosts]


def test_a_root_in_certs_d_is_trusted_for_its_host_alone(home: Path) -> None:
    file, context = certificates.make(home)
    with Standin(tls=context) as registry, Standin(tls=context) as other:
        folder = home / "other/certs.d" / registry.host
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(file.read_bytes())
        (folder / "client.key").write_text("not a certificate")
        registry.script.append(lambda asked: Reply(200, b"hello"))
        client = transport()
        # This machine is reached by plain http, unless there are certificates for it.
        assert [client.origin(each.host).scheme for each in (registry, other)] == ["https", "http"]
        with client.request("GET", f"https://{registry.host}/v2/") as answer:
            assert answer.body() == b"hello"
        with pytest.raises(Error, match="is not trusted"):
            client.request("GET", f"https://{other.host}/v2/")


def test_hosts_are_spelled_with_their_port_or_without_the_usual_one(home: Path) -> None:
    for name in ("r.io", "r.io:443", "r.io:5000", "[::1]:5000"):
        (home / "certs.d" / name).mkdir(parents=True)
        (home / "certs.d" / name / f"{len(name)}.crt").touch()
    names = [
        [Path(each).name for each in machine.roots(Origin("https", host, port))]
        for host, port in (("r.io", 443), ("r.io", 5000), ("::1", 5000), ("r.io", 5001))
    ]
    assert names == [["8.crt", "4.crt"], ["9.crt"], ["10.crt"], []]


def test_an_insecure_registry_is_reached_by_plain_http(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert insecure("r.io") == [False]
    (home / "etc/registries.conf.d").mkdir(parents=True)
    (home / "etc/registries.conf.d/10.conf").write_text('[[registry]]\nlocation = "b.io:5000"\ninsecure = true\n')
    conf = '[[registry]]\nlocation = "A.io"\ninsecure = true\n[[registry]]\nprefix = "c.io"\n'
    conf += '[[registry]]\nlocation = "r.io/x"\ninsecure = true\n'
    (home / "registries.conf").write_text(conf)
    assert insecure("a.io", "b.io:5000", "b.io", "c.io", "r.io") == [True, True, False, False, False]
    assert transport().origin("b.io:5000").url == "http://b.io:5000"
    # The user's own file takes the place of the system's, and a named one that of both.
    (home / "etc/registries.conf").write_text('[[registry]]\nlocation = "c.io"\ninsecure = true\n')
    assert insecure("a.io", "c.io") == [True, False]
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(home / "etc/registries.conf"))
    assert insecure("a.io", "b.io:5000", "c.io") == [False, False, True]


@pytest.mark.parametrize(
    "text", [b"[[registry", b"\xff", b"registry = 5", b"[[registry]]\nlocation = 5\ninsecure = true"]
)
def test_a_file_that_is_odd(home: Path, text: bytes) -> None:
    (home / "registries.conf").write_bytes(text)
    if text[:2] in (b"[[", b"\xff") and b"]]" not in text:
        with pytest.raises(Error, match="is not TOML") as found:
            insecure("a.io")
        assert found.value.path == str(home / "registries.conf")
    else:
        assert insecure("a.io") == [False]


def test_a_pipe_in_certs_d_is_an_error(home: Path) -> None:
    folder = home / "certs.d/r.io:5000"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "a.crt")
    with pytest.raises(Error, match="not a regular file"):
        machine.roots(Origin("https", "r.io", 5000))


def test_a_file_that_is_too_large_is_to_be_moved_away(home: Path) -> None:
    with (home / "registries.conf").open("wb") as file:
        file.truncate(machine.LARGEST + 1)
    with pytest.raises(Error, match="file too large") as caught:
        insecure("r.io")
    assert "move it away" in str(caught.value)
